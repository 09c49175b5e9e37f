"""Distillation: targets from external teachers' features, and heads that predict them from the student's embedding.

A teacher's features are standardised over the corpus and rotated to their principal axes. Each axis is divided by its
variance to a power below one half, so small axes count, but less than large ones. A linear head reads the student's
pooled output, the same vector that ``embed`` returns, so linear probes can use what it learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.config import AaSPConfig, Pooling, pooled_dim
from aasp_features.model.log_mel import length_mask
from aasp_features.model.network import AaSPNetwork, Features, token_mask
from aasp_features.model.pooling import pool_clip
from aasp_features.model.transformer import autocast_type
from aasp_features.train.data.batch import Batch, Share, draw, send
from aasp_features.train.errors import TrainError
from aasp_features.train.recipe import Recipe

OUTLIER = 6.0  # targets are clipped here, as near-silent crops would otherwise dominate a batch's loss


class TeacherTargets(nn.Module):
    """Map from a teacher's features to targets: (features - mean) @ axes, of unit mean square, clipped."""

    mean: Tensor
    axes: Tensor

    def __init__(self, mean: Tensor, axes: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)  # (dim,)
        self.register_buffer("axes", axes)  # (dim, kept)

    def forward(self, features: Tensor) -> Tensor:
        """Compute targets, (batch, dim) -> (batch, kept)."""
        return ((features - self.mean) @ self.axes).clamp(-OUTLIER, OUTLIER)


def fit_targets(features: Tensor, variance: float, exponent: float) -> TeacherTargets:
    """Fit axes that keep a share of the variance of standardised features.

    Args:
        features: (crops, dim) features of many crops.
        variance: Share of the variance to keep.
        exponent: Each axis is divided by its variance to this power; 0 changes nothing, 1/2 makes all axes equal.

    Raises:
        TrainError: The features do not vary.
    """
    x = features.double()
    mean, std = x.mean(dim=0), x.std(dim=0, unbiased=False)
    std = torch.where(std > 1e-6 * x.abs().amax(dim=0).clamp(min=1e-12), std, torch.inf)  # constants become zero
    x = (x - mean) / std
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))  # ascending
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    share = values.cumsum(0) / values.sum().clamp(min=1e-12)
    kept = min(int((share < variance).sum()) + 1, int((values > 1e-9 * values[0].clamp(min=1e-12)).sum()))
    if kept == 0:
        raise TrainError("its features are the same for every crop; leave it out.")
    values, vectors = values[:kept], vectors[:, :kept]
    axes = vectors / std[:, None] / values**exponent
    unit = (values ** (1 - 2 * exponent)).mean().sqrt()
    return TeacherTargets(mean.float(), (axes / unit).float())


class Distillation(nn.Module):
    """The distillation heads, and the student's pass with token dropping.

    Args:
        recipe: Recipe, whose ``distillation`` says what the heads read.
        targets: Targets of each teacher, by name.
    """

    def __init__(self, recipe: Recipe, targets: Mapping[str, TeacherTargets]) -> None:
        super().__init__()
        config, self.settings = recipe.config(), recipe.distillation
        self.targets = nn.ModuleDict(targets)
        self.heads = nn.ModuleDict({name: _head(config, self.pooling, one) for name, one in targets.items()})

    @property
    def pooling(self) -> Pooling:
        """Pooling of the vector that the heads read."""
        return self.settings.pooling  # type: ignore[return-value]  # checked by the recipe

    def forward(
        self, student: AaSPNetwork, batch: Batch, token_dropping: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the loss on each teacher's targets in float32; 1 is the loss of predicting their mean.

        Args:
            student: Student network.
            batch: Batch with the teachers' features.
            token_dropping: Share of each row's columns hidden from the student.
            generator: CPU generator that draws these columns.
        """
        vector = self.clip_vectors(student, batch, token_dropping, generator)
        losses = {}
        with torch.autocast(autocast_type(vector.device), enabled=False):
            for name, head in self.heads.items():
                losses[name] = head_loss(head(vector), self.targets[name](batch.features[name]), self.settings.loss)
        return losses

    def clip_vectors(
        self, student: AaSPNetwork, batch: Batch, token_dropping: float, generator: torch.Generator
    ) -> Tensor:
        """Compute the vectors of ``embed``, (batch, d) float32, from the kept columns."""
        kept = keep_columns(batch.column_frames, token_dropping, generator, batch.share) if token_dropping else None
        return encode_columns(student, batch, kept, self.pooling, self.settings.last_layers)


def head_loss(predicted: Tensor, target: Tensor, loss: str) -> Tensor:
    """Return the mean squared error, or the mean of 1 - cosine, between rows of both, (batch, kept)."""
    if loss == "cosine":
        return (1 - functional.cosine_similarity(predicted, target)).mean()
    return functional.mse_loss(predicted, target)


def encode_columns(
    network: AaSPNetwork, batch: Batch, kept: Tensor | None, pooling: Pooling, last_layers: int
) -> Tensor:
    """Return clip vectors, (batch, d) float32, with gradients, of the columns from ``keep_columns``.

    With ``kept=None``, which keeps all columns, these are the vectors of ``embed``.
    """
    tokens, frames, padded = batch.patch_tokens(network), batch.column_frames, batch.padded
    if kept is not None:
        frames = frames.gather(1, kept.clamp(min=0)) * (kept >= 0)
        padded = bool((frames == 0).any())
        index = send(kept.clamp(min=0), tokens.device)[..., None, None]
        tokens = tokens.gather(1, index.expand(-1, -1, *tokens.shape[2:]))
    frames = send(frames, tokens.device)
    key_mask = token_mask(frames, tokens.shape[2]) if padded else None
    x, outputs = network.with_cls(tokens.flatten(1, 2)), []
    for block in network.blocks:
        x = block(x, key_mask)
        outputs.append(x)
    features = network.features(outputs[-last_layers:], frames)
    with torch.autocast(autocast_type(x.device), enabled=False):
        return pool_clip(Features(features.tokens.float(), features.cls.float(), frames), pooling)


def keep_columns(
    column_frames: Tensor, token_dropping: float, generator: torch.Generator, share: Share | None = None
) -> Tensor:
    """Draw some of every row's columns in order, (batch, largest count), -1 where a row keeps fewer.

    Args:
        column_frames: (batch, columns) frames of the crop in each column, on the CPU.
        token_dropping: Share of the nonempty columns to drop; at least one is kept.
        generator: CPU generator.
        share: Share of the step's batch that these rows are, which does not change their columns.
    """
    real, columns = column_frames > 0, column_frames.shape[1]
    count = ((1 - token_dropping) * real.sum(dim=1)).round().long().clamp(min=1)
    order = draw(real.shape, generator, share).masked_fill(~real, 2.0).argsort(dim=1)
    largest = int(count.max())
    chosen = order[:, :largest].masked_fill(~length_mask(count, largest), columns)
    chosen = chosen.sort(dim=1).values
    return chosen.masked_fill(chosen == columns, -1)


def _head(config: AaSPConfig, pooling: Pooling, targets: nn.Module) -> nn.Linear:
    assert isinstance(targets, TeacherTargets)
    return nn.Linear(pooled_dim(config.dim, config.rows, pooling), targets.axes.shape[1])
