"""The state of a fine-tuning run: model, average, best weights and optimiser, in the format of pre-training runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.resume import changes_since, refusal
from aasp_features.train.pretrain.run_folder import STATE_FILE
from aasp_features.train.pretrain.run_state import (
    Progress,
    optimizer_state,
    read_record,
    read_tensors,
    restore_optimizer,
    under,
)

MAY_CHANGE = ("run.parts", "clips.memory_gb", "config.name")  # in addition to those of pre-training
UNRECORDED = ("judged",)  # results, which are not settings


def check_record(folder: Path, asked: dict[str, Any]) -> tuple[Progress, dict[str, Any]]:
    """Return progress and record of the run in a folder, if it is the requested run.

    Raises:
        TrainError: It is another run, or damaged.
    """
    progress, record = read_record(folder)
    before = {name: value for name, value in record.items() if name not in UNRECORDED}
    found = [change for change in changes_since(before, asked, progress.step) if change["what"] not in MAY_CHANGE]
    if why := refusal(found):
        raise TrainError(f"{folder} holds a run {why}, or start a new run in another folder.")
    return progress, record


def flat_state(modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of several modules, and of the first one's optimiser, by name."""
    found = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    return found | optimizer_state(next(iter(modules.values())), optimizer, "optimizer")


def restore(folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Restore all tensors exactly, and return them.

    Raises:
        TrainError: The file is damaged, or belongs to another network.
    """
    tensors = read_tensors(folder)
    try:
        for name, module in modules.items():
            module.load_state_dict(under(f"{name}.", tensors), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()[:120]
        raise TrainError(
            f"{folder} holds a run of another network ({first}…); start a new run in another folder."
        ) from error
    restore_optimizer(next(iter(modules.values())), optimizer, "optimizer", tensors, folder / STATE_FILE)
    return tensors
