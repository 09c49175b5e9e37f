"""The losses of a pre-training step: EMA teacher, student on masked views, predictor and distillation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from aasp_features.config import PATCH
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.data.batch import Batch, send
from aasp_features.train.pretrain.distillation import Distillation, TeacherTargets
from aasp_features.train.pretrain.ema_teacher import EmaTeacher, Targets
from aasp_features.train.pretrain.losses import clip_loss, contrastive_loss, frame_loss
from aasp_features.train.pretrain.masking import Masks, TokenSet, draw_masks
from aasp_features.train.pretrain.predictor import Predictor
from aasp_features.train.recipe import PretrainRunSettings, Recipe


class EncodedViews(NamedTuple):
    """The student's output for every masked view: [CLS] first, then the visible tokens.

    Attributes:
        output: (views, 1 + visible, dim).
        valid: (views, 1 + visible) false at padding.
        key_mask: Attention mask, (views, 1, 1, 1 + visible); None without padding.
    """

    output: Tensor
    valid: Tensor
    key_mask: Tensor | None

    @property
    def cls(self) -> Tensor:
        """The [CLS] outputs, (views, dim)."""
        return self.output[:, 0]


class Losses(NamedTuple):
    """The weighted sum and its parts by name, and the EMA teacher's targets and the masks, if AaSP's own take part."""

    total: Tensor
    parts: dict[str, Tensor]
    targets: Targets | None
    masks: Masks | None = None


class Objective(nn.Module):
    """Student, EMA teacher, predictor and heads.

    Args:
        recipe: Recipe of the run.
        external: Targets of the external teachers by name; without any, there is no distillation.
    """

    def __init__(self, recipe: Recipe, external: Mapping[str, TeacherTargets] | None = None) -> None:
        super().__init__()
        config, settings = recipe.config(), recipe.objective
        self.recipe = recipe
        self.student = AaSPNetwork(config)
        self.ema_teacher = EmaTeacher(self.student, settings.target_layers)
        self.predictor = Predictor(config.dim, config.heads, settings.predictor_depth, config.mlp_ratio)
        self.clip_head = nn.Linear(config.dim, config.dim)
        self.contrast_head = nn.Sequential(
            nn.Linear(config.dim, settings.contrast_hidden),
            nn.GELU(),
            nn.Linear(settings.contrast_hidden, settings.contrast_dim),
        )
        self.distillation = Distillation(recipe, external) if external else None

    def forward(self, batch: Batch, generator: torch.Generator, token_dropping: float = 0.0) -> Losses:
        """Compute all weighted losses of a batch.

        Args:
            batch: Batch of crops.
            generator: CPU generator of the masks.
            token_dropping: Share of the columns that distillation hides from the student.
        """
        losses: dict[str, Tensor] = {}
        targets = masks = None
        if self.recipe.learns_masked:
            masks = self.draw_masks(batch, generator)
            targets = self.ema_teacher(batch)  # sees every token
            views = self.encode_visible(batch, masks.visible)
            predicted = self.predict_masked(batch, views, masks)
            losses["frame"] = frame_loss(predicted, masks.queried.gather(targets.frame), masks.queried.valid)
            losses["clip"] = clip_loss(self.clip_head(views.cls), targets.clip)
            losses["contrast"] = self.contrast(views, batch.sound)
        if self.distillation is not None:
            losses.update(self.distillation(self.student, batch, token_dropping, generator))
        weight = self.recipe.objective.weight
        total = torch.stack([weight(name) * loss for name, loss in losses.items()]).sum()
        return Losses(total, losses, targets, masks)

    def draw_masks(self, batch: Batch, generator: torch.Generator) -> Masks:
        """Draw this step's masks and send them to the batch's device."""
        drawn = draw_masks(batch.column_frames, self.student.config.rows, self.recipe.masking, generator, batch.share)
        return drawn.to(batch.log_mel.device)

    def encode_visible(self, batch: Batch, visible: TokenSet) -> EncodedViews:
        """Run the student on [CLS] and the visible tokens of every view."""
        x = self.student.with_cls(visible.gather(self.patch_tokens(batch, visible)))
        valid = functional.pad(visible.valid, (1, 0), value=True)
        key_mask = valid[:, None, None] if visible.padded else None
        for block in self.student.blocks:
            x = block(x, key_mask)
        return EncodedViews(self.student.norm(x), valid, key_mask)

    def patch_tokens(self, batch: Batch, visible: TokenSet) -> Tensor:
        """Return the student's tokens with positions, (batch or views, tokens, dim).

        A stem that reads one patch at a time runs once for all views. One that reads neighbouring patches (``lowpass``)
        runs for each view with all but the visible patches zeroed, to keep masked sound out.
        """
        student, views = self.student, self.recipe.masking.views
        if not student.patch_embed.reads_neighbours:
            return batch.patch_tokens(student).flatten(1, 2)
        lengths = send(batch.frame_lengths, batch.log_mel.device).repeat_interleave(views)
        tokens = student.embed_patches(only_visible(batch.log_mel, visible, views), lengths)
        positions = batch.positions(student.positions).repeat_interleave(views, dim=0)
        return (tokens + positions).flatten(1, 2)

    def predict_masked(self, batch: Batch, views: EncodedViews, masks: Masks) -> Tensor:
        """Predict targets at the queried tokens, (views, queries, dim)."""
        positions = batch.positions(self.student.positions).flatten(1, 2)
        seen = functional.pad(masks.visible.gather(positions), (0, 0, 1, 0))  # [CLS] has no position
        queries = masks.queried.gather(positions)
        return self.predictor(views.output, seen, queries, views.key_mask)  # type: ignore[no-any-return]

    def contrast(self, views: EncodedViews, sound: Tensor) -> Tensor:
        """Compute the multi-mask contrast over the views of all processes."""
        projected = self.contrast_head(self.contrasted(views))
        of_views = sound.repeat_interleave(self.recipe.masking.views)
        return contrastive_loss(projected, of_views, self.recipe.objective.contrast_temperature)

    def contrasted(self, views: EncodedViews) -> Tensor:
        """Return each view's contrasted output, (views, dim): [CLS], or the mean of the visible tokens."""
        if self.recipe.objective.contrast_on == "cls":
            return views.cls
        weight = views.valid[:, 1:, None].to(views.output.dtype)
        return (views.output[:, 1:] * weight).sum(dim=1) / weight.sum(dim=1)


def prepare_blocks(objective: Objective, settings: PretrainRunSettings) -> None:
    """Compile the blocks of student and predictor, or compute them again in the backward pass, as the settings say."""
    for block in (*objective.student.blocks, *objective.predictor.blocks):
        if settings.checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if settings.compile:
            block.compile(dynamic=True)


def only_visible(log_mel: Tensor, visible: TokenSet, views: int) -> Tensor:
    """Zero all but the visible 16 x 16 patches: (batch, frames, mels) -> (batch * views, frames, mels)."""
    batch, frames, mels = log_mel.shape
    rows, columns = mels // PATCH, -(-frames // PATCH)
    keep = torch.zeros(batch * views, columns * rows, dtype=torch.bool, device=log_mel.device)
    keep.scatter_(1, visible.indices, True)
    keep = keep.view(-1, columns, rows).repeat_interleave(PATCH, dim=1).repeat_interleave(PATCH, dim=2)
    return log_mel.repeat_interleave(views, dim=0) * keep[:, :frames]
