"""Sounds -> vectors and tables on disk: the whole of ``aasp-embed`` but its arguments."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder.batch_work import BatchResult
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import OutputError, claimed, finished_record
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.publish import clear, make_results, move_results
from aasp_features.folder.state import ChangedRunError, RunState, goes_on
from aasp_features.folder.table import RowTable
from aasp_features.sounds.discovery import Discovery


class WriteError(AaSPError, OSError):
    """Writing failed in the middle of a run; the sentence says why, what is kept, and how to go on."""

    exit_code = 1


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C in the middle of a run; the sentence says what is kept, and how to go on.

    Not an ``AaSPError``: a loop that lives through errors must not live through this.
    """


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


class Engine(Protocol):
    """Does the batches of a plan; see ``local_engine`` and ``ray_engine``."""

    @property
    def encoder(self) -> AaSPEncoder:
        """What computes the vectors."""

    @property
    def device(self) -> str:
        """Kind of device that the batches are done on."""

    def batches(self, plan: Plan, first: int, folder: Path) -> Generator[BatchResult, None, None]:
        """The batches from ``first`` on, in order; temporary files lie in ``folder``."""


def embed_sounds(
    engine: AaSPEncoder | Engine,
    found: Discovery,
    out: Path,
    options: RunOptions | None = None,
    *,
    overwrite: bool = False,
    on_sound: Callable[[str, str | None], None] = lambda name, error: None,
) -> RunResult:
    """Embed sounds; write ``out``, its table ``.csv``, its record ``.json``, and ``.errors.csv`` if anything failed.

    Rows stand in the order of the sounds; one that cannot be read has none. Unfinished work is kept in
    ``OUT.partial/``; a run that was stopped in any way goes on from there, and ends with the same bytes. Older results
    stay until the new ones are complete.

    Args:
        engine: an encoder, which works where it is, or what does the work elsewhere.
        found: what to embed.
        out: path of the vectors; the ending names the format.
        options: what to compute and how to write it.
        overwrite: start again, whatever is there.
        on_sound: called for every sound that is done, also by an earlier run, with its error if it failed.

    Raises:
        OptionError: an option that the encoder does not accept.
        OutputError: another process has the output, or it belongs to other sounds or options.
        WriteError: the disk is full or fails.
        InterruptedRun: Ctrl-C.
    """
    if isinstance(engine, AaSPEncoder):
        engine = LocalEngine([engine])
    settings = (options or RunOptions()).resolve(engine.encoder, engine.device)
    plan = make_plan(found.sounds, settings)
    try:
        with claimed(out) as folder:
            move_results(folder, out)
            if overwrite:
                clear(folder)
            elif not goes_on(folder, plan) and (record := finished_record(out, plan)):
                return RunResult(record["rows"], record["failures"], len(plan.sounds))
            run = FolderRun(plan, folder)
            again = "the command again without --overwrite" if overwrite else "the same command again"
            return _carry_out(run, out, found.problems, engine, on_sound, again)
    except ChangedRunError as error:
        raise OutputError(
            f"--out {out}: its unfinished run was another one: {error}; run that again, or give --overwrite."
        ) from error


def _carry_out(
    run: FolderRun,
    out: Path,
    problems: dict[str, str],
    engine: Engine,
    on_sound: Callable[[str, str | None], None],
    again: str,
) -> RunResult:
    """Embed and publish; whatever stops it, what is kept is said, and what to run to go on."""
    resumed = run.done
    try:
        run.embed(engine, on_sound)
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

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.state = RunState(folder, plan)

    @property
    def done(self) -> int:
        """Sounds of committed batches."""
        return self.plan.batches[self.state.batches_done - 1].stop if self.state.batches_done else 0

    def embed(self, engine: Engine, on_sound: Callable[[str, str | None], None]) -> None:
        """Do the batches that are left."""
        for sound, outcome in zip(self.plan.sounds, self.state.outcomes(), strict=False):
            on_sound(sound.name, outcome.error)
        first = self.state.batches_done
        with closing(engine.batches(self.plan, first, self.state.folder)) as results:
            for places, result in zip(self.plan.batches[first:], results, strict=True):
                with result:
                    self.state.commit(result.rows, result.outcomes)
                for place, outcome in zip(places, result.outcomes, strict=True):
                    on_sound(self.plan.sounds[place].name, outcome.error)

    def publish(self, out: Path, problems: dict[str, str]) -> int:
        """Put the results in their places; returns the number of failures."""
        hop = self.plan.settings.hop if self.plan.settings.frames else None
        table = RowTable(self.plan.sounds, self.state.outcomes, hop)
        failures = len(problems) + sum(1 for _ in table.failures())
        make_results(self.state, self.plan, table, out, problems)
        move_results(self.state.folder, out)
        return failures
