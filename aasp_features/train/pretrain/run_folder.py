"""A run's folder: its whole state in one safetensors file, its metrics line by line, and one writer at a time.

RUN/state.safetensors   model, teacher, heads, optimiser; progress and record as metadata; replaced atomically
RUN/metrics.jsonl       a line of numbers for every ``log_every`` steps
RUN/run.lock            held by the process that trains
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aasp_features.folder.lock import FileLock, LockedError
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.objective import Objective

STATE_FILE, METRICS_FILE, LOCK_FILE = "state.safetensors", "metrics.jsonl", "run.lock"


@dataclass
class Progress:
    """Where a run is; random numbers are functions of seed and step, so this is all there is.

    Attributes:
        step: steps done.
        seconds: spent in steps.
        crops: clips seen.
        precision: what the run computes in.
    """

    step: int = 0
    seconds: float = 0.0
    crops: int = 0
    precision: str = "float32"


def lock_run(folder: Path) -> FileLock:
    """Make the folder if need be, and keep other processes from training in it.

    Raises:
        TrainError: one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire()
    except LockedError as error:
        raise TrainError(f"another process trains in {folder}; wait for it, or give another folder.") from error
    return lock


def write_metrics(folder: Path, numbers: dict[str, float]) -> None:
    """Append a line."""
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: round(value, 6) for name, value in numbers.items()}) + "\n")


def save_run(
    folder: Path,
    objective: Objective,
    optimizer: torch.optim.AdamW,
    progress: Progress,
    record: dict[str, Any],
) -> None:
    """Replace the run's state: model, teacher, heads, optimiser moments, progress; ``record`` is kept beside them."""
    tensors = {f"objective.{name}": value for name, value in objective.state_dict().items()}
    tensors.update(_moments(objective, optimizer))
    metadata = {"progress": json.dumps(asdict(progress)), "record": json.dumps(record)}
    temporary = folder / f".{STATE_FILE}.{os.getpid()}"
    save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, temporary, metadata=metadata)
    os.replace(temporary, folder / STATE_FILE)


def load_run(folder: Path, objective: Objective, optimizer: torch.optim.AdamW) -> tuple[Progress, dict[str, Any]]:
    """Bring a run back exactly; objective and optimiser must have the run's own shapes.

    Raises:
        TrainError: the file is damaged or belongs to another recipe.
    """
    path = folder / STATE_FILE
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise TrainError(_damaged(path, error)) from error
    prefix = "objective."
    state = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        objective.load_state_dict(state, strict=True)
    except RuntimeError as error:
        differing = str(error).splitlines()[1].strip()[:120]
        raise TrainError(
            f"{path} belongs to another recipe or to other teachers ({differing}…); begin a new run in another folder."
        ) from error
    _restore_moments(objective, optimizer, tensors)
    return Progress(**json.loads(metadata["progress"])), json.loads(metadata["record"])


def read_record(folder: Path) -> tuple[Progress, dict[str, Any]]:
    """Progress and record of a run, without its tensors.

    Raises:
        TrainError: no run in this folder, or a damaged one.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise TrainError(f"{folder} holds no run: there is no {STATE_FILE}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
    except SafetensorError as error:
        raise TrainError(_damaged(path, error)) from error
    return Progress(**json.loads(metadata["progress"])), json.loads(metadata["record"])


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is damaged ({error}); start the run anew in an empty folder."


def _moments(objective: Objective, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in objective.named_parameters()}
    return {
        f"adam.{kind}.{names[parameter]}": value if kind != "step" else value.reshape(1)
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def _restore_moments(objective: Objective, optimizer: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    for name, parameter in objective.named_parameters():
        if f"adam.step.{name}" in tensors:
            optimizer.state[parameter] = {
                "step": tensors[f"adam.step.{name}"].reshape(()),
                "exp_avg": tensors[f"adam.exp_avg.{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"adam.exp_avg_sq.{name}"].to(parameter.device),
            }
