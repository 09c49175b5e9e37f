"""A run's state, or the mean of several runs' and of checkpoints' before them, -> an encoder checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aasp_features.checkpoint import WEIGHTS_FILE, save_checkpoint
from aasp_features.config import AaSPConfig, Pooling
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.run_state import read_tensors
from aasp_features.train.release.card import Sources, card_text
from aasp_features.train.release.mix import mixed
from aasp_features.train.release.run_summary import describe

Which = Literal["teacher", "student"]
PREFIXES: dict[Which, str] = {"teacher": "objective.teacher.network.", "student": "objective.student."}


def export_encoder(
    runs: Sequence[Path],
    out: Path,
    *,
    name: str,
    which: Which = "teacher",
    mix: Mapping[str, float] | None = None,
    pooling: Pooling | None = None,
    last_layers: int | None = None,
    card: str | None = None,
    half: bool = True,
) -> Path:
    """Write the teacher or the student of a run as a checkpoint folder.

    Args:
        runs: folder of the run; or of several that went on from one, whose weights' mean is taken.
        out: folder to write.
        name: of the checkpoint, ``aasp-<size>-<corpus>-<n>``.
        which: network to take.
        mix: share of the weights that is another checkpoint's, by its name or folder.
        pooling, last_layers: defaults that the checkpoint's config will carry; unless given, what the heads of external
            teachers read, or the frequency rows of the last block.
        card: text of README.md; what the run's record tells unless given.
        half: store float16.

    Raises:
        TrainError: no run there, runs of different shapes, a checkpoint of another shape; CheckpointError: no
            checkpoint to mix in, or ``out`` cannot be written.
    """
    mix = mix or {}
    run = describe(runs)
    config = run.config.replace(
        name=name,
        pooling=pooling or run.config.pooling,
        last_layers=run.config.last_layers if last_layers is None else last_layers,
    )
    each = [_read_weights(folder, PREFIXES[which], config) for folder in runs]
    weights = {key: torch.stack([one[key] for one in each]).mean(dim=0) for key in each[0]}
    if card is None:
        card = card_text(config, Sources(run, mix=mix, stored="float16" if half else "float32"))
    return save_checkpoint(out, config, mixed(weights, config, mix), card=card, half=half)


def stored_as(checkpoint: Path) -> str:
    """Type of the weights in a checkpoint's file: float16 or float32.

    Raises:
        TrainError: there is no such file, or it is damaged.
    """
    try:
        with safe_open(checkpoint / WEIGHTS_FILE, framework="pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise TrainError(f"{checkpoint / WEIGHTS_FILE} is no file of weights that can be read ({error}).") from error
    return "float16" if kinds == {"F16"} else "float32"


def _read_weights(run: Path, prefix: str, config: AaSPConfig) -> dict[str, Tensor]:
    tensors = read_tensors(run)
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    with torch.device("meta"):
        expected = {key: value.shape for key, value in AaSPNetwork(config).state_dict().items()}
    if expected != {key: value.shape for key, value in weights.items()}:
        raise TrainError(f"{run} holds weights of another shape, or of another version of the network.")
    return weights
