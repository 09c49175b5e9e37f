"""Batches of random crops. Each depends on the seed and the step alone, so resumed runs equal uninterrupted ones.

Each of several processes draws the whole batch and cuts its own rows, so the batch is that of a single process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.errors import OptionError
from aasp_features.train.data.augmentation import augment, partners
from aasp_features.train.data.batch import Batch, Share, send
from aasp_features.train.data.cached import CachedCorpus
from aasp_features.train.distributed import own_rows, world_size
from aasp_features.train.recipe import Recipe, Stage

MIXING = "each crop with a sound of its own"  # tells these runs from ones that mixed otherwise


def check_shares(recipe: Recipe) -> None:
    """Raise OptionError if processes and parts of a batch cannot have equally many of its sounds."""
    parts = world_size() * recipe.run.accumulate
    if uneven := [stage.sounds for stage in recipe.data.stages if stage.sounds % parts]:
        raise OptionError(
            f"recipe: sounds of data.stages must be multiples of {parts} (processes x accumulate), got {uneven[0]}."
        )


class CropSampler:
    """Crops drawn so that every second of audio is equally likely.

    An epoch holds a sound once for each crop length in it, at least once; epochs are permutations.

    Attributes:
        recipe: Recipe with the corpus' mean and std.

    Raises:
        OptionError: See ``check_shares``.
    """

    def __init__(self, corpus: CachedCorpus, recipe: Recipe) -> None:
        check_shares(recipe)
        self.corpus = corpus
        self.recipe = recipe.with_statistics(corpus.mean, corpus.std)
        self.settings, self.seed = recipe.data, recipe.run.seed
        self.window = recipe.config().window
        self._epochs: dict[tuple[int, int], Tensor] = {}

    def facts(self, step: int) -> dict[str, Any]:
        """Return facts of the corpus for the record of a run at this step."""
        lengths = self.corpus.frame_lengths
        mixing = {"mixing": MIXING} if self.settings.mix_probability else {}
        hours = int(lengths.sum()) / 100 / 3600
        return {"corpus": self.corpus.sha256, "sounds": len(lengths), "hours": hours, **mixing}

    def batch(self, step: int, done: Callable[[int], float]) -> tuple[Batch, torch.Generator]:
        """Return this process's rows of a step's batch, and the generator of its masks.

        Args:
            step: Step of the run.
            done: Function from a step to the fraction of the run before it.
        """
        stage = self.settings.stage(done(step))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        sound = self._sounds(step, stage).repeat_interleave(self.settings.crops)
        tempo = self._tempo(len(sound), generator)
        played = (self.corpus.frame_lengths[sound] / tempo).long().clamp(min=1)  # frames at that tempo
        length = min(PATCH * stage.columns, int(played.max()))
        room = (played - length).clamp(min=0)
        first = (torch.rand(len(sound), generator=generator, dtype=torch.float64) * (room + 1)).long()
        columns = -(-length // PATCH)
        first_column = torch.randint(0, self.window - columns + 1, (len(sound),), generator=generator)
        frame_lengths = played.clamp(max=length)
        every = torch.arange(len(sound))
        own, mixed = every[own_rows(len(sound))], self.settings.mix_probability > 0
        partner = partners(sound.tolist(), self.settings.crops) if mixed else every
        rows = torch.cat([own, partner[own]]).unique()  # type: ignore[no-untyped-call]
        log_mel = self._cut(sound[rows], first[rows], frame_lengths[rows], length, tempo[rows])
        share = Share(rows, len(sound))
        batch = Batch(log_mel, frame_lengths[rows], first_column[rows], sound[rows], share=share)
        partner = torch.searchsorted(rows, partner[rows]).clamp(max=len(rows) - 1)  # of own rows, in this batch
        batch = augment(batch, partner, self.settings, self.corpus.mean, self.corpus.std, generator)
        return batch.rows(torch.searchsorted(rows, own)), generator

    def _sounds(self, step: int, stage: Stage) -> Tensor:
        """Return the sounds in a step's batch as indices, (stage.sounds,)."""
        repeats = (self.corpus.frame_lengths / (PATCH * stage.columns)).round().long().clamp(min=1)
        total = int(repeats.sum())
        wanted = torch.arange(step * stage.sounds, (step + 1) * stage.sounds)
        result = []
        for epoch in range(int(wanted[0]) // total, int(wanted[-1]) // total + 1):
            if (stage.columns, epoch) not in self._epochs:
                shuffle = torch.Generator().manual_seed(self.seed * 7_919 + 31 * epoch + stage.columns)
                order = torch.repeat_interleave(torch.arange(len(repeats)), repeats)
                self._epochs = {(stage.columns, epoch): order[torch.randperm(total, generator=shuffle)]}
            inside = wanted[wanted // total == epoch] % total
            result.append(self._epochs[stage.columns, epoch][inside])
        return torch.cat(result)

    def _tempo(self, clips: int, generator: torch.Generator) -> Tensor:
        if not self.settings.stretch:
            return torch.ones(clips, dtype=torch.float64)
        even = torch.rand(clips, generator=generator, dtype=torch.float64)
        return torch.exp(self.settings.stretch * (2 * even - 1))

    def _cut(self, sound: Tensor, first: Tensor, frame_lengths: Tensor, length: int, tempo: Tensor) -> Tensor:
        """Cut log-mels, (clips, length, mels), zero past each clip's end; indices are computed on the CPU."""
        corpus, device = self.corpus, self.corpus.log_mel.device
        steps = torch.arange(length)
        inside = steps < frame_lengths[:, None]  # (clips, length)
        position = (first[:, None] + torch.where(inside, steps, 0)) * tempo[:, None]  # in the sound
        whole, start = position.long(), corpus.start[sound][:, None]
        log_mel = corpus.log_mel[send(start + whole, device)].float()
        if self.settings.stretch:
            last = corpus.frame_lengths[sound][:, None] - 1
            after = corpus.log_mel[send(start + torch.minimum(whole + 1, last), device)].float()
            log_mel = torch.lerp(log_mel, after, send(position.frac().float(), device)[..., None])
        return log_mel * send(inside, device)[..., None]
