"""Batches of random crops. Each depends on the seed and the step alone, so resumed runs equal uninterrupted ones.

Each of several processes draws the whole batch and cuts its own rows, so the batch is that of a single process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.errors import OptionError
from aasp_features.train.data.augmentation import augment, partners
from aasp_features.train.data.batch import Batch, Share, Spans, send, step_generator
from aasp_features.train.data.cached import CachedCorpus
from aasp_features.train.data.prepared import PreparedCorpus
from aasp_features.train.distributed import own_rows, world_size
from aasp_features.train.recipe import Recipe, Stage

AHEAD = 2  # steps whose crops are read while the device computes
MIXING = "each crop with a sound of its own"  # tells these runs from ones that mixed otherwise
Corpus = CachedCorpus | PreparedCorpus
Finish = Callable[[], tuple[Batch, torch.Generator]]


def check_shares(recipe: Recipe) -> None:
    """Raise OptionError if processes and parts of a batch cannot have equally many of its sounds."""
    parts = world_size() * recipe.run.accumulate
    if uneven := [stage.sounds for stage in recipe.data.stages if stage.sounds % parts]:
        raise OptionError(
            f"recipe: sounds of data.stages must be multiples of {parts} (processes x accumulate), got {uneven[0]}."
        )


class Drawn(NamedTuple):
    """Crops of a step, (rows,) each.

    Attributes:
        sound: Index of the crop's sound.
        tempo: Factor of its tempo, float64.
        first: First frame at that tempo.
        frame_lengths: Frames at that tempo.
        first_column: Position on the position grid.
    """

    sound: Tensor
    tempo: Tensor
    first: Tensor
    frame_lengths: Tensor
    first_column: Tensor


class CropSampler:
    """Crops drawn so that every second of audio is equally likely.

    An epoch holds a sound once for each crop length in it, at least once; epochs are permutations.

    Attributes:
        recipe: Recipe with the corpus' mean and std.

    Raises:
        OptionError: See ``check_shares``.
    """

    def __init__(self, corpus: Corpus, recipe: Recipe) -> None:
        check_shares(recipe)
        self.corpus = corpus
        self.recipe = recipe.with_statistics(corpus.mean, corpus.std)
        self.settings, self.seed = recipe.data, recipe.run.seed
        self.window = recipe.config().window
        self._begun: dict[tuple[int, int, int], Finish] = {}
        self._repeats, self._epoch = lru_cache(2)(self._count_repeats), lru_cache(2)(self._shuffle)

    def facts(self, step: int) -> dict[str, Any]:
        """Return facts of the corpus for the record of a run at this step."""
        lengths = self.corpus.frame_lengths
        mixing = {"mixing": MIXING} if self.settings.mix_probability else {}
        hours = int(lengths.sum()) / 100 / 3600
        return {"corpus": self.corpus.sha256, "sounds": len(lengths), "hours": hours, **mixing}

    def batch(self, step: int, done: Callable[[int], float]) -> tuple[Batch, torch.Generator]:
        """Return this process's rows of a step's batch, and the generator of its masks.

        The next steps' crops begin to be read. In a run with a time budget, a stage may end earlier than was foreseen;
        crops begun for another stage are dropped, and those of this one are read now.

        Args:
            step: Step of the run.
            done: Function from a step to the fraction of the run before it.
        """
        begun = {}
        for number in range(step, step + 1 + AHEAD):
            if number == step or done(number) < 1:
                stage = self.settings.stage(done(number))
                key = number, stage.columns, stage.sounds
                begun[key] = self._begun.get(key) or self._begin(number, stage)
        finish = begun.pop(next(iter(begun)))
        self._begun = begun
        return finish()

    def _begin(self, step: int, stage: Stage) -> Finish:
        """Draw a step's batch and begin to read the crops that this process needs: its own and their partners."""
        generator = step_generator(self.seed, step)
        whole = self._draw(step, stage, generator)
        total, mixed = len(whole.sound), self.settings.mix_probability > 0
        every = torch.arange(total)
        own = every[own_rows(total)]
        partner = partners(whole.sound.tolist(), self.settings.crops) if mixed else every
        rows = torch.cat([own, partner[own]]).unique()  # type: ignore[no-untyped-call]
        crops = Drawn(*(values[rows] for values in whole))
        cut = self._cut(crops, int(whole.frame_lengths.max()))

        def finish() -> tuple[Batch, torch.Generator]:
            facts = crops.frame_lengths, crops.first_column, crops.sound
            batch = Batch(cut(), *facts, share=Share(rows, total))
            index = torch.searchsorted(rows, partner[rows]).clamp(max=len(rows) - 1)  # of own rows, in this batch
            batch = augment(batch, index, self.settings, self.corpus.mean, self.corpus.std, generator)
            return batch.rows(torch.searchsorted(rows, own)), generator

        return finish

    def _draw(self, step: int, stage: Stage, generator: torch.Generator) -> Drawn:
        sound = self._sounds(step, stage).repeat_interleave(self.settings.crops)
        tempo = self._tempo(len(sound), generator)
        played = (self.corpus.frame_lengths[sound] / tempo).long().clamp(min=1)  # frames at that tempo
        length = min(PATCH * stage.columns, int(played.max()))
        room = (played - length).clamp(min=0)
        first = (torch.rand(len(sound), generator=generator, dtype=torch.float64) * (room + 1)).long()
        columns = -(-length // PATCH)
        first_column = torch.randint(0, self.window - columns + 1, (len(sound),), generator=generator)
        return Drawn(sound, tempo, first, played.clamp(max=length), first_column)

    def _sounds(self, step: int, stage: Stage) -> Tensor:
        """Return the sounds in a step's batch as indices, (stage.sounds,)."""
        total = int(self._repeats(stage.columns).sum())
        wanted = torch.arange(step * stage.sounds, (step + 1) * stage.sounds)
        epochs = range(int(wanted[0]) // total, int(wanted[-1]) // total + 1)
        return torch.cat([self._epoch(stage.columns, one)[wanted[wanted // total == one] % total] for one in epochs])

    def _count_repeats(self, columns: int) -> Tensor:
        """Return how often an epoch of crops of this length holds each sound, (sounds,)."""
        return (self.corpus.frame_lengths / (PATCH * columns)).round().long().clamp(min=1)

    def _shuffle(self, columns: int, epoch: int) -> Tensor:
        """Return the sounds of an epoch in its order."""
        repeats = self._repeats(columns)
        shuffle = torch.Generator().manual_seed(self.seed * 7_919 + 31 * epoch + columns)
        order = torch.repeat_interleave(torch.arange(len(repeats)), repeats)
        return order[torch.randperm(len(order), generator=shuffle)]

    def _tempo(self, clips: int, generator: torch.Generator) -> Tensor:
        if not self.settings.stretch:
            return torch.ones(clips, dtype=torch.float64)
        even = torch.rand(clips, generator=generator, dtype=torch.float64)
        return torch.exp(self.settings.stretch * (2 * even - 1))

    def _cut(self, crops: Drawn, length: int) -> Callable[[], Tensor]:
        """Begin to cut log-mels, (clips, length, mels), zero past each clip's end; indices are computed on the CPU."""
        steps = torch.arange(length)
        inside = steps < crops.frame_lengths[:, None]  # (clips, length)
        if not self.settings.stretch:
            cut = self.corpus.cut(Spans(crops.sound, crops.first, crops.frame_lengths), length)
            return lambda: _silenced(cut(), inside)
        position = (crops.first[:, None] + torch.where(inside, steps, 0)) * crops.tempo[:, None]  # in the sound
        start = position[:, :1].long()
        end = self.corpus.frame_lengths[crops.sound][:, None] - 1
        last = torch.minimum(position.amax(1, keepdim=True).long() + 1, end)
        spans = Spans(crops.sound, start[:, 0], (last - start)[:, 0] + 1)
        cut = self.corpus.cut(spans, int(spans.frames.max()))
        before = position.long() - start
        after = torch.minimum(before + 1, last - start)
        return lambda: _silenced(_interpolated(cut(), before, after, position.frac()), inside)


def _interpolated(log_mel: Tensor, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
    """Return log-mels between two frames of each row, at (rows, frames) indices."""
    row, device = torch.arange(len(log_mel))[:, None], log_mel.device
    left, right = (log_mel[send(row, device), send(frame, device)] for frame in (before, after))
    return torch.lerp(left, right, send(share.float(), device)[..., None])


def _silenced(log_mel: Tensor, inside: Tensor) -> Tensor:
    return log_mel * send(inside, log_mel.device)[..., None]
