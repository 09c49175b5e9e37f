"""Sounds -> vectors and tables on disk: the whole of ``aasp-embed`` but its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.batching import ClipVector
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.decode_pool import DecodePool
from aasp_features.folder.discovery import Discovery
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import OutputError, claimed, finished_record
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.publish import clear, make_results, move_results
from aasp_features.folder.results import SpilledFrames, SpillFile, interleaved_chunks
from aasp_features.folder.state import ChangedRunError, Outcome, RunState, goes_on
from aasp_features.folder.table import RowTable
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

Collected = NDArray[np.float32] | list[SpilledFrames] | Exception  # of one sound


class WriteError(OSError):
    """Writing failed in the middle of a run; the sentence says why, what is kept, and how to go on."""


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C in the middle of a run; the sentence says what is kept, and how to go on."""


@dataclass(frozen=True)
class RunResult:
    """How a run went.

    Attributes:
        rows: written.
        failures: sounds, and folders that could not be searched.
        resumed: sounds that were done before this run; all of them if nothing was left to do.
    """

    rows: int
    failures: int
    resumed: int


def default_workers() -> int:
    """Decoding threads: one for each CPU this process may use, 8 at most."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, available)


def embed_sounds(
    encoder: AaSPEncoder,
    found: Discovery,
    out: Path,
    options: RunOptions | None = None,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    on_sound: Callable[[str, str | None], None] = lambda name, error: None,
) -> RunResult:
    """Embed sounds; write ``out``, its table ``.csv``, its record ``.json``, and ``.errors.csv`` if anything failed.

    Rows stand in the order of the sounds; one that cannot be read has none. Unfinished work is kept in
    ``OUT.partial/``; a run that was stopped in any way goes on from there, and ends with the same bytes. Older results
    stay until the new ones are complete.

    Args:
        encoder: computes the vectors.
        found: what to embed.
        out: path of the vectors; the ending names the format.
        options: what to compute and how to write it.
        workers: decoding threads.
        overwrite: start again, whatever is there.
        on_sound: called for every sound that is done, also by an earlier run, with its error if it failed.

    Raises:
        OutputError: another process has the output, or it belongs to other sounds or options.
        WriteError: the disk is full or fails.
        InterruptedRun: Ctrl-C.
    """
    options = options or RunOptions()
    plan = make_plan(found.sounds, options.settings(encoder))
    try:
        with claimed(out) as folder:
            move_results(folder, out)
            if overwrite:
                clear(folder)
            elif not goes_on(folder, plan) and (record := finished_record(out, plan)):
                return RunResult(record["rows"], record["failures"], len(plan.sounds))
            run = FolderRun(encoder, plan, folder, options)
            again = "the command again without --overwrite" if overwrite else "the same command again"
            return _carry_out(run, out, found.problems, workers or default_workers(), on_sound, again)
    except ChangedRunError as error:
        raise OutputError(
            f"--out {out}: its unfinished run was another one: {error}; run that again, or give --overwrite."
        ) from error


def _carry_out(
    run: FolderRun,
    out: Path,
    problems: dict[str, str],
    workers: int,
    on_sound: Callable[[str, str | None], None],
    again: str,
) -> RunResult:
    """Embed and publish; whatever stops it, what is kept is said, and what to run to go on."""
    resumed = run.done
    try:
        run.embed(workers, on_sound)
        return RunResult(run.state.rows, run.publish(out, problems), resumed)
    except (OSError, KeyboardInterrupt) as error:
        kept = f"{run.done} of {len(run.plan.sounds)} sounds are done and kept in {run.state.folder}"
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRun(f"interrupted; {kept}; run {again} to go on.") from error
        raise WriteError(
            f"{out}: writing failed ({error.strerror or error}); {kept}; when it can be written again, run {again} "
            "to go on."
        ) from error


class FolderRun:
    """A run whose output is claimed: embeds batch by batch, then publishes.

    Attributes:
        state: on disk.
        done: sounds of committed batches.
    """

    def __init__(self, encoder: AaSPEncoder, plan: Plan, folder: Path, options: RunOptions) -> None:
        self.encoder, self.plan, self.options = encoder, plan, options
        self.state = RunState(folder, plan, options.width(encoder), options.dtype)
        self.offsets = grid_offsets(options.hop) if options.frames else range(1)

    @property
    def done(self) -> int:
        """Sounds of committed batches."""
        return self.plan.batches[self.state.batches_done - 1].stop if self.state.batches_done else 0

    def embed(self, workers: int, on_sound: Callable[[str, str | None], None]) -> None:
        """Do the batches that are left."""
        for sound, outcome in zip(self.plan.sounds, self.state.outcomes(), strict=False):
            on_sound(sound.name, outcome.error)
        hop = self.options.hop if self.options.frames else COLUMN_SECONDS
        with DecodePool(self.plan.sounds, self.encoder, workers, first=self.done, hop=hop) as pool:
            for places in self.plan.batches[self.state.batches_done :]:
                with SpillFile(self.state.folder) as spill:
                    collected = self._collect(pool, places, spill)
                    outcomes = [self._outcome(pool, place, collected[place]) for place in places]
                    self.state.commit(self._rows(collected[place] for place in places), outcomes)
                for place, outcome in zip(places, outcomes, strict=True):
                    on_sound(self.plan.sounds[place].name, outcome.error)

    def publish(self, out: Path, problems: dict[str, str]) -> int:
        """Put the results in their places; returns the number of failures."""
        hop = self.options.hop if self.options.frames else None
        table = RowTable(self.plan.sounds, self.state.outcomes, hop)
        failures = len(problems) + sum(1 for _ in table.failures())
        make_results(self.state, self.plan, table, out, problems)
        move_results(self.state.folder, out)
        return failures

    def _collect(self, pool: DecodePool, places: range, spill: SpillFile) -> dict[int, Collected]:
        """Encode a batch; what each sound gave, by place."""
        options = self.options
        pooling, layers = self.encoder.check_options(options.pooling, options.layers)
        new = partial(SpilledFrames, spill) if options.frames else partial(ClipVector, pooling)
        passes: dict[tuple[int, int], Any] = dict(
            self.encoder.embed_windows(pool.events(places), new, options.batch_size, pooling, layers)
        )
        collected: dict[int, Collected] = {}
        for place in places:
            results = [passes[place, offset] for offset in self.offsets]
            failed = next((result for result in results if isinstance(result, Exception)), None)
            collected[place] = failed or (results if options.frames else results[0])
        return collected

    def _outcome(self, pool: DecodePool, place: int, collected: Collected) -> Outcome:
        if isinstance(collected, Exception):
            return Outcome(error=_reason(collected, self.plan.sounds[place].name))
        info = pool.infos.pop(place)
        rows, frames = 1, 0
        if isinstance(collected, list):
            rows, frames = sum(one.rows for one in collected), collected[0].frames
        return Outcome(rows, round(info.seconds, 6), info.rate, info.channels, frames)

    def _rows(self, collected: Iterator[Collected]) -> Iterator[NDArray[Any]]:
        for vectors in collected:
            if isinstance(vectors, np.ndarray):
                yield self._finish(vectors[None])
            elif isinstance(vectors, list):
                yield from map(self._finish, interleaved_chunks(vectors))

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        if self.options.normalize:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(length, np.finfo(np.float32).tiny)
        return rows.astype(self.options.dtype)


def _reason(error: Exception, name: str) -> str:
    """The error's sentence without the name in front, which has a column of its own."""
    return (str(error) or type(error).__name__).removeprefix(f"{name}: ")
