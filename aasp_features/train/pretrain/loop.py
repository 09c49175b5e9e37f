"""The pre-training loop: a step from batch to optimiser, and steps until the run is over."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from aasp_features.checkpoint import load_checkpoint, load_weights
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.batch_parts import BatchParts
from aasp_features.train.pretrain.distilled_crops import DistilledCrops
from aasp_features.train.pretrain.distributed import agree_any, agree_max, rank
from aasp_features.train.pretrain.health import Health
from aasp_features.train.pretrain.objective import Losses, Objective
from aasp_features.train.pretrain.optimizer import (
    build_optimizers,
    finish_gradients,
    learning_rate_share,
    set_learning_rate,
    take_step,
    teacher_momentum,
    trained_parameters,
)
from aasp_features.train.pretrain.precision import autocast, known_precision
from aasp_features.train.pretrain.resume import changes_since, refusal
from aasp_features.train.pretrain.run_folder import STATE_FILE, cut_metrics, write_metrics
from aasp_features.train.pretrain.run_state import Progress, load_run, read_record, save_run
from aasp_features.train.pretrain.stopping import StoppedError, noting_requests

logger = logging.getLogger(__name__)
PRECISION_TRIALS = 3


class Pretraining:
    """A run under way: objective, optimiser, data, progress, and its folder on disk.

    Several processes may train together (``distributed.py``); then all take the same steps, and the first one writes.

    Args:
        crops: where the batches come from; its recipe is the run's.
        folder: of the run; a state found there is resumed.
        device: where to compute.
        max_seconds: time budget of the whole run, in seconds spent in steps; the schedule then ends with it.
        start_from: a checkpoint whose weights a new run's student and teacher start with; everything else is new.

    Attributes:
        changes: what the run was asked for otherwise than before, each time that it went on; see ``resume.py``.

    Raises:
        TrainError: the state is damaged, or that of a run with other sounds, teachers or settings.
        CheckpointError: see ``start_with``.
    """

    def __init__(
        self,
        crops: CropSampler | DistilledCrops,
        folder: Path,
        device: torch.device,
        max_seconds: float | None = None,
        start_from: str | None = None,
    ) -> None:
        recipe = crops.recipe
        self.recipe, self.folder, self.device, self.max_seconds = recipe, folder, device, max_seconds
        torch.manual_seed(recipe.run.seed)
        targets = crops.targets if isinstance(crops, DistilledCrops) else None
        self.objective = Objective(recipe, targets).to(device)
        self.parameters = trained_parameters(self.objective)
        self.optimizers = build_optimizers(self.objective, recipe.optimizer)
        self.crops, self.health = crops, Health()
        self.parts = BatchParts(self.objective, recipe.distillation.parts) if recipe.distillation.parts > 1 else None
        self.progress, self.start_from = Progress(), start_from
        folder.mkdir(parents=True, exist_ok=True)
        self.changes: list[dict[str, Any]] = []
        if (folder / STATE_FILE).is_file():
            self._resume()
        else:
            if start_from is not None:
                start_with(self.objective, start_from)
            self.progress.precision = known_precision(recipe.run.precision, device) or self._faster_precision()
        if rank() == 0:
            cut_metrics(folder, self.progress.step)
        self._logged = self.progress.crops, self.progress.seconds

    @property
    def done(self) -> float:
        """Fraction of the run that is behind; see ``Progress.fraction``."""
        return self.done_before(self.progress.step)

    def done_before(self, step: int) -> float:
        """Fraction of the run that is behind before a step, as far as is known now: of the time, what has passed."""
        return replace(self.progress, step=step).fraction(self.recipe.run.steps, self.max_seconds)

    def run(self, stop_after: float | None = None) -> bool:
        """Train to the end, or for ``stop_after`` seconds; the state is saved every few minutes and at the end.

        Returns:
            Whether the run is complete.

        Raises:
            CollapseError: see ``Health``.
            StoppedError: Ctrl-C or SIGTERM ended it; the state is saved.
        """
        started = saved = time.monotonic()
        with noting_requests() as request:
            while self.done < 1.0:
                late = stop_after is not None and time.monotonic() - started > stop_after
                if agree_any(late or request.number > 0):
                    break
                self.step()
                if time.monotonic() - saved > self.recipe.run.save_seconds:
                    self.save()
                    saved = time.monotonic()
            self.save()
        if request.number and self.done < 1.0:
            step = self.progress.step
            raise StoppedError(f"stopped at step {step}; its state is saved: give the command again.", request.number)
        return self.done >= 1.0

    def step(self) -> None:
        """One optimiser step, at the learning rate and momentum of this place in the run.

        Nothing in it waits for the device, unless a line is logged.

        Raises:
            CollapseError: see ``Health``.
        """
        began, done, recipe = time.monotonic(), self.done, self.recipe
        batch, generator = self.crops.batch(self.progress.step, self.done_before)
        batch = batch.to(self.device)
        dropped = recipe.distillation.dropped if done < recipe.distillation.dropped_until else 0.0

        losses = self._backward(batch, generator, dropped)
        norm, finite = finish_gradients(self.parameters, losses.total, recipe.optimizer.clip_norm)

        middle = self.progress.fraction(recipe.run.steps, self.max_seconds, 0.5)
        share = learning_rate_share(middle, recipe.optimizer)
        set_learning_rate(self.optimizers, share)
        take_step(self.optimizers, finite)
        self.objective.teacher.follow(self.objective.student, teacher_momentum(done, recipe.objective), finite)

        self.health.collect(losses, finite)
        self.progress.step += 1
        self.progress.crops += len(batch.log_mel)
        due = self.progress.step % recipe.run.log_every == 0
        signs = self.health.report(losses, self.objective, batch) if due else {}  # waits for the device
        self.progress.seconds = agree_max(self.progress.seconds + time.monotonic() - began)
        if self.done >= 1.0 and not due:
            signs = self.health.report(losses, self.objective, batch)
        if due or self.done >= 1.0:
            rate = share * recipe.optimizer.learning_rate
            self._log(losses, {"learning_rate": rate, "gradient_norm": norm.item(), "columns": batch.columns, **signs})

    def save(self) -> None:
        """Write the state, atomically.

        Raises:
            TrainError: it cannot be written; the one before is kept.
        """
        if rank() == 0:
            save_run(self.folder, self.objective, self.optimizers, self.health, self.progress, self.record())

    def record(self) -> dict[str, Any]:
        """What made this run."""
        return {
            "recipe": self.recipe.to_dict(),
            "device": str(self.device),
            "start_from": self.start_from,
            "torch": torch.__version__,
            "max_seconds": self.max_seconds,
            **self.crops.facts(self.progress.step),
            "changes": self.changes,
        }

    def _resume(self) -> None:
        """Go on from the folder's state, and note what this run was asked for otherwise than before.

        Of several processes the first one has the sounds that the record tells of.
        """
        self.progress, old = read_record(self.folder)
        new = self.record()
        if self.start_from is None or rank() > 0:
            new["start_from"] = self.start_from = old.get("start_from")
        new = new if rank() == 0 else {**old, "recipe": new["recipe"]}
        found = changes_since(old, new, self.progress.step)
        why = refusal(found)
        if agree_any(why is not None):
            why = why or "that another process cannot go on with"
            raise TrainError(f"{self.folder} holds a run {why}, or begin a new run in another folder.")
        load_run(self.folder, self.objective, self.optimizers, self.health)
        for change in found:
            logger.info("from step %d on %s is %s, was %s", *(change[key] for key in ("step", "what", "is", "was")))
        self.changes = [*old["changes"], *found]
        if any(change["what"] == "run.precision" for change in found):
            wanted = known_precision(self.recipe.run.precision, self.device)
            self.progress.precision = wanted or self._faster_precision()

    def _backward(self, batch: Batch, generator: torch.Generator, dropped: float) -> Losses:
        """Losses of a batch; the parameters' gradients are set."""
        self.objective.zero_grad(set_to_none=True)
        if self.parts is not None:
            return self.parts.backward(batch, generator, dropped, self.progress.precision)
        with autocast(self.device, self.progress.precision):
            losses: Losses = self.objective(batch, generator, dropped)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return losses

    def _log(self, losses: Losses, numbers: dict[str, float]) -> None:
        """One line for the steps since the last."""
        crops, seconds = self._logged
        self._logged = self.progress.crops, self.progress.seconds
        line = {
            "step": self.progress.step,
            "done": self.done,
            "seconds": self.progress.seconds,
            "crops": self.progress.crops,
            "crops_per_second": (self.progress.crops - crops) / max(self.progress.seconds - seconds, 1e-9),
            "loss": losses.total.item(),
            **{f"loss_{name}": value.item() for name, value in losses.parts.items()},
            **numbers,
        }
        if rank() == 0:
            write_metrics(self.folder, line)
            logger.info("step %d loss %.4f %.1f crops/s", line["step"], line["loss"], line["crops_per_second"])

    def _faster_precision(self) -> str:
        """The one that does a step faster, measured here and now; of several processes, the slowest counts."""
        seconds = {"float32": float("inf"), "bfloat16": float("inf")}
        for _ in range(PRECISION_TRIALS):
            for precision in seconds:
                self.progress.precision, began = precision, time.monotonic()
                batch, generator = self.crops.batch(self.progress.step, self.done_before)
                self._backward(batch.to(self.device), generator, 0.0)
                seconds[precision] = min(seconds[precision], time.monotonic() - began)
        self.objective.zero_grad(set_to_none=True)
        agreed = {precision: agree_max(value) for precision, value in seconds.items()}
        logger.info("seconds for a step: %s", {name: round(value, 3) for name, value in agreed.items()})
        return min(agreed, key=lambda precision: agreed[precision])


def start_with(objective: Objective, checkpoint: str) -> None:
    """Give student and teacher a checkpoint's weights.

    Raises:
        CheckpointError: not found, or of another architecture.
    """
    found = load_checkpoint(checkpoint)
    load_weights(objective.student, found.weights, found.source)
    load_weights(objective.teacher.network, found.weights, found.source)
