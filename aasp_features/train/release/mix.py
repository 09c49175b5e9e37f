"""Weighted mean of a run's weights and those of checkpoints (Wortsman et al., arXiv 2109.01903)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from aasp_features.checkpoint import load_checkpoint
from aasp_features.config import AaSPConfig
from aasp_features.train.errors import TrainError

# Other fields of the config determine the meaning of weights.
MAY_DIFFER = {"name", "pooling", "last_layers"}


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


def in_words(shares: Mapping[str, float]) -> str:
    """Return a sentence for cards, or an empty text without shares."""
    if not shares:
        return ""
    others = ", ".join(f"`{Path(name).name}`'s ({100 * share:.3g} %)" for name, share in shares.items())
    return f"The checkpoint's weights are a weighted mean: this run's ({100 * _rest(shares):.3g} %), {others}."


def _rest(shares: Mapping[str, float]) -> float:
    return 1 - sum(shares.values())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
