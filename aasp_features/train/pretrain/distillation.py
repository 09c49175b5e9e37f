"""Learning from external teachers: targets from their features, heads that predict them from the student's vector.

A teacher's features are standardised over the corpus, rotated to their principal axes, and each axis is divided by its
variance to a power below one half: then small axes count, without counting as much as large ones. A linear head reads
the pooled output of the student, the very vector that ``embed`` gives, so what it learns is there for a linear probe.
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
from aasp_features.train.data.batch import Batch, send
from aasp_features.train.errors import TrainError
from aasp_features.train.recipe import Recipe

OUTLIER = 6.0  # targets beyond are cut: single crops, near silence above all, would else be most of a batch's loss


class TeacherTargets(nn.Module):
    """A teacher's features -> what the student has to predict: (features - mean) @ axes, unit mean square, cut."""

    mean: Tensor
    axes: Tensor

    def __init__(self, mean: Tensor, axes: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)  # (numbers,)
        self.register_buffer("axes", axes)  # (numbers, kept)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, numbers) -> (batch, kept)."""
        return ((features - self.mean) @ self.axes).clamp(-OUTLIER, OUTLIER)


def fit_targets(features: Tensor, variance: float, exponent: float) -> TeacherTargets:
    """Axes that hold a share of the variance of standardised features.

    Args:
        features: (crops, numbers) of many crops.
        variance: the share.
        exponent: each axis is divided by its variance to this power; 0 leaves them, 1/2 makes all equal.

    Raises:
        TrainError: the features do not vary.
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
        raise TrainError("it says the same of every crop; there is nothing to learn from it.")
    values, vectors = values[:kept], vectors[:, :kept]
    axes = vectors / std[:, None] / values**exponent
    unit = (values ** (1 - 2 * exponent)).mean().sqrt()
    return TeacherTargets(mean.float(), (axes / unit).float())


class Distillation(nn.Module):
    """The heads, and the student's pass on a part of the columns.

    Args:
        recipe: its ``distillation`` says what the heads read.
        targets: of each teacher, by name.
    """

    def __init__(self, recipe: Recipe, targets: Mapping[str, TeacherTargets]) -> None:
        super().__init__()
        config, self.settings = recipe.config(), recipe.distillation
        self.targets = nn.ModuleDict(targets)
        self.heads = nn.ModuleDict({name: _head(config, self.pooling, one) for name, one in targets.items()})

    @property
    def pooling(self) -> Pooling:
        """Of the vector that the heads read."""
        return self.settings.pooling  # type: ignore[return-value]  # checked by the recipe

    def forward(
        self, student: AaSPNetwork, batch: Batch, dropped: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Loss on each teacher's targets, in float32; 1 is what guessing their mean gives.

        Args:
            student: network to teach.
            batch: with the teachers' features.
            dropped: share of each row's columns that the student does not see.
            generator: on the CPU; chooses them.
        """
        vector = self.clip_vectors(student, batch, dropped, generator)
        losses = {}
        with torch.autocast(vector.device.type, enabled=False):
            for name, head in self.heads.items():
                losses[name] = head_loss(head(vector), self.targets[name](batch.features[name]), self.settings.loss)
        return losses

    def clip_vectors(self, student: AaSPNetwork, batch: Batch, dropped: float, generator: torch.Generator) -> Tensor:
        """What ``embed`` would give, (batch, d) float32, from the columns that are kept."""
        kept = keep_columns(batch.column_frames, dropped, generator) if dropped else None
        return encode_columns(student, batch, kept, self.pooling, self.settings.last_layers)


def head_loss(predicted: Tensor, target: Tensor, loss: str) -> Tensor:
    """Mean squared error, or the mean of one less the cosine between the rows of both, (batch, kept)."""
    if loss == "cosine":
        return (1 - functional.cosine_similarity(predicted, target)).mean()
    return functional.mse_loss(predicted, target)


def encode_columns(
    network: AaSPNetwork, batch: Batch, kept: Tensor | None, pooling: Pooling, last_layers: int
) -> Tensor:
    """Clip vectors, (batch, d) float32, of some of the columns, with gradients.

    Args:
        network: to run.
        batch: of clips.
        kept: as ``keep_columns`` gives them; None keeps all.
        pooling, last_layers: as of ``embed``, whose vectors these are where all columns are kept.
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
    with torch.autocast(x.device.type, enabled=False):
        return pool_clip(Features(features.tokens.float(), features.cls.float(), frames), pooling)


def keep_columns(column_frames: Tensor, dropped: float, generator: torch.Generator) -> Tensor:
    """Some of every row's columns at random, in order: (batch, most kept), -1 where a row keeps fewer.

    Args:
        column_frames: (batch, columns) frames of the clip in each column, on the CPU.
        dropped: share of the columns that hold any; at least one is kept.
        generator: on the CPU.
    """
    real, columns = column_frames > 0, column_frames.shape[1]
    count = ((1 - dropped) * real.sum(dim=1)).round().long().clamp(min=1)
    order = torch.rand(real.shape, generator=generator).masked_fill(~real, 2.0).argsort(dim=1)
    most = int(count.max())
    chosen = order[:, :most].masked_fill(~length_mask(count, most), columns)
    chosen = chosen.sort(dim=1).values
    return chosen.masked_fill(chosen == columns, -1)


def _head(config: AaSPConfig, pooling: Pooling, targets: nn.Module) -> nn.Linear:
    assert isinstance(targets, TeacherTargets)
    return nn.Linear(pooled_dim(config.dim, config.rows, pooling), targets.axes.shape[1])
