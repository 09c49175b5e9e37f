"""The pre-training loop: steps from batch to optimiser until the run is complete."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from aasp_features.checkpoint import load_checkpoint, load_weights
from aasp_features.config import AaSPConfig
from aasp_features.errors import AaSPError
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.distributed import agree_any, agree_max, average, rank, world_size
from aasp_features.train.pretrain.batch_parts import BatchParts, split, summed, weighted
from aasp_features.train.pretrain.distilled_crops import DistilledCrops
from aasp_features.train.pretrain.health import Health
from aasp_features.train.pretrain.objective import Losses, Objective, prepare_blocks
from aasp_features.train.pretrain.step_cost import step_cost
from aasp_features.train.pretrain.tracker import Track
from aasp_features.train.run.folder import cut_metrics, keep_best, keep_state, write_metrics
from aasp_features.train.run.loop import Run
from aasp_features.train.run.optimizer import (
    build_optimizers,
    ema_momentum,
    finish_gradients,
    learning_rate_share,
    set_learning_rate,
    take_step,
    trained_parameters,
)
from aasp_features.train.run.precision import autocast, known_precision
from aasp_features.train.run.resume import check_resumed
from aasp_features.train.run.state import flat_state, read_record, restore, under, write_state
from aasp_features.train.run.stopping import StoppedError
from aasp_features.version import __version__

logger = logging.getLogger(__name__)
PRECISION_TRIALS = 3
Probe = Callable[[Mapping[str, AaSPNetwork], AaSPConfig], dict[str, float]]


class Pretraining(Run):
    """A run of pre-training: objective, optimisers, data, progress, and its folder on disk.

    Args:
        crops: Source of the batches; its recipe is the run's.
        folder, device, max_seconds: See ``Run``.
        start_from: Checkpoint that initialises student and EMA teacher of a new run.
        probe: The online probe, which takes the networks by name and the config of an exported checkpoint.
        track: Function that sends a line of metrics to an experiment tracker.

    Attributes:
        changes: Settings that changed at each resume; see ``resume.py``.

    Raises:
        TrainError: The state is damaged, or belongs to a run with other sounds, teachers or settings.
        CheckpointError: See ``start_with``.
    """

    def __init__(
        self,
        crops: CropSampler | DistilledCrops,
        folder: Path,
        device: torch.device,
        max_seconds: float | None = None,
        start_from: str | None = None,
        probe: Probe | None = None,
        track: Track | None = None,
    ) -> None:
        super().__init__(folder, device, max_seconds)
        self.recipe = recipe = crops.recipe
        self.save_seconds = recipe.run.save_seconds
        self.probe, self.track = probe, track
        torch.manual_seed(recipe.run.seed)
        self.targets = crops.targets if isinstance(crops, DistilledCrops) else None
        self.objective = Objective(recipe, self.targets).to(device)
        prepare_blocks(self.objective, recipe.run)
        self.parameters = trained_parameters(self.objective)
        self.optimizers = build_optimizers(self.objective, recipe.optimizer)
        self.crops, self.health = crops, Health()
        self.parts = BatchParts(self.objective, recipe.distillation.parts) if recipe.distillation.parts > 1 else None
        self.start_from = start_from
        self.scaler = torch.amp.GradScaler(device.type, enabled=False)
        self.changes: list[dict[str, Any]] = []
        if self.continues([recipe.to_dict(), crops.facts(0), start_from]):
            self._resume()
        else:
            if start_from is not None:
                start_with(self.objective, start_from)
            self.progress.precision = known_precision(recipe.run.precision, device) or self._faster_precision()
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.progress.precision == "float16")
        if self.progress.loss_scale:
            self.scaler.load_state_dict(self.progress.loss_scale)
        if rank() == 0:
            cut_metrics(folder, self.progress.step)
            if recipe.run.keep_best:  # a killed run may have saved it, but not kept it
                keep_best(folder, self.progress.step)
        self._logged = self.progress.crops, self.progress.seconds

    @property
    def steps(self) -> int:
        """Steps of the recipe."""
        return self.recipe.run.steps

    def log_cost(self) -> None:
        """Log parameters, memory and arithmetic of the largest step, a line each."""
        if rank() == 0:
            for line in step_cost(self.recipe, self.progress.precision, self.targets).lines():
                logger.info("%s", line)

    def step(self) -> None:
        """Take one optimiser step, at the learning rate and momentum of this point of the run.

        It waits for the device only if a line is logged.
        """
        began, done, recipe = time.monotonic(), self.done, self.recipe
        batch, generator = self.crops.batch(self.progress.step, self.done_before)
        batch = batch.to(self.device)
        token_dropping = recipe.distillation.token_dropping if done < recipe.distillation.token_dropping_until else 0.0

        losses = self._backward(batch, generator, token_dropping)
        norm, finite = finish_gradients(self.parameters, losses.total, recipe.optimizer.clip_norm, self._unscale)

        middle = self.done_before(self.progress.step + 0.5)
        share = learning_rate_share(middle, recipe.optimizer.warm_up, recipe.optimizer.hold)
        set_learning_rate(self.optimizers.values(), share)
        take_step(self.optimizers.values(), finite)
        self.scaler.update()
        self.objective.ema_teacher.follow(self.objective.student, ema_momentum(done, recipe.objective), finite)

        self.health.collect(losses, finite)
        self.progress.step += 1
        self.progress.crops += world_size() * len(batch.log_mel)
        due = self.progress.step % recipe.run.log_every == 0 or self._probe_due()
        signs = self.health.metrics(losses, self.objective, batch) if due else {}  # waits for the device
        self.progress.seconds = agree_max(self.progress.seconds + time.monotonic() - began)
        if self.done >= 1.0 and not due:
            signs = self.health.metrics(losses, self.objective, batch)
        if due or self.done >= 1.0:
            rate = share * recipe.optimizer.learning_rate
            figures = self._probe() if self._probe_due() else {}
            numbers = {"learning_rate": rate, "gradient_norm": norm.item(), "columns": batch.columns}
            self._log(losses, {**numbers, **signs, **figures})
            if figures and recipe.run.keep_best:
                self.save()

    def save(self) -> None:
        """Write the state atomically; errors as for ``Run.save``."""
        if rank() == 0:
            self.progress.loss_scale = self.scaler.state_dict()
            tensors = flat_state({"objective": self.objective}, self.optimizers)
            tensors |= {f"health.{name}": value for name, value in self.health.state().items()}
            write_state(self.folder, tensors, self.progress, self.record())
            keep_state(self.folder, self.progress.step, self.recipe.run.keep_states)
            if self.recipe.run.keep_best:
                keep_best(self.folder, self.progress.step)

    def record(self) -> dict[str, Any]:
        """Return the settings and facts that define this run."""
        return {
            "recipe": self.recipe.to_dict(),
            "device": str(self.device),
            "processes": world_size(),
            "start_from": self.start_from,
            "torch": torch.__version__,
            "package": __version__,
            "hardware": hardware(self.device),
            "max_seconds": self.max_seconds,
            **self.crops.facts(self.progress.step),
            "changes": self.changes,
        }

    def _resume(self) -> None:
        """Continue from the folder's state, and record which settings changed."""
        self.progress, old = read_record(self.folder)
        new = self.record()
        if self.start_from is None:
            new["start_from"] = self.start_from = old.get("start_from")
        found = check_resumed(self.folder, old, new, self.progress.step)
        tensors = restore(self.folder, {"objective": self.objective}, self.optimizers)
        self.health.restore(under("health.", tensors), self.objective.student.cls.device)
        for change in found:
            logger.info("from step %d on %s is %s, was %s", *(change[key] for key in ("step", "what", "is", "was")))
        self.changes = [*old["changes"], *found]
        if any(change["what"] == "run.precision" for change in found):
            wanted = known_precision(self.recipe.run.precision, self.device)
            self.progress.precision = wanted or self._faster_precision()

    def _backward(self, batch: Batch, generator: torch.Generator, token_dropping: float) -> Losses:
        self.objective.zero_grad(set_to_none=True)
        if self.parts is not None:
            return self.parts.backward(batch, generator, token_dropping, self.progress.precision)
        state, done = generator.get_state(), []
        for part in split(batch, self.recipe.run.accumulate):
            generator.set_state(state)  # masks do not depend on the division
            with autocast(self.device, self.progress.precision):
                losses: Losses = self.objective(part, generator, token_dropping)
            share = len(part.log_mel) / len(batch.log_mel)
            self.scaler.scale(share * losses.total).backward()  # type: ignore[no-untyped-call]
            done.append(weighted(losses, share))
        return summed(done)

    def _unscale(self) -> None:
        for optimizer in self.optimizers.values():
            self.scaler.unscale_(optimizer)

    def _probe_due(self) -> bool:
        settings = self.recipe.run
        return bool(settings.probe) and (self.progress.step % settings.probe_every == 0 or self.done >= 1.0)

    def _probe(self) -> dict[str, float]:
        """Return the figures of the online probe. Its time is not counted; other processes wait for it."""
        networks = {"average": self.objective.ema_teacher.network, "last": self.objective.student}
        figures: dict[str, float] = {}
        try:
            figures = self.probe(networks, self.recipe.exported_config()) if self.probe else {}
        except StoppedError:
            raise
        except AaSPError as error:
            logger.warning("step %d: no figures of the online probe: %s", self.progress.step, error)
        agree_any(False)
        return figures

    def _log(self, losses: Losses, numbers: dict[str, float]) -> None:
        average(list(losses.parts.values()))
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
            if self.track:
                self.track(line)
            logger.info("step %d loss %.4f %.1f crops/s", line["step"], line["loss"], line["crops_per_second"])

    def _faster_precision(self) -> str:
        """Measure which precision is faster; of several processes, the slowest decides."""
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


def hardware(device: torch.device) -> str:
    """Return the name of a GPU, or the number of CPU cores and their instructions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"


def start_with(objective: Objective, checkpoint: str) -> None:
    """Load a checkpoint's weights into student and EMA teacher.

    Raises:
        CheckpointError: It does not exist, or has another architecture.
    """
    found = load_checkpoint(checkpoint)
    load_weights(objective.student, found.weights, found.source)
    load_weights(objective.ema_teacher.network, found.weights, found.source)
