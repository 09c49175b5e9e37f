"""Does a network still have the random weights that it was made with? Its vectors are then those of no checkpoint."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn


class UntrainedCheck:
    """Made with a network, asked once it is used.

    One number of each parameter is kept and compared, so it does not matter in which way weights come in: by
    ``load_state_dict``, by an optimiser, by hand.
    """

    def __init__(self, network: nn.Module) -> None:
        self._drawn = None if any(weight.is_meta for weight in network.parameters()) else first_numbers(network)

    def pass_over(self) -> None:
        """The weights come from a checkpoint."""
        self._drawn = None

    def warn_once(self, network: nn.Module) -> None:
        """Warn if nothing has changed since, the first time."""
        drawn, self._drawn = self._drawn, None
        if drawn is not None and torch.equal(drawn, first_numbers(network)):
            warnings.warn(
                "this encoder's weights are random; its vectors are those of an untrained network: use "
                "AaSPEncoder.from_pretrained(), or load weights.",
                stacklevel=4,
            )


def first_numbers(network: nn.Module) -> Tensor:
    """The first number of each parameter, on the CPU."""
    return torch.stack([weight.detach().flatten()[0].float() for weight in network.parameters()]).cpu()
