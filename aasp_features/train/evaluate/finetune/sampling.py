"""Sampling of clips as a function of seed and step alone, so resumed runs equal uninterrupted ones."""

from __future__ import annotations

import torch
from torch import Tensor

from aasp_features.errors import OptionError

CLIPS_AT_ONCE = 2**16
PER_CLASS = 1000.0  # as in AudioMAE; a constant factor has no effect


class ClipSampler:
    """Consecutive epochs without gaps, cut into batches.

    Args:
        clips: Number of clips.
        epoch: Clips in an epoch, at most ``clips`` unless they may repeat.
        batch: Clips in a step.
        seed: Seed of the order.
        weights: (clips,) weights of a balanced draw (default: each clip once per epoch, in a new order).
        replacement: Whether a balanced epoch may draw a clip twice.

    Raises:
        OptionError: An epoch has more clips than can be drawn.
    """

    def __init__(
        self,
        clips: int,
        epoch: int,
        batch: int,
        seed: int,
        weights: Tensor | None = None,
        replacement: bool = True,
    ) -> None:
        there = clips if weights is None else int((weights > 0).sum())
        if there == 0 or (epoch > there and not (weights is not None and replacement)):
            raise OptionError(
                f"clips.epoch is {epoch}, but only {there} clips can be drawn once; give a smaller epoch, or "
                "clips.balanced=true and clips.replacement=true."
            )
        self.clips, self.epoch, self.batch, self.seed = clips, epoch, batch, seed
        self.weights, self.replacement = weights, replacement
        self._order: tuple[int, Tensor] | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch, rounded."""
        return max(1, round(self.epoch / self.batch))

    def indices(self, step: int) -> Tensor:
        """Return the clips of a step, (batch,)."""
        wanted = torch.arange(step * self.batch, (step + 1) * self.batch)
        found = torch.empty_like(wanted)
        for epoch in range(int(wanted[0]) // self.epoch, int(wanted[-1]) // self.epoch + 1):
            own = wanted // self.epoch == epoch
            found[own] = self._epoch_order(epoch)[wanted[own] % self.epoch]
        return found

    def _epoch_order(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 7_919 + 31 * epoch)
            if self.weights is None:
                order = torch.randperm(self.clips, generator=generator)[: self.epoch]
            else:
                order = torch.multinomial(self.weights, self.epoch, self.replacement, generator=generator)
            self._order = epoch, order
        return self._order[1]


def balanced_weights(labels: Tensor, power: float = 1.0) -> Tensor:
    """Return weights for a balanced draw, (clips,) float64.

    A clip's weight sums 1000 / (count + 0.01) over its labels, as in AudioMAE. For single-label clips drawn with
    replacement, all classes are equally likely.

    Args:
        labels: (clips, classes) bool.
        power: Power of the weights; clips without a label have weight 0.
    """
    of_class = PER_CLASS / (labels.sum(dim=0, dtype=torch.float64) + 0.01)
    weights = torch.cat([some.double() @ of_class for some in torch.split(labels, CLIPS_AT_ONCE)])  # to bound memory
    return torch.where(weights > 0, weights**power, 0.0)
