"""Processes that run the external teachers beside the training and compute pieces of features in order."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from aasp_features.folder.lock import FileLock, LockedError, NoLocksError
from aasp_features.train.data.waveform_crops import PIECE
from aasp_features.train.distillation_settings import CropSettings
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, TeacherDescription
from aasp_features.train.pretrain.teacher_features import TeacherFeatures
from aasp_features.train.run.stopping import handled_by

logger = logging.getLogger(__name__)
LOCK_FILE = "making.lock"


class Makers:
    """Processes that compute the first pieces in order, until they are stopped or their parent is gone.

    Args:
        features: Features to compute.
        pieces: Number of pieces.
        workers: Number of processes; 0 computes nothing.

    Raises:
        TrainError: Another process computes these features, or pieces are damaged and ``workers`` is 0.
    """

    def __init__(self, features: TeacherFeatures, pieces: int, workers: int) -> None:
        self.features, self.pieces = features, pieces
        self._lock = FileLock(features.folder / LOCK_FILE)
        self._processes: list[BaseProcess] = []
        damaged = features.damaged(pieces)
        if damaged and not workers:
            raise TrainError(
                f"{damaged[0]} is damaged, {len(damaged)} pieces in all; distillation.workers=1 recomputes them."
            )
        if workers and (damaged or features.complete() < pieces):
            try:
                self._start(workers, damaged)
            except BaseException:
                self.stop()
                raise

    def _start(self, workers: int, damaged: Sequence[Path]) -> None:
        try:
            self._lock.acquire()
        except NoLocksError as error:
            raise TrainError(
                f"the file system of {self.features.folder} has no locks; give a folder on another file system."
            ) from error
        except LockedError as error:
            raise TrainError(
                f"another process computes features in {self.features.folder}; wait for it, or use its features "
                "(distillation.workers=0)."
            ) from error
        for teacher in self.features.teachers:  # raises its errors here instead of in a process
            ExternalTeacher(teacher)
        for leftover in self.features.folder.glob("*/.*.npy.*"):
            leftover.unlink()
        for path in damaged:
            logger.warning("%s is damaged and is computed again", path)
            path.unlink(missing_ok=True)
        context, given = multiprocessing.get_context("spawn"), self.features
        arguments = (given.data, given.folder, given.settings, given.seed, given.teachers, self.pieces, workers)
        with handled_by(signal.SIG_IGN, (signal.SIGINT,)):  # inherited, so only the parent ends them
            for worker in range(workers):
                process = context.Process(target=_make_pieces, args=(*arguments, worker), daemon=True)
                process.start()
                self._processes.append(process)

    @property
    def crops(self) -> int:
        """Number of crops in the pieces."""
        return self.pieces * PIECE

    def check(self) -> None:
        """Raise TrainError if a process failed."""
        for process in self._processes:
            if process.exitcode:
                raise TrainError(
                    f"a process that runs the teachers failed with exit code {process.exitcode}; see above."
                )

    def wait(self, pieces: int | None = None, every: float = 0.2) -> int:
        """Wait until so many pieces exist (default: all), and return how many do.

        Raises:
            TrainError: No process computes them, or one failed.
        """
        wanted = min(self.pieces if pieces is None else pieces, self.pieces)
        before = done = self.features.complete()
        began = said = time.monotonic()
        while done < wanted:
            self.check()
            if not self._processes and not self._made_elsewhere():
                raise TrainError(
                    f"{self.features.folder} holds features of {done * PIECE} crops, but {wanted * PIECE} are needed; "
                    "distillation.workers=1 computes them."
                )
            time.sleep(every)
            done = self.features.complete(done)
            if time.monotonic() - said > 30:
                rate = (done - before) * PIECE / (time.monotonic() - began)
                logger.info("features of %d of %d crops, %.1f crops/s", done * PIECE, wanted * PIECE, rate)
                said = time.monotonic()
        return done

    def _made_elsewhere(self) -> bool:
        """Return whether another process computes these features."""
        try:
            self._lock.acquire()
        except LockedError:
            return True
        except NoLocksError:  # no process could have started
            return False
        self._lock.release()
        return False

    def stop(self) -> None:
        """End the processes; a second call does nothing."""
        for process in self._processes:
            process.terminate()
            process.join()
        self._processes = []
        self._lock.release()


def _make_pieces(
    data: Path,
    folder: Path,
    settings: CropSettings,
    seed: int,
    descriptions: list[TeacherDescription],
    pieces: int,
    workers: int,
    worker: int,
) -> None:
    """Compute every ``workers``-th piece, from ``worker`` on, in one process."""
    try:
        _one_thread()
        features = TeacherFeatures(data, folder, settings, seed, descriptions)
        teachers = [ExternalTeacher(description) for description in descriptions]
        for piece in range(worker, pieces, workers):
            parent = multiprocessing.parent_process()
            if parent is None or not parent.is_alive():  # the parent was killed
                return
            if not features.has(piece):
                features.make(piece, teachers)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"aasp-train: {error}\n")
        sys.exit(1)


def _one_thread() -> None:
    """Limit torch to one thread, as the processes share the cores."""
    import torch

    torch.set_num_threads(1)
