"""A run of optimiser steps until its end, a pause or a signal; its state is saved regularly and at the end."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch

from aasp_features.train.distributed import agree_any, agree_max, check_alike
from aasp_features.train.run.folder import STATE_FILE
from aasp_features.train.run.state import Progress
from aasp_features.train.run.stopping import StoppedError, noting_requests


class Run(ABC):
    """A run of optimiser steps.

    Several processes may train together (``distributed.py``). Each has its rows of every batch; all take the same
    steps, and the first one writes.

    Args:
        folder: Run folder, created if needed; a state found there is resumed.
        device: Device of the computation.
        max_seconds: Time budget of the whole run, in seconds of steps, at whose end the schedule ends.
    """

    save_seconds: float

    def __init__(self, folder: Path, device: torch.device, max_seconds: float | None) -> None:
        self.folder, self.device, self.max_seconds = folder, device, max_seconds
        self.progress = Progress()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of the whole run; a time budget may end it earlier."""

    @abstractmethod
    def step(self) -> None:
        """Take one optimiser step."""

    @abstractmethod
    def save(self) -> None:
        """Write the state atomically.

        Raises:
            TrainError: It cannot be written; the earlier state is kept.
        """

    @property
    def done(self) -> float:
        """Completed fraction of the run."""
        return self.done_before(self.progress.step)

    def done_before(self, step: float) -> float:
        """Return the fraction of the run before a step, by steps or by the time spent so far, whichever is further.

        Learning rates are read half a step ahead, in the middle of the next step: at its start the first rate would be
        0, at its end the last.
        """
        by_time = self.progress.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def continues(self, facts: list[Any]) -> bool:
        """Return whether the folder holds a state, after a check that all processes agree on that and on ``facts``.

        Raises:
            TrainError: They do not.
        """
        found = (self.folder / STATE_FILE).is_file()
        check_alike(json.dumps([*facts, self.max_seconds, found]))
        return found

    def run(self, stop_after: float | None = None) -> bool:
        """Train to the end, or for ``stop_after`` seconds; saves regularly and at the end.

        Returns:
            Whether the run is complete.

        Raises:
            TrainError: See ``step`` and ``save``.
            StoppedError: Ctrl-C or SIGTERM ended the run; the state is saved.
        """
        started = saved = time.monotonic()
        with noting_requests() as request:
            while self.done < 1.0:
                late = stop_after is not None and time.monotonic() - started > stop_after
                if agree_any(late or request.number > 0):
                    break
                self.step()
                if time.monotonic() - saved > self.save_seconds:
                    self.save()
                    saved = time.monotonic()
            self.save()
            number = int(agree_max(request.number))
        if number and self.done < 1.0:
            step = self.progress.step
            raise StoppedError(f"stopped at step {step}; run the same command again to continue.", number)
        return self.done >= 1.0
