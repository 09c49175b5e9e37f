"""A corpus in memory -> batches of random crops. A batch is a function of the seed and the step alone, so a resumed
run sees exactly what an uninterrupted one would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.train.data.augmentation import augment
from aasp_features.train.data.batch import Batch, send
from aasp_features.train.data.cached import CachedCorpus
from aasp_features.train.recipe import Recipe, Stage

MIXING = "each crop with a sound of its own"  # records of runs that mixed in another way do not say it


class CropSampler:
    """Cuts crops so that every second of audio is drawn equally often.

    A sound stands in an epoch once for each crop length it holds (at least once); epochs are permutations.

    Attributes:
        recipe: with the corpus' mean and std.
    """

    def __init__(self, corpus: CachedCorpus, recipe: Recipe) -> None:
        self.corpus = corpus
        self.recipe = recipe.with_statistics(corpus.mean, corpus.std)
        self.settings, self.seed = recipe.data, recipe.run.seed
        self.window = recipe.config().window
        self._epochs: dict[tuple[int, int], Tensor] = {}

    def facts(self, step: int) -> dict[str, Any]:
        """For the record of a run that has done so many steps."""
        lengths = self.corpus.frame_lengths
        mixing = {"mixing": MIXING} if self.settings.mix_probability else {}
        hours = int(lengths.sum()) / 100 / 3600
        return {"corpus": self.corpus.sha256, "sounds": len(lengths), "hours": hours, **mixing}

    def batch(self, step: int, done: Callable[[int], float]) -> tuple[Batch, torch.Generator]:
        """The batch of a step, and the generator from which its masks are drawn.

        Args:
            step: of the run.
            done: a step -> the fraction of the run that is behind before it.
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
        log_mel = self._cut(sound, first, frame_lengths, length, tempo)
        batch = Batch(log_mel, frame_lengths, first_column, sound)
        return augment(batch, self.settings, self.corpus.mean, self.corpus.std, generator), generator

    def _sounds(self, step: int, stage: Stage) -> Tensor:
        """Numbers of the sounds in a step's batch, (stage.sounds,)."""
        places = (self.corpus.frame_lengths / (PATCH * stage.columns)).round().long().clamp(min=1)
        total = int(places.sum())
        wanted = torch.arange(step * stage.sounds, (step + 1) * stage.sounds)
        result = []
        for epoch in range(int(wanted[0]) // total, int(wanted[-1]) // total + 1):
            if (stage.columns, epoch) not in self._epochs:
                shuffle = torch.Generator().manual_seed(self.seed * 7_919 + 31 * epoch + stage.columns)
                order = torch.repeat_interleave(torch.arange(len(places)), places)
                self._epochs = {(stage.columns, epoch): order[torch.randperm(total, generator=shuffle)]}
            inside = wanted[wanted // total == epoch] % total
            result.append(self._epochs[stage.columns, epoch][inside])
        return torch.cat(result)

    def _tempo(self, clips: int, generator: torch.Generator) -> Tensor:
        """How fast each clip is played, (clips,) float64."""
        if not self.settings.stretch:
            return torch.ones(clips, dtype=torch.float64)
        even = torch.rand(clips, generator=generator, dtype=torch.float64)
        return torch.exp(self.settings.stretch * (2 * even - 1))

    def _cut(self, sound: Tensor, first: Tensor, frame_lengths: Tensor, length: int, tempo: Tensor) -> Tensor:
        """Log-mels, (clips, length, mels), zero past each clip's end; where they lie is worked out on the CPU."""
        corpus, device = self.corpus, self.corpus.log_mel.device
        steps = torch.arange(length)
        inside = steps < frame_lengths[:, None]  # (clips, length)
        place = (first[:, None] + torch.where(inside, steps, 0)) * tempo[:, None]  # in the sound
        whole, start = place.long(), corpus.start[sound][:, None]
        log_mel = corpus.log_mel[send(start + whole, device)].float()
        if self.settings.stretch:
            last = corpus.frame_lengths[sound][:, None] - 1
            after = corpus.log_mel[send(start + torch.minimum(whole + 1, last), device)].float()
            log_mel = torch.lerp(log_mel, after, send(place.frac().float(), device)[..., None])
        return log_mel * send(inside, device)[..., None]
