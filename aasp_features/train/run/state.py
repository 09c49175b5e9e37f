"""A run's state in one safetensors file: networks, heads, optimisers, health, progress and record.

Every tensor, the progress and the record have a checksum, so damage is detected. The file is replaced atomically: after
a kill it is the new one or the old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aasp_features.train.errors import TrainError
from aasp_features.train.run.folder import STATE_FILE
from aasp_features.train.whole_file import whole_file

CHECKSUMS = "checksums"
Modules = Mapping[str, nn.Module]
Optimizers = Mapping[str, torch.optim.Optimizer]


@dataclass
class Progress:
    """Progress of a run; random numbers are functions of seed and step, so nothing else is needed.

    Attributes:
        step: Completed steps.
        seconds: Time spent in steps.
        crops: Number of crops used.
        precision: Precision of the computation.
        loss_scale: State of the float16 loss scaling; empty in other precisions.
    """

    step: int = 0
    seconds: float = 0.0
    crops: int = 0
    precision: str = "float32"
    loss_scale: dict[str, Any] = field(default_factory=dict)


def flat_state(modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return the tensors of modules by name, and the moments of optimisers of the first one's parameters."""
    found = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        found |= optimizer_state(next(iter(modules.values())), optimizer, name)
    return found


def write_state(folder: Path, tensors: Mapping[str, Tensor], progress: Progress, record: dict[str, Any]) -> None:
    """Replace the state of a run: tensors by name, progress and record.

    Raises:
        TrainError: It cannot be written, as on a full disk; the earlier state is kept.
    """
    found = {name: value.contiguous().cpu() for name, value in tensors.items()}
    texts = {"progress": json.dumps(asdict(progress)), "record": json.dumps(record)}
    with whole_file(folder / STATE_FILE) as temporary:
        try:
            save_file(found, temporary, metadata={**texts, CHECKSUMS: json.dumps(checksums(found, texts))})
        except SafetensorError as error:  # also raised for a full disk
            raise OSError(str(error)) from error


def restore(folder: Path, modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """Restore the tensors of ``flat_state`` exactly, and return all tensors of the state.

    Raises:
        TrainError: The file is damaged or incomplete, holds non-finite values, or belongs to another network.
    """
    path, tensors = folder / STATE_FILE, read_tensors(folder)
    try:
        for name, module in modules.items():
            module.load_state_dict(under(f"{name}.", tensors), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()[:120]
        raise TrainError(f"{path} belongs to another network ({first}…); start a new run in another folder.") from error
    for name, optimizer in optimizers.items():
        restore_optimizer(next(iter(modules.values())), optimizer, name, tensors, path)
    return tensors


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a run's state, on the CPU.

    Raises:
        TrainError: The file is damaged or incomplete, or holds non-finite values.
    """
    path = folder / STATE_FILE
    texts, expected, tensors = _read(path, with_tensors=True)
    found = checksums(tensors, texts)
    if missing := [name for name in expected if name not in found]:
        raise TrainError(_damaged(path, f"it lacks {missing[0]}"))
    if broken := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise TrainError(_damaged(path, f"{broken[0]} holds NaN or infinite values"))
    if differing := [name for name in found if found[name] != expected.get(name)]:
        raise TrainError(_damaged(path, f"{differing[0]} is not what was saved"))
    return tensors


def read_record(folder: Path) -> tuple[Progress, dict[str, Any]]:
    """Return progress and record of a run without its tensors.

    Raises:
        TrainError: There is no run, or it is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise TrainError(f"{folder} holds no run; give a folder with {STATE_FILE}.")
    texts, expected, _ = _read(path, with_tensors=False)
    if differing := [name for name, text in texts.items() if expected.get(name) != _checksum(text.encode())]:
        raise TrainError(_damaged(path, f"its {differing[0]} is not what was saved"))
    return Progress(**json.loads(texts["progress"])), json.loads(texts["record"])


def checksums(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> dict[str, str]:
    """Return checksums of every tensor (dtype, shape and bytes) and text, by name."""
    found = {name: _checksum(text.encode()) for name, text in texts.items()}
    for name, value in tensors.items():
        kind = f"{value.dtype} {tuple(value.shape)} ".encode()
        found[name] = _checksum(kind, value.reshape(-1).view(torch.uint8).numpy().data)
    return found


def _checksum(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def _read(path: Path, with_tensors: bool) -> tuple[dict[str, str], dict[str, str], dict[str, Tensor]]:
    """Read texts, saved checksums and tensors, without checking them."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
        if CHECKSUMS not in metadata:
            raise TrainError(f"{path} has no checksums, so it is no run's state; start a new run in another folder.")
        return (
            {name: metadata[name] for name in ("progress", "record")},
            dict(json.loads(metadata[CHECKSUMS])),
            tensors,
        )
    except TrainError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise TrainError(_damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__)) from error


def _damaged(path: Path, how: str) -> str:
    return f"{path} is damaged ({how}); restore it from a copy, or start a new run in another folder."


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def optimizer_state(module: nn.Module, optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Return an optimiser's moments, each by prefix, kind and the name of its parameter in the module."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{prefix}.{kind}.{names[parameter]}": value if value.ndim else value.reshape(1)
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def restore_optimizer(
    module: nn.Module, optimizer: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Restore an optimiser's moments from ``optimizer_state``; parameters that no step has moved have none.

    Raises:
        TrainError: Some moments of a parameter are missing.
    """
    kinds = dict.fromkeys(name.split(".")[0] for name in under(f"{prefix}.", tensors))
    own = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    stays = () if optimizer.defaults.get("fused", True) else ("step",)  # on the CPU
    for name, parameter in module.named_parameters():
        found = {kind: tensors[key] for kind in kinds if (key := f"{prefix}.{kind}.{name}") in tensors}
        if parameter not in own or not found:
            continue
        if len(found) < len(kinds):
            raise TrainError(_damaged(path, f"moments of {name} are missing"))
        if "step" in found:
            found["step"] = found["step"].reshape(())
        optimizer.state[parameter] = {
            kind: value if kind in stays else value.to(parameter.device) for kind, value in found.items()
        }
