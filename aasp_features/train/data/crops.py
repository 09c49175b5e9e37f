"""A corpus -> batches of random crops. A batch is a function of the seed and the step alone, so a resumed run
sees exactly what an uninterrupted one would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.train.data.augmentation import change_gain, change_pitch, equalise, mix
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.cached import Corpus
from aasp_features.train.pretrain.distillation import TeacherTargets
from aasp_features.train.recipe import Recipe, Stage


class CropSampler:
    """Cuts crops so that every second of audio is drawn equally often.

    A recording stands in an epoch once for each crop length it holds (at least once); epochs are permutations.

    Attributes:
        recipe: with the corpus' mean and std.
        targets: of external teachers: none.
    """

    def __init__(self, corpus: Corpus, recipe: Recipe) -> None:
        self.corpus = corpus
        self.recipe = replace(recipe, model={**recipe.model, "mean": corpus.mean, "std": corpus.std})
        self.targets: dict[str, TeacherTargets] = {}
        self.window = recipe.config().window
        self._epochs: dict[tuple[int, int], Tensor] = {}

    def facts(self, step: int) -> dict[str, Any]:
        """For the record of a run that has done so many steps."""
        frames = self.corpus.frames
        return {"recordings": len(frames), "hours": int(frames.sum()) / 100 / 3600}

    def batch(self, step: int, done: float) -> tuple[Batch, torch.Generator]:
        """The batch of a step at a fraction of the run, and the generator from which its masks are drawn."""
        stage = self.recipe.stage(done)
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)
        clip = self._recordings(step, stage).repeat_interleave(self.recipe.crops)
        tempo = self._tempo(len(clip), generator)
        recorded = self.corpus.frames[clip.to(self.corpus.frames.device)].cpu()
        frames = (recorded / tempo).long().clamp(min=1)  # as they are played
        length = min(PATCH * stage.columns, int(frames.max()))
        room = (frames - length).clamp(min=0)
        first = (torch.rand(len(clip), generator=generator, dtype=torch.float64) * (room + 1)).long()
        columns = -(-length // PATCH)
        first_column = torch.randint(0, self.window - columns + 1, (len(clip),), generator=generator)
        batch = self._cut(clip, first, frames.clamp(max=length), length, first_column, tempo)
        return self._augment(batch, generator), generator

    def _recordings(self, step: int, stage: Stage) -> Tensor:
        """Numbers of the recordings in a step's batch, (clips,)."""
        places = (self.corpus.frames.cpu() / (PATCH * stage.columns)).round().long().clamp(min=1)
        total = int(places.sum())
        wanted = torch.arange(step * stage.clips, (step + 1) * stage.clips)
        result = []
        for epoch in range(int(wanted[0]) // total, int(wanted[-1]) // total + 1):
            if (stage.columns, epoch) not in self._epochs:
                shuffle = torch.Generator().manual_seed(self.recipe.seed * 7_919 + 31 * epoch + stage.columns)
                order = torch.repeat_interleave(torch.arange(len(places)), places)
                self._epochs = {(stage.columns, epoch): order[torch.randperm(total, generator=shuffle)]}
            inside = wanted[wanted // total == epoch] % total
            result.append(self._epochs[stage.columns, epoch][inside])
        return torch.cat(result)

    def _tempo(self, crops: int, generator: torch.Generator) -> Tensor:
        """How fast each crop is played, (crops,) float64."""
        if not self.recipe.stretch:
            return torch.ones(crops, dtype=torch.float64)
        even = torch.rand(crops, generator=generator, dtype=torch.float64)
        return torch.exp(self.recipe.stretch * (2 * even - 1))

    def _cut(
        self, clip: Tensor, first: Tensor, frames: Tensor, length: int, first_column: Tensor, tempo: Tensor
    ) -> Batch:
        corpus, device = self.corpus, self.corpus.log_mel.device
        steps = torch.arange(length)
        inside = steps < frames[:, None]  # (batch, length)
        # Where in the recording: on the CPU, for not every GPU has float64.
        place = (first[:, None] + torch.where(inside, steps, 0)) * tempo[:, None]
        share, whole, clip = place.frac().float().to(device), place.long().to(device), clip.to(device)
        start, last = corpus.start[clip][:, None], corpus.frames[clip][:, None] - 1
        log_mel = corpus.log_mel[start + whole].float()
        if self.recipe.stretch:
            after = corpus.log_mel[start + torch.minimum(whole + 1, last)].float()
            log_mel = torch.lerp(log_mel, after, share[..., None])
        log_mel = log_mel * inside.to(device)[..., None]
        return Batch(log_mel, frames.to(device), first_column.to(device), clip)

    def _augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        recipe, corpus = self.recipe, self.corpus
        if recipe.pitch:
            batch = change_pitch(batch, recipe.pitch, generator)
        if recipe.mix_probability:
            batch = mix(batch, corpus, recipe.mix_probability, recipe.mix_power, recipe.crops, generator)
        if recipe.equalise_db:
            batch = equalise(batch, corpus, recipe.equalise_db, generator)
        return change_gain(batch, corpus, recipe.gain_db, generator) if recipe.gain_db else batch
