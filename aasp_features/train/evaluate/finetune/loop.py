"""The fine-tuning loop: steps from batch to optimiser, validated epochs, and the weights that are kept."""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.options import weights_sha256
from aasp_features.train.distributed import agree_max, rank, world_size
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.finetune.examples import TaskExamples
from aasp_features.train.evaluate.finetune.model import TrainingBatch, divisor, loss_of
from aasp_features.train.evaluate.finetune.optimizer import build_optimizer
from aasp_features.train.evaluate.finetune.start import empty_model, fit_start, vectors_of
from aasp_features.train.evaluate.finetune.weight_average import follow, momentum_at
from aasp_features.train.run.folder import cut_metrics, write_metrics
from aasp_features.train.run.loop import Run
from aasp_features.train.run.optimizer import finish_gradients, learning_rate_share, set_learning_rate, take_step
from aasp_features.train.run.precision import autocast, known_precision
from aasp_features.train.run.resume import check_resumed
from aasp_features.train.run.state import flat_state, read_record, restore, under, write_state

logger = logging.getLogger(__name__)


class Finetuning(Run):
    """A run: model, average of its weights, optimiser, examples, progress, and its folder on disk.

    All of several processes validate.

    Args:
        encoder: Initial encoder.
        examples: Clips of the task's split, with the run's recipe.
        folder, device, max_seconds: See ``Run``.

    Attributes:
        best: Weights with the best validation value, as in ``FineTuned``; empty before there are any.
        judged: Best validation value, in %, and its epoch; None before there is one.

    Raises:
        TrainError: The state is damaged, or belongs to another run.
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        examples: TaskExamples,
        folder: Path,
        device: torch.device,
        max_seconds: float | None = None,
    ) -> None:
        super().__init__(folder, device, max_seconds)
        self.encoder, self.examples, self.recipe = encoder, examples, examples.recipe
        self._weights = weights_sha256(encoder)
        self.model = empty_model(encoder, examples, device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = build_optimizer(self.model, self.recipe.optimizer)
        self.parameters = list(self.model.parameters())
        self.save_seconds = self.recipe.run.save_seconds
        self.progress.precision = known_precision(self.recipe.run.precision, device) or "float32"
        self.best: dict[str, Tensor] = {}
        self.judged: dict[str, float] | None = None
        self.sums = torch.zeros(3, device=device)  # of losses, norms and steps since the last line of metrics
        if self.continues([self.recipe.to_dict(), self._weights, examples.facts]):
            self._resume()
        else:
            fit_start(self.model, examples)
            self.average.load_state_dict(self.model.state_dict())
        if rank() == 0:
            cut_metrics(folder, self.progress.step)
            logger.info("%s: %s", self._title, examples.counts())
        if self.progress.step == 0 and self.recipe.network.head == "probe" and len(examples.validation):
            self._judge_start()

    @property
    def _title(self) -> str:
        return f"{self.examples.task.name} {self.examples.split.name}"

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.recipe.run.epochs * self.examples.sampler.steps

    def step(self) -> None:
        """Take one optimiser step; at the end of an epoch, validate and write metrics."""
        began = time.monotonic()
        middle = self.done_before(self.progress.step + 0.5)
        settings = self.recipe.optimizer
        share = learning_rate_share(middle, settings.warm_up, last=settings.last_rate)
        set_learning_rate([self.optimizer], share)
        batch = self.examples.batch(self.progress.step)
        loss = self._backward(batch.to(self.device))
        norm, finite = finish_gradients(self.parameters, loss, settings.clip_norm)
        take_step([self.optimizer], finite)
        follow(self.average, self.model, momentum_at(self.progress.step, self.recipe.run.average))
        self.progress.step += 1
        self.progress.crops += self.recipe.run.batch
        self.sums += torch.stack([loss, norm, torch.ones_like(loss)])
        self.progress.seconds = agree_max(self.progress.seconds + time.monotonic() - began)
        if self.progress.step % self.examples.sampler.steps == 0 or self.done >= 1.0:
            self._end_epoch(share * settings.rate)

    def _backward(self, batch: TrainingBatch) -> Tensor:
        """Compute the batch's loss and the parameters' gradients, part by part."""
        self.optimizer.zero_grad(set_to_none=True)
        settings, clips = self.recipe.loss, len(batch.targets)
        total, over = torch.zeros((), device=self.device), divisor(batch.targets, settings.per)
        size = -(-clips // self.recipe.run.parts)
        for first in range(0, clips, size):
            part = batch.part(slice(first, first + size))
            with autocast(self.device, self.progress.precision):
                logits = self.model(part)
            loss = loss_of(logits, part.targets, self.examples.kind, settings.smoothing) / over
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _end_epoch(self, rate: float) -> None:
        epoch = math.ceil(self.progress.step / self.examples.sampler.steps)
        loss, norm, steps = self.sums.tolist()
        self.sums.zero_()
        if not math.isfinite(loss):
            raise TrainError(
                f"{self.folder}: the loss of epoch {epoch} is not finite; start a new run in another folder with "
                f"optimizer.rate below {self.recipe.optimizer.rate:g}."
            )
        numbers = {"epoch": epoch, "done": self.done, "seconds": self.progress.seconds, "loss_train": loss / steps}
        due = epoch % self.recipe.run.judge_every == 0 or self.done >= 1.0
        if due and len(self.examples.validation):
            numbers |= self._judge(epoch)
        numbers |= {"learning_rate": rate, "gradient_norm": norm / steps}
        if rank() == 0:
            write_metrics(self.folder, {"step": self.progress.step, **numbers})
            self._tell(numbers)

    def _judge_start(self) -> None:
        """Validate the initial linear probe, a result that steps may not improve."""
        numbers = {"step": 0, "epoch": 0, "done": 0.0, "seconds": 0.0, **self._judge(0)}
        if rank() == 0:
            cut_metrics(self.folder, -1)
            write_metrics(self.folder, numbers)
            logger.info("%s: initial probe, validation %.1f", self._title, numbers["validation"])

    def _judge(self, epoch: int) -> dict[str, float]:
        """Return the average's validation loss and metric, and keep the best weights, the later of equals."""
        examples, indices = self.examples, self.examples.validation
        logits = self.average.folded()(vectors_of(self.average.network, examples, indices))
        targets = examples.labels_of(indices)
        loss = float(loss_of(logits, targets, examples.kind)) / divisor(targets, self.recipe.loss.per)
        value = examples.task.value(indices, logits.double().numpy())
        if self.judged is None or value >= self.judged["value"]:
            self.judged = {"value": value, "epoch": epoch}
            self.best = {name: tensor.clone() for name, tensor in self.average.state_dict().items()}
        return {"loss_validation": loss, "validation": value}

    def _tell(self, numbers: dict[str, float]) -> None:
        text = f"{self._title}: epoch {numbers['epoch']} of {self.recipe.run.epochs}, loss {numbers['loss_train']:.4f}"
        if "validation" in numbers and self.judged is not None:
            text += f", validation {numbers['validation']:.1f} (best {self.judged['value']:.1f})"
        logger.info("%s, %.0f s", text, self.progress.seconds)

    def record(self) -> dict[str, Any]:
        """Return the settings and facts that define this run."""
        return {
            "recipe": self.recipe.to_dict(),
            "weights": self._weights,
            "config": asdict(self.examples.config),
            "device": str(self.device),
            "torch": torch.__version__,
            "max_seconds": self.max_seconds,
            "processes": world_size(),
            **self.examples.facts,
        }

    def save(self) -> None:
        """Write the state atomically; errors as for ``Run.save``."""
        if rank() == 0:
            tensors = flat_state(self._modules, {"optimizer": self.optimizer}) | {"sums": self.sums}
            tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
            write_state(self.folder, tensors, self.progress, {**self.record(), "judged": self.judged})

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "average": self.average}

    def _resume(self) -> None:
        self.progress, record = read_record(self.folder)
        check_resumed(self.folder, record, self.record(), self.progress.step)
        tensors = restore(self.folder, self._modules, {"optimizer": self.optimizer})
        self.judged, self.sums = record["judged"], tensors["sums"].to(self.device)
        self.best = {name: tensor.to(self.device) for name, tensor in under("best.", tensors).items()}
        logger.info("%s: continues from step %d", self.folder, self.progress.step)
