"""The clips of a task's split for fine-tuning: parts for training, validation and test, and training batches."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp_features.config import PATCH, AaSPConfig
from aasp_features.errors import OptionError
from aasp_features.fine_tuning import draw_paths
from aasp_features.model.log_mel import LogMel
from aasp_features.sounds.sound import Sound
from aasp_features.train.distributed import rank, world_size
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.finetune.augmentation import augment, cut_clips
from aasp_features.train.evaluate.finetune.clips import LogMels
from aasp_features.train.evaluate.finetune.model import TrainingBatch
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.evaluate.finetune.sampling import ClipSampler, balanced_weights
from aasp_features.train.evaluate.linear import hold_out_groups
from aasp_features.train.evaluate.metrics import one_hot
from aasp_features.train.evaluate.task import Indices, Split, Task
from aasp_features.train.pretrain.distillation import keep_columns

FRAMES_PER_SECOND = 100


class TaskExamples:
    """Clips of a split, and their batches.

    Args:
        task: Source of files and labels.
        split: Split of the task; without a validation part, whole groups of its training part are held out.
        recipe: Recipe of the run.
        config: Config of the encoder.

    Attributes:
        train, validation, test: Indices of the task's clips.
        multi_label: Whether a clip may have several labels.
        kind: Kind of the loss.

    Raises:
        OptionError: Clips exceed the encoder's window, processes cannot share a batch equally, or the loss does not fit
            multi-label clips.
    """

    def __init__(self, task: Task, split: Split, recipe: FinetuneRecipe, config: AaSPConfig) -> None:
        self.task, self.split, self.recipe, self.config = task, split, recipe, config
        self.multi_label = task.labels.ndim == 2
        self.train, self.validation, self.test = parts_of(task, split, recipe.run.held_out, recipe.run.seed)
        self.labels = torch.from_numpy(one_hot(task.labels, len(task.classes)))
        self.kind = (
            recipe.loss.kind if recipe.loss.kind != "auto" else "binary" if self.multi_label else "cross_entropy"
        )
        self.frames = round(recipe.clips.seconds * FRAMES_PER_SECOND)
        self._check()
        balanced = recipe.clips.balanced
        self.sampler = ClipSampler(
            len(self.train),
            recipe.clips.epoch or len(self.train),
            recipe.run.batch,
            recipe.run.seed,
            balanced_weights(self.labels[self.train], recipe.clips.balance_power) if balanced else None,
            recipe.clips.replacement,
        )
        self.log_mels = LogMels(task.files, LogMel(config), recipe.clips.memory_gb)

    def _check(self) -> None:
        if self.frames > PATCH * self.config.window:
            longest = PATCH * self.config.window / FRAMES_PER_SECOND
            raise OptionError(
                f"recipe: clips.seconds must be at most {longest:g}, the encoder's window, "
                f"got {self.recipe.clips.seconds:g}."
            )
        if self.multi_label and self.kind != "binary":
            raise OptionError(f"{self.task.name}: its clips have several labels; give loss.kind=binary.")
        if self.recipe.run.batch % world_size():
            raise OptionError(f"recipe: run.batch must be a multiple of the {world_size()} processes.")

    def batch(self, step: int) -> TrainingBatch:
        """Return this process's share of a step's batch, with all random draws.

        Raises:
            AudioError: A file cannot be read.
        """
        recipe, config = self.recipe, self.config
        generator = torch.Generator().manual_seed((recipe.run.seed * 1_000_003 + step) * world_size() + rank())
        indices = self._indices(step)
        clips = cut_clips(self.log_mels.of(indices), self.frames, generator)
        self.log_mels.expect(self._indices(step + 1))
        targets = self.labels[indices].float()
        clips, targets = augment(clips, targets, recipe.augmentation, config.mean, config.std, generator)
        dropped, rate = recipe.network.token_dropping, recipe.network.drop_path
        columns = keep_columns(clips.column_frames, dropped, generator) if dropped else None
        paths = draw_paths(config.depth, len(indices), rate, generator) if rate else None
        return TrainingBatch(clips, targets, columns, paths)

    def _indices(self, step: int) -> list[int]:
        own = self.sampler.indices(step)[rank() :: world_size()]
        return torch.from_numpy(self.train)[own].tolist()

    def labels_of(self, indices: Indices) -> Tensor:
        """Return labels, (clips, classes) float."""
        return self.labels[indices].float()

    def counts(self) -> str:
        """Describe the numbers of clips in the parts; held-out groups may exceed the requested share."""
        return f"clips: {len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Hashes of the sounds' contents and labels for the run's record, independent of paths and names."""
        digest = hashlib.sha256("\0".join(self.task.classes).encode())
        for index, path in enumerate(self.task.files):
            digest.update(f"\n{Sound(path).content().sha256}\0".encode())
            digest.update(np.flatnonzero(self.labels[index].numpy()).tobytes())
        for part in (self.train, self.validation, self.test):
            digest.update(part.astype(np.int64).tobytes() + b"\n")
        facts = {"task": self.task.name, "split": self.split.name}
        return {**facts, "sounds": len(self.task.files), "corpus": digest.hexdigest()}


def parts_of(task: Task, split: Split, held_out: float, seed: int) -> tuple[Indices, Indices, Indices]:
    """Return the training, validation and test part; the validation part may be empty.

    Raises:
        TrainError: There are too few groups.
    """
    if len(split.validation) or not held_out:
        return split.train, split.validation, split.test
    try:
        kept, held = hold_out_groups(task.groups[split.train], held_out, seed)
    except TrainError as error:
        reason = str(error).rstrip(".")
        raise TrainError(
            f"{task.name}, {split.name}: {reason}; give the task more groups, or run.held_out=0."
        ) from error
    return split.train[kept], split.train[held], split.test
