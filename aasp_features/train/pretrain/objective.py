"""One pre-training step's losses: teacher, student on masked views, predictor (design of AaSP pre-training)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.config import PATCH
from aasp_features.network import AaSPNetwork, count_valid
from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.distillation import Distillation, TeacherTargets
from aasp_features.train.pretrain.ema_teacher import EmaTeacher, Targets
from aasp_features.train.pretrain.losses import contrastive_loss, frame_loss, utterance_loss
from aasp_features.train.pretrain.masking import Masks, TokenSet, draw_masks
from aasp_features.train.pretrain.predictor import Predictor
from aasp_features.train.recipe import Recipe


class StudentViews(NamedTuple):
    """The student's output for every masked view: [CLS] first, then the visible tokens."""

    output: Tensor  # (views, 1 + visible, dim)
    valid: Tensor  # (views, 1 + visible)


class Losses(NamedTuple):
    """The weighted sum, its parts by name, and the targets of AaSP's own, where it takes part."""

    total: Tensor
    parts: dict[str, Tensor]
    targets: Targets | None


class Objective(nn.Module):
    """Student, teacher, predictor and heads: everything that a step of pre-training needs.

    Args:
        recipe: of the run.
        external: targets of the external teachers, by name; none, no distillation.
    """

    def __init__(self, recipe: Recipe, external: Mapping[str, TeacherTargets] | None = None) -> None:
        super().__init__()
        config = recipe.config()
        self.recipe = recipe
        self.student = AaSPNetwork(config)
        self.teacher = EmaTeacher(self.student, recipe.target_layers)
        self.predictor = Predictor(config.dim, config.heads, recipe.predictor_depth, config.mlp_ratio)
        self.utterance_head = nn.Linear(config.dim, config.dim)
        self.contrast_head = nn.Sequential(
            nn.Linear(config.dim, recipe.contrast_hidden),
            nn.GELU(),
            nn.Linear(recipe.contrast_hidden, recipe.contrast_dim),
        )
        self.distillation = Distillation(recipe, external) if external else None

    def forward(self, batch: Batch, generator: torch.Generator, dropped: float = 0.0) -> Losses:
        """All losses of a batch that have a weight.

        Args:
            batch: of crops.
            generator: on the CPU; draws the masks.
            dropped: share of the columns that distillation hides from the student.
        """
        parts: dict[str, Tensor] = {}
        targets = self.teacher(batch) if self.recipe.learns_masked else None
        if targets is not None:
            parts.update(self.masked_modelling(batch, targets, generator))
        if self.distillation is not None:
            parts.update(self.distillation(self.student, batch, dropped, generator))
        weights = self.recipe.weights
        total = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return Losses(total, parts, targets)

    def masked_modelling(self, batch: Batch, targets: Targets, generator: torch.Generator) -> dict[str, Tensor]:
        """AaSP's own losses: masked frames, the whole utterance, the contrast between views."""
        recipe = self.recipe
        masks = self.masks(batch, generator)
        views = self.see(batch, masks.visible)
        predicted = self.predict(batch, views, masks)
        projected = self.contrast_head(self.summary(views))
        clip = batch.clip.repeat_interleave(recipe.views)
        return {
            "frame": frame_loss(predicted, masks.queried.gather(targets.frame), masks.queried.valid),
            "utterance": utterance_loss(self.utterance_head(views.output[:, 0]), targets.utterance),
            "contrast": contrastive_loss(projected, clip, recipe.contrast_temperature),
        }

    def masks(self, batch: Batch, generator: torch.Generator) -> Masks:
        """Draw this step's masks, on the batch's device."""
        recipe, device = self.recipe, batch.log_mel.device
        valid = count_valid(batch.log_mel, batch.frames, batch.columns) > 0
        drawn = draw_masks(
            valid,
            self.student.config.rows,
            recipe.views,
            recipe.visible_fraction,
            recipe.query_fraction,
            generator,
        )
        return Masks(*(TokenSet(part.indices.to(device), part.valid.to(device)) for part in drawn))

    def see(self, batch: Batch, visible: TokenSet) -> StudentViews:
        """The student on [CLS] and the visible tokens of every view."""
        x = self.student.with_cls(visible.gather(self.embed(batch, visible)))
        valid = functional.pad(visible.valid, (1, 0), value=True)
        key_mask = None if bool(valid.all()) else valid[:, None, None]
        for output, _ in self.student.run_blocks(x, key_mask):
            x = output
        return StudentViews(self.student.norm(x), valid)

    def embed(self, batch: Batch, visible: TokenSet) -> Tensor:
        """The student's tokens with positions, (batch or views, tokens, dim).

        A stem that reads one patch at a time runs once for all views. One that reads its neighbours (``lowpass``)
        runs for each view on the spectrogram with all but the visible patches zeroed, or masked sound would leak in.
        """
        student, positions = self.student, batch.positions(self.student.positions)
        if not student.patch_embed.reads_neighbours:
            return (student.embed_patches(batch.log_mel, batch.frames) + positions).flatten(1, 2)
        views = self.recipe.views
        frames = batch.frames.repeat_interleave(views)
        tokens = student.embed_patches(only_visible(batch.log_mel, visible, views), frames)
        return (tokens + positions.repeat_interleave(views, dim=0)).flatten(1, 2)

    def predict(self, batch: Batch, views: StudentViews, masks: Masks) -> Tensor:
        """Predicted targets at the queried tokens, (views, queries, dim)."""
        positions = batch.positions(self.student.positions).flatten(1, 2)
        seen = functional.pad(masks.visible.gather(positions), (0, 0, 1, 0))  # [CLS] is nowhere
        memory_mask = None if bool(views.valid.all()) else views.valid[:, None, None]
        queries = masks.queried.gather(positions)
        return self.predictor(views.output, seen, queries, memory_mask)  # type: ignore[no-any-return]

    def summary(self, views: StudentViews) -> Tensor:
        """What is contrasted: [CLS], or the mean of the visible tokens, (views, dim)."""
        if self.recipe.contrast_on == "cls":
            return views.output[:, 0]
        weight = views.valid[:, 1:, None].to(views.output.dtype)
        return (views.output[:, 1:] * weight).sum(dim=1) / weight.sum(dim=1)


def only_visible(log_mel: Tensor, visible: TokenSet, views: int) -> Tensor:
    """Zero all but the visible 16 x 16 patches: (batch, frames, mels) -> (batch * views, frames, mels)."""
    batch, frames, mels = log_mel.shape
    rows, columns = mels // PATCH, -(-frames // PATCH)
    keep = torch.zeros(batch * views, columns * rows, dtype=torch.bool, device=log_mel.device)
    keep.scatter_(1, visible.indices, True)
    keep = keep.view(-1, columns, rows).repeat_interleave(PATCH, dim=1).repeat_interleave(PATCH, dim=2)
    return log_mel.repeat_interleave(views, dim=0) * keep[:, :frames]
