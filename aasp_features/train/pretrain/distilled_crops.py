"""Batches of numbered crops with their teachers' features.

Crops are used in rounds. A round takes the pieces that exist at its start and uses each crop once, in batches of one
length. A round ends early when longer crops join. The run's folder records the number of pieces before a round's first
batch, so a resumed run repeats its exact batches, even if more pieces exist by then.

Several processes share the batch of a single one: each draws it whole and cuts its own rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH
from aasp_features.errors import OptionError
from aasp_features.model.log_mel import LogMel
from aasp_features.train.data.batch import Batch, Share, step_generator
from aasp_features.train.data.noise_augmentation import augment_with_noise
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.data.statistics import RunningStatistics
from aasp_features.train.data.waveform_crops import PIECE, Crop
from aasp_features.train.distributed import agree_max, own_rows, rank, world_size
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.balance import cluster_sizes, draw_balanced
from aasp_features.train.pretrain.distillation import TeacherTargets, fit_targets
from aasp_features.train.pretrain.feature_makers import Makers
from aasp_features.train.pretrain.teacher_features import TeacherFeatures
from aasp_features.train.recipe import Recipe
from aasp_features.train.run.json_lines import append_json_line, read_json_lines, write_json_lines

logger = logging.getLogger(__name__)
ROUNDS_FILE = "rounds.jsonl"
MEASURED_CROPS = 512  # for mean and standard deviation of the log-mel


class Round(NamedTuple):
    """A round, which uses the pieces before ``pieces`` from the batch of ``first_step`` on.

    ``longer`` says whether crops longer than the shortest take part.
    """

    first_step: int
    pieces: int
    longer: bool = True


class DistilledCrops:
    """Source of every step's batch.

    Args:
        features: Features of the teachers.
        makers: Processes that compute more features.
        recipe: Recipe of the run.
        folder: Run folder, where rounds are recorded.
        statistics: Mean and std of the log-mel for initialised weights (default: measured on the corpus).

    Attributes:
        recipe: Recipe with mean and std.
        targets: Targets of each teacher, fitted to the first crops.

    Raises:
        TrainError: ``balanced_by`` is not one of the teachers.
    """

    def __init__(
        self,
        features: TeacherFeatures,
        makers: Makers,
        recipe: Recipe,
        folder: Path,
        statistics: tuple[float, float] | None = None,
    ) -> None:
        self.features, self.makers = features, makers
        settings = recipe.distillation
        check_balanced_by(settings.balanced_by, [teacher.name for teacher in features.teachers])
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / ROUNDS_FILE
        self.rounds = read_rounds(self.path)
        needed = pieces_of(min(settings.crops, settings.fit_crops))
        makers.wait(max([needed, *(one.pieces for one in self.rounds)]))
        mean, std = statistics or log_mel_statistics(features, recipe)
        self.recipe = recipe.with_statistics(mean, std)
        self.targets = targets_of(recipe, features)
        self.log_mel, self.window = LogMel(self.recipe.config()), self.recipe.config().window
        self._sizes: dict[tuple[int, int], NDArray[np.int64]] = {}  # of clusters, by pieces and columns
        self._batches: tuple[Round, list[NDArray[np.int64]]] | None = None
        self._ahead = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[tuple[Batch, torch.Generator]]] | None = None

    def facts(self, step: int) -> dict[str, Any]:
        """Return facts of the corpus and teachers for the record of a run at this step."""
        length = self.features.sounds.length
        return {
            "corpus": self.features.sounds.sha256,
            "sounds": len(length),
            "hours": int(length.sum()) / SAMPLE_RATE / 3600,
            "teachers": [{**teacher.identity, **teacher.origin} for teacher in self.features.teachers],
            "rounds": [one._asdict() for one in self.rounds if one.first_step < step],
            "distinct_crops": self._distinct(step),
        }

    def _distinct(self, step: int) -> int:
        """Count the distinct crops in the first ``step`` steps."""
        begun = [one for one in self.rounds if one.first_step < step]
        ends = [*(one.first_step for one in begun[1:]), step]
        used: set[int] = set()
        for index, (one, end) in enumerate(zip(begun, ends, strict=False)):
            for numbers in self._shuffled(index, one)[: end - one.first_step]:
                used.update(numbers.tolist())
        return len(used)

    def batch(self, step: int, done: Callable[[int], float]) -> tuple[Batch, torch.Generator]:
        """Return this process's rows of a step's batch, and the generator of its masks.

        A thread prepares the next step's batch meanwhile.

        Args:
            step: Step of the run.
            done: Function from a step to the fraction of the run before it.

        Raises:
            TrainError: A piece is damaged, or a process that runs the teachers failed.
        """
        self.makers.check()
        if self._next is None or self._next[0] != step:
            self._next = step, self._ahead.submit(self._batch, step, done(step))
        batch, generator = self._next[1].result()
        self._next = step + 1, self._ahead.submit(self._batch, step + 1, done(step + 1))
        return self._placed(batch, generator), generator

    def close(self) -> None:
        """Stop the thread and the processes."""
        self._ahead.shutdown()
        self.makers.stop()

    def _batch(self, step: int, done: float) -> tuple[Batch, torch.Generator]:
        generator = step_generator(self.recipe.run.seed, step)
        numbers = self._numbers(step, done)
        own, total = own_rows(len(numbers)), len(numbers)
        crops = [self._augmented_crop(int(numbers[row]), step, row) for row in range(total)[own]]
        samples = torch.tensor([len(crop.waveform) for crop in crops])
        waveform = torch.zeros(len(crops), int(samples.max()))
        for row, crop in zip(waveform, crops, strict=True):
            row[: len(crop.waveform)] = torch.from_numpy(crop.waveform)
        sound = torch.tensor([crop.sound for crop in crops])
        return Batch(
            self.log_mel(waveform, samples),
            1 + (samples - FRAME_LENGTH) // FRAME_HOP,
            torch.zeros_like(sound),
            sound,
            waveform,
            {t.name: torch.from_numpy(self.features.read(t.name, numbers[own])) for t in self.features.teachers},
            Share(torch.arange(total)[own], total),
        ), generator

    def _placed(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with positions on the grid, padded to the longest crop of all processes."""
        assert batch.share is not None  # as _batch made it
        frames = int(agree_max(batch.log_mel.shape[1]))
        log_mel = functional.pad(batch.log_mel, (0, 0, 0, frames - batch.log_mel.shape[1]))
        last = self.window - -(-frames // PATCH)
        first_column = torch.randint(0, last + 1, (batch.share.total,), generator=generator)
        return batch._replace(log_mel=log_mel, first_column=first_column[batch.share.rows])

    def _augmented_crop(self, number: int, step: int, row: int) -> Crop:
        """Return the student's crop for a row of a step, with its own noise augmentation."""
        crop, noise_augmentation = self.features.cropper.crop(number), self.recipe.distillation.noise_augmentation
        if not noise_augmentation.any:
            return crop
        rng = np.random.default_rng([self.recipe.run.seed, step, row])
        return crop._replace(waveform=augment_with_noise(crop.waveform, noise_augmentation, rng))

    def _numbers(self, step: int, done: float) -> NDArray[np.int64]:
        while True:
            index = max((i for i, one in enumerate(self.rounds) if one.first_step <= step), default=-1)
            if index >= 0:
                this, batches = self.rounds[index], self._round_batches(index)
                under_way = index == len(self.rounds) - 1
                longer_due = under_way and not this.longer and done >= self.recipe.distillation.longer_from
                if step < this.first_step + len(batches) and not longer_due:
                    return batches[step - this.first_step]
            self._begin_round(index, step, done)

    def _begin_round(self, last: int, step: int, done: float) -> None:
        self.makers.check()
        known = self.rounds[last].pieces if self.rounds else 0
        pieces = min(self.features.complete(known), self.makers.pieces)
        begun = Round(step, pieces, done >= self.recipe.distillation.longer_from)
        if begun.pieces == 0:
            raise TrainError(f"{self.features.folder} holds no crops with features of every teacher.")
        if rank() == 0:
            append_json_line(self.path, begun._asdict())
        self.rounds.append(begun)

    def _drawn(self, numbers: NDArray[np.int64], which: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the crops of one length in a round, each once or those of small clusters more often."""
        teacher, power = self.recipe.distillation.balanced_by, self.recipe.distillation.balance
        if not teacher:
            return numbers
        if which not in self._sizes:
            features = torch.from_numpy(self.features.read(teacher, numbers))
            self._sizes[which] = cluster_sizes(self.targets[teacher](features).numpy())
        return numbers[draw_balanced(self._sizes[which], power, rng)]

    def _round_batches(self, index: int) -> list[NDArray[np.int64]]:
        this = self.rounds[index]
        if self._batches is None or self._batches[0] != this:
            self._batches = this, self._shuffled(index, this)
        return self._batches[1]

    def _shuffled(self, index: int, this: Round) -> list[NDArray[np.int64]]:
        """Return the round's crops in shuffled batches of one length; incomplete batches are left out."""
        rng = np.random.default_rng([self.recipe.run.seed, index, this.pieces])
        columns = np.repeat([self.features.cropper.columns(piece) for piece in range(this.pieces)], PIECE)
        batches: list[NDArray[np.int64]] = []
        lengths = np.unique(columns)
        for length in lengths if this.longer else lengths[:1]:
            numbers = rng.permutation(self._drawn(np.flatnonzero(columns == length), (this.pieces, int(length)), rng))
            size = min(self.recipe.distillation.crops_at_once(int(length)), len(numbers) // world_size() * world_size())
            batches += list(numbers[: len(numbers) // size * size].reshape(-1, size))
        return [batches[chosen] for chosen in rng.permutation(len(batches))]


def check_batches(recipe: Recipe) -> None:
    """Raise OptionError if several processes cannot have equally many rows of every batch, or would have its parts."""
    settings, count = recipe.distillation, world_size()
    if count > 1 and settings.parts > 1:
        raise OptionError("recipe: distillation.parts must be 1 for several processes, each of which has its own part.")
    sizes = [settings.crops_at_once(length.columns) for length in settings.crop.lengths]
    if uneven := [size for size in sizes if size % count]:
        raise OptionError(
            f"recipe: distillation.batch must give every crop length a multiple of {count} crops, one or more for each "
            f"process; {settings.batch} gives {uneven[0]}."
        )


def check_balanced_by(teacher: str, teachers: Sequence[str]) -> None:
    """Raise TrainError if ``balanced_by`` is not one of the teachers."""
    if teacher and teacher not in teachers:
        raise TrainError(
            f"distillation.balanced_by must be one of the run's teachers, {', '.join(teachers)}; got {teacher!r}."
        )


def read_rounds(path: Path) -> list[Round]:
    """Return a run's rounds; a truncated last line is removed from the file.

    Raises:
        TrainError: Another line is damaged.
    """
    lines = read_json_lines(path, ["first_step", "pieces"])
    write_json_lines(path, lines)
    return [Round(one["first_step"], one["pieces"], one.get("longer", True)) for one in lines]


def targets_of(recipe: Recipe, features: TeacherFeatures) -> dict[str, TeacherTargets]:
    """Fit each teacher's targets to its features of the first crops."""
    settings = recipe.distillation
    numbers = np.arange(PIECE * pieces_of(min(settings.crops, settings.fit_crops)))
    targets = {}
    for teacher in features.teachers:
        values = torch.from_numpy(features.read(teacher.name, numbers))
        try:
            targets[teacher.name] = fit_targets(values, settings.variance, settings.exponent)
        except ValueError as error:
            raise TrainError(f"teacher {teacher.name}: {error}") from error
        logger.info("%s: %d of %d axes", teacher.name, targets[teacher.name].axes.shape[1], values.shape[1])
    return targets


def log_mel_statistics(features: TeacherFeatures, recipe: Recipe) -> tuple[float, float]:
    """Return mean and standard deviation of the log-mel over the first crops."""
    front_end = LogMel(recipe.config().replace(mean=0.0, std=1.0))
    statistics = RunningStatistics()
    for number in range(MEASURED_CROPS):
        statistics.add(front_end(torch.from_numpy(features.cropper.crop(number).waveform)))
    return statistics.mean, statistics.std


def pieces_of(crops: int) -> int:
    """Return the number of pieces that hold so many crops."""
    return -(-crops // PIECE)
