"""Which clips a step sees: a function of the seed and the step alone, so a resumed run sees what it would have seen."""

from __future__ import annotations

import torch
from torch import Tensor

from aasp_features.errors import OptionError

CLIPS_AT_ONCE = 2**16
PER_CLASS = 1000.0  # of AudioMAE's weights; its size plays no part


class ClipSampler:
    """Epochs, one after the other without a gap, cut into batches.

    Args:
        clips: how many there are.
        epoch: clips of an epoch, at most ``clips`` unless they may repeat.
        batch: clips of a step.
        seed: of the order.
        weights: (clips,) of a balanced draw; None: each clip once, in an order of its own in every epoch.
        replacement: may a balanced epoch draw a clip twice?

    Raises:
        OptionError: an epoch of more clips than there are to draw.
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
                f"clips.epoch is {epoch}, and {there} clips can be drawn, each once; give a smaller one, or draw with "
                "clips.balanced=true and clips.replacement=true."
            )
        self.clips, self.epoch, self.batch, self.seed = clips, epoch, batch, seed
        self.weights, self.replacement = weights, replacement
        self._order: tuple[int, Tensor] | None = None

    @property
    def steps(self) -> int:
        """Of an epoch, as near as whole steps come."""
        return max(1, round(self.epoch / self.batch))

    def places(self, step: int) -> Tensor:
        """The clips of a step, (batch,)."""
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
    """How often each clip is to be drawn, (clips,) float64: for each of its labels, one over that label's clips.

    1000 / (count + 0.01), summed over a clip's labels, as AudioMAE has it. Without several labels, and drawn with
    replacement, all classes are drawn equally often.

    Args:
        labels: (clips, classes) bool.
        power: the sums are raised to it; clips without a label have 0.
    """
    of_class = PER_CLASS / (labels.sum(dim=0, dtype=torch.float64) + 0.01)
    weights = torch.cat([some.double() @ of_class for some in torch.split(labels, CLIPS_AT_ONCE)])  # at bounded memory
    return torch.where(weights > 0, weights**power, 0.0)
