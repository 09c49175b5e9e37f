"""A run's weights and those of checkpoints before it -> their weighted mean (Wortsman et al., arXiv 2109.01903)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from aasp_features.checkpoint import load_checkpoint
from aasp_features.config import AaSPConfig
from aasp_features.train.errors import TrainError

# Between configs whose weights are mixed; all else decides what a weight means.
MAY_DIFFER = {"name", "pooling", "last_layers"}


def read_shares(pairs: Sequence[str]) -> dict[str, float]:
    """Checkpoints and their shares of the weights, from ``CHECKPOINT=SHARE``.

    Raises:
        TrainError: no such pair, a checkpoint twice, or shares that are not above 0 and together below 1.
    """
    shares: dict[str, float] = {}
    for pair in pairs:
        name, _, number = pair.rpartition("=")
        share = _number(number)
        if not name or not share > 0:
            raise TrainError(
                f"--mix takes CHECKPOINT=SHARE, such as aasp-tiny-pack-1=0.4, a share above 0; got {pair!r}."
            )
        if name in shares:
            raise TrainError(f"--mix names {name} twice: give each checkpoint one share.")
        shares[name] = share
    if not _rest(shares) > 0:
        raise TrainError(f"--mix gives away {sum(shares.values()):g} of the weights: the run needs some; stay below 1.")
    return shares


def mixed(weights: Mapping[str, Tensor], config: AaSPConfig, shares: Mapping[str, float]) -> dict[str, Tensor]:
    """The mean of a run's weights and checkpoints', by shares.

    Args:
        weights: of the run; they get what the shares leave of 1.
        config: of the run.
        shares: by name or folder of each checkpoint. The run should have started from it, or both from a third: weights
            without training in common have no useful mean.

    Raises:
        TrainError: a checkpoint of another network or front end; CheckpointError: there is none.
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
    """A sentence for cards; empty where nothing is mixed in."""
    if not shares:
        return ""
    others = ", ".join(f"`{Path(name).name}`'s ({100 * share:.3g} %)" for name, share in shares.items())
    return f"The checkpoint's weights are a mean: this run's ({100 * _rest(shares):.3g} %), {others}."


def _rest(shares: Mapping[str, float]) -> float:
    return 1 - sum(shares.values())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
