"""The fine-tuned model: network, fixed standardisation of its clip vectors, and linear layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.fine_tuning import dropping_paths
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.data.batch import Batch, send
from aasp_features.train.pretrain.distillation import encode_columns


class TrainingBatch(NamedTuple):
    """A batch with all random draws of its step, so its parts are parts of one step.

    Attributes:
        clips: Cut and augmented clips.
        targets: (batch, classes) float.
        columns: Columns that the network sees, from ``keep_columns``; None for all.
        paths: Factors of ``draw_paths``; None for no drop path.
    """

    clips: Batch
    targets: Tensor
    columns: Tensor | None = None
    paths: Tensor | None = None

    def part(self, rows: slice) -> TrainingBatch:
        """Return some of the clips."""
        columns = None if self.columns is None else self.columns[rows]
        paths = None if self.paths is None else self.paths[..., rows]
        return TrainingBatch(self.clips.rows(rows), self.targets[rows], columns, paths)

    def to(self, device: torch.device) -> TrainingBatch:
        """Send it to another device, except lengths."""
        paths = None if self.paths is None else send(self.paths, device)
        return self._replace(clips=self.clips.to(device), targets=send(self.targets, device), paths=paths)


class FineTuned(nn.Module):
    """Encoder and linear layer in training.

    The standardisation is fixed, so it does not depend on batches and folds exactly into the linear layer.

    Args:
        network: Network whose config says what the linear layer reads.
        mean, std: (d,) statistics of the clip vectors.
        head: Linear layer (d -> classes) of standardised vectors.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: AaSPNetwork, mean: Tensor, std: Tensor, head: nn.Linear) -> None:
        super().__init__()
        self.network, self.head = network, head
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, batch: TrainingBatch) -> Tensor:
        """Return logits, (batch, classes) float32."""
        config = self.network.config
        with dropping_paths(self.network.blocks, batch.paths):
            vectors = encode_columns(self.network, batch.clips, batch.columns, config.pooling, config.last_layers)
        with torch.autocast(vectors.device.type, enabled=False):
            return self.head((vectors - self.mean) / self.std)  # type: ignore[no-any-return]

    def folded(self) -> nn.Linear:
        """Return one linear layer from clip vectors to logits, on the CPU."""
        mean, std, weight, bias = (
            value.detach().cpu().double() for value in (self.mean, self.std, self.head.weight, self.head.bias)
        )
        layer = nn.Linear(self.head.in_features, self.head.out_features, device="meta").to_empty(device="cpu")
        layer.load_state_dict({"weight": weight / std, "bias": bias - weight @ (mean / std)})
        return layer.requires_grad_(False)


def loss_of(logits: Tensor, targets: Tensor, kind: str, smoothing: float = 0.0) -> Tensor:
    """Return the sum of each clip's loss over a batch, from logits and targets, (batch, classes).

    ``kind`` is ``cross_entropy``, whose rows of targets sum to 1, or ``binary``: a cross-entropy for each class, summed
    over them. ``smoothing`` is the label smoothing of ``cross_entropy``.
    """
    if kind == "binary":
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)


def divisor(targets: Tensor, per: str) -> float:
    """Return the divisor of a batch's loss: its clips, or its labels (at least one)."""
    return float(len(targets)) if per == "clips" else max(1.0, float(targets.sum()))
