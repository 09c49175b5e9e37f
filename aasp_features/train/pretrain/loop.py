"""The pre-training loop."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aasp_features.hub import load_checkpoint, load_weights
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.pretrain.batch_parts import BatchParts
from aasp_features.train.pretrain.distilled_crops import DistilledCrops
from aasp_features.train.pretrain.health import Health
from aasp_features.train.pretrain.objective import Losses, Objective
from aasp_features.train.pretrain.optimizer import build_optimizer, learning_rate, teacher_momentum
from aasp_features.train.pretrain.run_folder import STATE_FILE, Progress, load_run, save_run

logger = logging.getLogger(__name__)
METRICS_FILE = "metrics.jsonl"


class Pretraining:
    """A run under way: objective, optimiser, data, progress, and its folder on disk.

    Args:
        crops: where the batches come from; its recipe is the run's.
        folder: of the run; a state found there is resumed.
        device: where to compute.
        max_seconds: time budget of the whole run, in seconds spent in steps; the schedule then ends with it.
        start_from: a checkpoint whose weights a new run's student and teacher start with; everything else is new.
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
        torch.manual_seed(recipe.seed)
        self.objective = Objective(recipe, crops.targets).to(device)
        self.optimizer = build_optimizer(self.objective, recipe)
        self.crops = crops
        self.parts = self._batch_parts(recipe.distillation.parts)
        self.health = Health()
        self.progress, self.start_from = Progress(), start_from
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE_FILE).is_file():
            self.progress, record = load_run(folder, self.objective, self.optimizer)
            self.start_from = record.get("start_from")
        else:
            if start_from is not None:
                start_with(self.objective, start_from)
            self.progress.precision = choose_precision(recipe.precision, device, self._trial_step)

    @property
    def done(self) -> float:
        """Fraction of the run that is behind, by steps or by the time budget, whichever is further."""
        by_time = self.progress.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(self.progress.step / self.recipe.steps, by_time))

    def run(self, stop_after: float | None = None) -> bool:
        """Train to the end, or for ``stop_after`` seconds; the state is saved every few minutes and at the end.

        Returns:
            Whether the run is complete.

        Raises:
            CollapseError: see ``Health``.
        """
        started = saved = time.monotonic()
        while self.done < 1.0:
            if stop_after is not None and time.monotonic() - started > stop_after:
                break
            self.step()
            if time.monotonic() - saved > self.recipe.save_seconds:
                self.save()
                saved = time.monotonic()
        self.save()
        return self.done >= 1.0

    def save(self) -> None:
        """Write the state, atomically."""
        save_run(self.folder, self.objective, self.optimizer, self.progress, self.record())

    def record(self) -> dict[str, Any]:
        """What made this run."""
        return {
            "recipe": self.recipe.to_dict(),
            "device": str(self.device),
            "start_from": self.start_from,
            "torch": torch.__version__,
            **self.crops.facts(self.progress.step),
        }

    def step(self) -> None:
        """One optimiser step, at the learning rate and momentum of this place in the run.

        Raises:
            CollapseError: see ``Health``.
        """
        began, done, recipe = time.monotonic(), self.done, self.recipe
        batch, generator = self.crops.batch(self.progress.step, done)
        dropped = recipe.distillation.dropped if done < recipe.distillation.dropped_until else 0.0
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(done, recipe.learning_rate, recipe.warm_up, recipe.hold)
        losses = self._backward(batch, generator, dropped)
        norm = nn.utils.clip_grad_norm_(self.trained_parameters(), recipe.clip_norm)
        finite = bool(torch.isfinite(norm) & torch.isfinite(losses.total))
        self.health.check_step(finite)
        if finite:
            self.optimizer.step()
            momentum = teacher_momentum(done, recipe.momentum_start, recipe.momentum_end)
            self.objective.teacher.follow(self.objective.student, momentum)
        self.progress.step += 1
        self.progress.crops += len(batch.frames)
        self.progress.seconds += time.monotonic() - began
        if losses.targets is not None:
            self.health.collect(losses.targets)
        if self.progress.step % recipe.log_every == 0 or self.done >= 1.0:
            signs = self.health.report(losses, self.objective, batch)
            self._log(
                losses,
                {"gradient_norm": norm.item(), "columns": batch.columns, **signs},
                began,
                len(batch.frames),
            )

    def _backward(self, batch: Batch, generator: torch.Generator, dropped: float) -> Losses:
        """Losses of a batch; the parameters' gradients are set."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.parts is not None:
            return self.parts.backward(batch, generator, dropped)
        with autocast(self.device, self.progress.precision):
            losses: Losses = self.objective(batch, generator, dropped)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return losses

    def _log(self, losses: Losses, numbers: dict[str, float], began: float, crops: int) -> None:
        line = {
            "step": self.progress.step,
            "done": self.done,
            "seconds": self.progress.seconds,
            "crops": self.progress.crops,
            "crops_per_second": crops / (time.monotonic() - began),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": losses.total.item(),
            **{f"loss_{name}": value.item() for name, value in losses.parts.items()},
            **numbers,
        }
        with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: round(value, 6) for name, value in line.items()}) + "\n")
        logger.info("step %d loss %.4f %.1f crops/s", line["step"], line["loss"], line["crops_per_second"])

    def trained_parameters(self) -> list[nn.Parameter]:
        """Everything but the teacher."""
        return [parameter for parameter in self.objective.parameters() if parameter.requires_grad]

    def _batch_parts(self, parts: int) -> BatchParts | None:
        if parts == 1:
            return None
        return BatchParts(
            self.objective, self.trained_parameters(), parts, lambda: autocast(self.device, self.progress.precision)
        )

    def _trial_step(self, precision: str) -> None:
        self.progress.precision = precision
        self._backward(*self.crops.batch(self.progress.step, 0.0), 0.0)
        self.optimizer.zero_grad(set_to_none=True)


def start_with(objective: Objective, checkpoint: str) -> None:
    """Give student and teacher a checkpoint's weights.

    Raises:
        CheckpointError: not found, or of another architecture.
    """
    found = load_checkpoint(checkpoint)
    load_weights(objective.student, found.weights, found.source)
    load_weights(objective.teacher.network, found.weights, found.source)


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """bfloat16 autocast where ``precision`` says so."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def choose_precision(wanted: str, device: torch.device, trial: Any, rounds: int = 3) -> str:
    """``auto``: bfloat16 on CUDA devices that have it; on a CPU whichever does a step faster, measured here and now."""
    if wanted != "auto":
        return wanted
    if device.type != "cpu":
        return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    fastest = {"float32": float("inf"), "bfloat16": float("inf")}
    for _ in range(rounds):
        for precision in fastest:
            began = time.monotonic()
            trial(precision)
            fastest[precision] = min(fastest[precision], time.monotonic() - began)
    logger.info("seconds for a step: %s", {name: round(value, 3) for name, value in fastest.items()})
    return min(fastest, key=lambda precision: fastest[precision])
