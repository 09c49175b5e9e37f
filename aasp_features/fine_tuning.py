"""Parts of a training loop: rates by layer, frozen blocks, gradient checkpointing and drop path (arXiv 1603.09382).

``Trainable`` gives them to ``AaSPEncoder``; ``aasp-train finetune`` uses the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from aasp_features.errors import OptionError
from aasp_features.model.network import AaSPNetwork
from aasp_features.model.transformer import Block


class Trainable:
    """What an encoder offers to training loops.

    Attributes:
        network: The network that is trained.
    """

    network: AaSPNetwork

    def parameter_groups(
        self, learning_rate: float, *, layer_decay: float = 1.0, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        """Return the trainable parameters as groups for an optimiser, with a learning rate by layer.

        Args:
            learning_rate: Rate of the last norm, and of the layers on top of the encoder.
            layer_decay: Factor on the rate from the last norm to the last block, from there to the block before it, and
                so on down to the patch embedding.
            weight_decay: Weight decay of linear layers' matrices; other parameters have none.

        Returns:
            Groups with ``params``, ``lr``, ``weight_decay`` and ``depth``, the number of such factors.

        Raises:
            OptionError: All parameters are frozen, as ``from_pretrained`` returns them.
        """
        groups = []
        for group in layer_groups(self.network, self.network, weight_decay):
            rate = learning_rate * layer_decay ** group["depth"]
            if trained := [parameter for parameter in group["params"] if parameter.requires_grad]:
                groups.append({**group, "params": trained, "lr": rate})
        if not groups:
            raise OptionError("the encoder's parameters are frozen; call encoder.unfreeze() first.")
        return groups

    def unfreeze(self, last_blocks: int | None = None) -> Self:
        """Let gradients change the whole network, or the last blocks and the last norm alone; return the encoder.

        Args:
            last_blocks: Number of blocks that are trained, from 0; the rest is frozen (default: everything is trained).

        Raises:
            OptionError: The network has fewer blocks.
        """
        depth = len(self.network.blocks)
        if last_blocks is not None and not 0 <= last_blocks <= depth:
            raise OptionError(f"last_blocks must be 0 to {depth}, got {last_blocks}.")
        self.network.requires_grad_(last_blocks is None)
        if last_blocks is not None:
            for module in (*self.network.blocks[depth - last_blocks :], self.network.norm):
                module.requires_grad_(True)
        return self

    def gradient_checkpointing_enable(self, enable: bool = True) -> None:
        """Compute the blocks again in the backward pass instead of keeping their activations, to save memory."""
        for block in self.network.blocks:
            assert isinstance(block, Block)
            block.gradient_checkpointing = enable

    @contextmanager
    def drop_path(self, rate: float, clips: int, generator: torch.Generator | None = None) -> Iterator[None]:
        """Let clips randomly skip a block's attention or MLP in the forward passes within the context.

        Args:
            rate: Probability at the last block, 0 to below 1; it rises linearly from 0 at the first.
            clips: Number of clips in the batch.
            generator: CPU generator (default: torch's own).

        Raises:
            OptionError: The rate is not accepted.
        """
        if not 0 <= rate < 1:
            raise OptionError(f"rate must be 0 to below 1, got {rate}.")
        with dropping_paths(self.network.blocks, draw_paths(len(self.network.blocks), clips, rate, generator)):
            yield


def layer_groups(module: nn.Module, network: AaSPNetwork, weight_decay: float) -> list[dict[str, Any]]:
    """Group a module's parameters by depth, with weight decay for linear layers' matrices only.

    Args:
        module: Network, or a module that holds it.
        network: Network of the layers. Depth is 0 for its last norm and for all that is outside it, 1 for its last
            block, one more for each block before it, and ``blocks + 1`` for the stem (patch embedding and [CLS]).
        weight_decay: Weight decay of the matrices.

    Returns:
        Groups with ``params``, ``depth`` and ``weight_decay``, by increasing depth.
    """
    count = len(network.blocks)
    depth_of = dict.fromkeys((network.cls, *network.patch_embed.parameters()), count + 1)
    for index, block in enumerate(network.blocks):
        depth_of |= dict.fromkeys(block.parameters(), count - index)
    matrices = {part.weight for part in module.modules() if isinstance(part, nn.Linear)}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        groups.setdefault((depth_of.get(parameter, 0), parameter in matrices), []).append(parameter)
    return [
        {"params": parameters, "depth": depth, "weight_decay": weight_decay if decays else 0.0}
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def draw_paths(blocks: int, clips: int, rate: float, generator: torch.Generator | None) -> Tensor:
    """Draw the factor on every clip's two branches of each block, (blocks, 2, clips): 0, or 1 over the kept share.

    The rate rises linearly from 0 in the first block to ``rate`` in the last.
    """
    kept = 1.0 - rate * torch.linspace(0, 1, blocks)[:, None, None] if blocks > 1 else torch.full((1, 1, 1), 1.0 - rate)
    return (torch.rand(blocks, 2, clips, generator=generator) < kept) / kept


@contextmanager
def dropping_paths(blocks: nn.ModuleList, paths: Tensor | Sequence[Tensor] | None) -> Iterator[None]:
    """Multiply the branches of the blocks by ``paths`` in forward passes within the context; None changes nothing."""
    try:
        for block, own in zip(blocks, paths, strict=True) if paths is not None else ():
            assert isinstance(block, Block)
            block.paths = own
        yield
    finally:
        for block in blocks:
            assert isinstance(block, Block)
            block.paths = None
