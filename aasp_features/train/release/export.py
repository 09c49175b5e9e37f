"""Checkpoints of encoders from the state of a run, or from the mean of several states and checkpoints.

The weighted mean with checkpoints is that of Wortsman et al., arXiv 2109.01903.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aasp_features.checkpoint import load_checkpoint, save_checkpoint
from aasp_features.checkpoints import WEIGHTS_FILE
from aasp_features.config import AaSPConfig, Pooling
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.errors import TrainError
from aasp_features.train.release.card import Sources, card_text
from aasp_features.train.release.run_summary import describe
from aasp_features.train.run.state import read_tensors, under

Which = Literal["average", "last"]
PREFIXES: dict[Which, str] = {"average": "objective.ema_teacher.network.", "last": "objective.student."}

MAY_DIFFER = {"name", "pooling", "last_layers"}  # other fields of the config determine the meaning of weights


def export_encoder(
    runs: Sequence[Path],
    out: Path,
    *,
    name: str,
    which: Which = "average",
    mix: Mapping[str, float] | None = None,
    pooling: Pooling | None = None,
    last_layers: int | None = None,
    card: str | None = None,
    half: bool = True,
) -> Path:
    """Export the encoder of one or more runs to a checkpoint folder.

    Args:
        runs: Run folders; the weights of several runs that share a start are averaged.
        out: Folder to write.
        name: Checkpoint name, ``aasp-<size>-<corpus>-<n>``.
        which: ``average``, the EMA teacher's weights, or ``last``, the student's.
        mix: Shares of the weights that come from other checkpoints, by name or folder.
        pooling: Pooling in the checkpoint's config (default: that of the distillation heads, or ``frequency``).
        last_layers: Last blocks that the config averages (default: those of the distillation heads, or 1).
        card: Text of README.md (default: written from the run's record).
        half: Whether to store float16.

    Raises:
        TrainError: A folder holds no run, or the shapes differ.
        CheckpointError: A checkpoint to mix in is missing, or ``out`` cannot be written.
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
    """Return the dtype of a checkpoint file's weights: float16 or float32.

    Raises:
        TrainError: The file is missing or damaged.
    """
    try:
        with safe_open(checkpoint / WEIGHTS_FILE, framework="pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise TrainError(f"{checkpoint / WEIGHTS_FILE} cannot be read as weights ({error}).") from error
    return "float16" if kinds == {"F16"} else "float32"


def _read_weights(run: Path, prefix: str, config: AaSPConfig) -> dict[str, Tensor]:
    weights = under(prefix, read_tensors(run))
    with torch.device("meta"):
        expected = {key: value.shape for key, value in AaSPNetwork(config).state_dict().items()}
    if expected != {key: value.shape for key, value in weights.items()}:
        raise TrainError(f"{run} holds weights of another shape; give runs of one config and package version.")
    return weights


def read_shares(pairs: Sequence[str]) -> dict[str, float]:
    """Parse ``CHECKPOINT=SHARE`` pairs.

    Raises:
        TrainError: A pair is malformed, a checkpoint repeats, or the shares are not above 0 with a sum below 1.
    """
    shares: dict[str, float] = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        share = _number(number)
        if not name or not share > 0:
            raise TrainError(
                f"--mix must be CHECKPOINT=SHARE with a share above 0, such as aasp-tiny-pack-1=0.4; got {pair!r}."
            )
        if name in shares:
            raise TrainError(f"--mix names {name} twice; give each checkpoint once.")
        shares[name] = share
    if not _rest(shares) > 0:
        raise TrainError(f"--mix shares must sum to less than 1, got {sum(shares.values()):g}.")
    return shares


def mixed(weights: Mapping[str, Tensor], config: AaSPConfig, shares: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the mean of a run's weights and checkpoints' weights, by shares.

    Args:
        weights: Weights of the run, which get the rest of the shares.
        config: Config of the run.
        shares: Shares by each checkpoint's name or folder. The run should have started from it, or both from one
            checkpoint: unrelated weights have no useful mean.

    Raises:
        TrainError: A checkpoint has another network or frontend.
        CheckpointError: A checkpoint does not exist.
    """
    result = {key: _rest(shares) * value for key, value in weights.items()}
    own = asdict(config)
    for name, share in shares.items():
        other = load_checkpoint(name)
        theirs = asdict(other.config)
        if differing := [key for key in own if key not in MAY_DIFFER and own[key] != theirs[key]]:
            told = ", ".join(f"{key} {theirs[key]} where the run has {own[key]}" for key in differing)
            raise TrainError(f"{name} cannot be mixed in: it has {told}.")
        result = {key: value + share * other.weights[key] for key, value in result.items()}
    return result


def _rest(shares: Mapping[str, float]) -> float:
    return 1 - sum(shares.values())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
