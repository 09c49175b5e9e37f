"""Processes that run the teachers beside the training, and make the pieces of their features in order."""

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
from aasp_features.train.pretrain.stopping import handled_by
from aasp_features.train.pretrain.teacher_features import TeacherFeatures

logger = logging.getLogger(__name__)
LOCK_FILE = "making.lock"


class Makers:
    """Processes that make the pieces up to a number, in order, until they are stopped or their parent is gone.

    Args:
        features: to make.
        pieces: how many.
        workers: processes; none makes nothing.

    Raises:
        TrainError: another process makes these features now, or pieces are damaged and nobody is to make them again.
    """

    def __init__(self, features: TeacherFeatures, pieces: int, workers: int) -> None:
        self.features, self.pieces = features, pieces
        self._lock = FileLock(features.folder / LOCK_FILE)
        self._processes: list[BaseProcess] = []
        damaged = features.damaged(pieces)
        if damaged and not workers:
            raise TrainError(
                f"{damaged[0]} is damaged, {len(damaged)} pieces in all; distillation.workers=1 makes them again."
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
                f"the file system of {self.features.folder} has no locks; give a folder on another one."
            ) from error
        except LockedError as error:
            raise TrainError(
                f"another process makes features in {self.features.folder}; wait for it, or use what it makes "
                "(distillation.workers=0)."
            ) from error
        for teacher in self.features.teachers:  # its sentence is better read here than in a process
            ExternalTeacher(teacher)
        for leftover in self.features.folder.glob("*/.*.npy.*"):
            leftover.unlink()
        for path in damaged:
            logger.warning("%s is damaged; it is made again", path)
            path.unlink(missing_ok=True)
        context, given = multiprocessing.get_context("spawn"), self.features
        arguments = (given.data, given.folder, given.settings, given.seed, given.teachers, self.pieces, workers)
        with handled_by(signal.SIG_IGN, (signal.SIGINT,)):  # inherited: it is for the parent to end them
            for worker in range(workers):
                process = context.Process(target=_make_pieces, args=(*arguments, worker), daemon=True)
                process.start()
                self._processes.append(process)

    @property
    def crops(self) -> int:
        """How many the pieces hold."""
        return self.pieces * PIECE

    def check(self) -> None:
        """Raise TrainError if a process failed."""
        for process in self._processes:
            if process.exitcode:
                raise TrainError(f"a process that runs the teachers ended (exit code {process.exitcode}); see above.")

    def wait(self, pieces: int | None = None, every: float = 0.2) -> int:
        """Until so many pieces are there (all of them unless given); returns how many are.

        Raises:
            TrainError: nobody makes them, or a process failed.
        """
        wanted = min(self.pieces if pieces is None else pieces, self.pieces)
        before = done = self.features.complete()
        began = said = time.monotonic()
        while done < wanted:
            self.check()
            if not self._processes and not self._made_elsewhere():
                raise TrainError(
                    f"{self.features.folder} holds {done * PIECE} crops, {wanted * PIECE} are needed, and nobody makes "
                    "them (distillation.workers=0)."
                )
            time.sleep(every)
            done = self.features.complete(done)
            if time.monotonic() - said > 30:
                rate = (done - before) * PIECE / (time.monotonic() - began)
                logger.info("%d of %d crops heard, %.1f a second", done * PIECE, wanted * PIECE, rate)
                said = time.monotonic()
        return done

    def _made_elsewhere(self) -> bool:
        """Does another process make these features now?"""
        try:
            self._lock.acquire()
        except LockedError:
            return True
        except NoLocksError:  # then none could have begun
            return False
        self._lock.release()
        return False

    def stop(self) -> None:
        """End the processes; twice is once."""
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
    """One process: every ``workers``-th piece, from ``worker`` on."""
    try:
        _one_thread()
        features = TeacherFeatures(data, folder, settings, seed, descriptions)
        teachers = [ExternalTeacher(description) for description in descriptions]
        for piece in range(worker, pieces, workers):
            parent = multiprocessing.parent_process()
            if parent is None or not parent.is_alive():  # killed without a word
                return
            if not features.has(piece):
                features.make(piece, teachers)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"aasp-train: {error}\n")
        sys.exit(1)


def _one_thread() -> None:
    """Processes share the cores among them; torch would take all in each."""
    import torch

    torch.set_num_threads(1)
