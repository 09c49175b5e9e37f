"""Sounds -> vectors and tables on disk: all of ``aasp-embed`` except its arguments."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aasp_features.audio.resampling import MAX_UNHEARD, warn_unheard
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder.formats import RowTable
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import (
    OutputError,
    check_apart,
    claimed,
    clear,
    finished_record,
    make_results,
    move_results,
    partial_folder,
)
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.state import BatchResult, ChangedRunError, OnSeconds, RunState, may_replace
from aasp_features.sounds.discovery import Discovery

OnSound = Callable[[str, str | None], None]  # a sound that is done, and its error


class WriteError(AaSPError, OSError):
    """Writing failed in the middle of a run; the sentence says why, what is kept, and how to continue."""

    exit_code = 1


class AllFailedError(AaSPError, ValueError):
    """None of the sounds could be read, and nothing was written."""


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C in the middle of a run; the sentence says what is kept, and how to continue.

    It is no ``AaSPError``, as code that catches errors and carries on must stop for it.
    """


@dataclass(frozen=True)
class RunResult:
    """Summary of a run.

    Attributes:
        rows: number of rows written.
        failures: number of sounds that failed, and of folders that could not be searched.
        resumed: number of sounds that were done before this run.
    """

    rows: int
    failures: int
    resumed: int


class Engine(Protocol):
    """Computes the batches of a plan; see ``local_engine`` and ``ray_engine``."""

    @property
    def encoder(self) -> AaSPEncoder:
        """Encoder that computes the vectors."""

    @property
    def device(self) -> str:
        """Kind of device that computes."""

    def results(self, plan: Plan, done: int, folder: Path, on_seconds: OnSeconds) -> Generator[BatchResult, None, None]:
        """Yield the results of the batches after the first ``done`` sounds; ``folder`` is for temporary files."""


def embed_sounds(
    engine: AaSPEncoder | Engine,
    found: Discovery,
    out: Path,
    options: RunOptions | None = None,
    *,
    overwrite: bool = False,
    lock: bool = True,
    on_sound: OnSound = lambda name, error: None,
    on_seconds: OnSeconds = lambda seconds: None,
) -> RunResult:
    """Embed sounds; write ``out``, its table ``.csv``, its record ``.json``, and ``.errors.csv`` if a sound failed.

    Rows stand in the order of the sounds; a sound that cannot be read has none. Unfinished work is kept in
    ``OUT.partial/``, batch by batch. A run that was stopped in any way continues from there, and ends with the same
    bytes. Older results stay until the new ones are complete.

    Args:
        engine: an encoder, which works on its own device, or an engine.
        found: sounds to embed.
        out: path of the vectors; its ending names the format.
        options: what to compute and how to write it.
        overwrite: start again and replace what is there, but never a file that is read.
        lock: keep other processes away; False where the file system has no locks.
        on_sound: called for every sound that is done, also by an earlier run, with its error if it failed.
        on_seconds: called, from any thread, with seconds of sound as they are encoded; first with those done before.

    Raises:
        OptionError: an option that the encoder does not accept.
        OutputError: another process has the output, or it belongs to other sounds or options.
        AllFailedError: see the class.
        WriteError: the disk is full or fails.
        InterruptedRun: Ctrl-C.

    Warns:
        UserWarning: sounds whose energy lies mostly above 8 kHz, when the results are complete.
    """
    if isinstance(engine, AaSPEncoder):
        engine = LocalEngine([engine])
    settings = (options or RunOptions()).resolve(engine.encoder, engine.device)
    check_apart(out, (sound.path for sound in found.sounds))
    plan = make_plan(found.sounds, settings)
    try:
        with claimed(out, lock) as lost:
            folder = partial_folder(out)
            move_results(folder, out)
            if overwrite:
                clear(folder)
            replaces = overwrite or may_replace(folder, plan)
            if not replaces and (record := finished_record(out, plan)):
                return RunResult(record["rows"], record["failures"], len(plan.sounds))
            again = "the command again without --overwrite" if overwrite else "the same command again"
            return FolderRun(plan, lost, out, replaces, again).carry_out(engine, found.problems, on_sound, on_seconds)
    except ChangedRunError as error:
        raise OutputError(
            f"--out {out}: its unfinished run was another one: {error}; run that again, or give --overwrite."
        ) from error


class FolderRun:
    """A run whose output is claimed.

    Args:
        plan: of the run.
        lost: returns whether the folder of the state was deleted.
        out: path of the vectors.
        replaces: whether it may replace older results.
        again: how the command is repeated to continue, for messages.
    """

    def __init__(self, plan: Plan, lost: Callable[[], bool], out: Path, replaces: bool, again: str) -> None:
        self.plan, self.lost, self.out, self.replaces, self.again = plan, lost, out, replaces, again
        self.state = RunState(partial_folder(out), plan, replaces)

    def carry_out(
        self, engine: Engine, problems: dict[str, str], on_sound: OnSound, on_seconds: OnSeconds
    ) -> RunResult:
        """Embed and publish; if something stops it, raise a sentence on what is kept and how to continue."""
        resumed = self.state.done
        try:
            self._embed(engine, on_sound, on_seconds)
            return RunResult(self.state.rows, self._publish(problems), resumed)
        except OutputError:
            raise
        except KeyboardInterrupt as error:
            raise InterruptedRun(f"interrupted; {self._kept()}; run {self.again} to go on.") from error
        except OSError as error:
            raise WriteError(
                f"{self.out}: writing failed ({error.strerror or error}); {self._kept()}; when it can be written "
                f"again, run {self.again} to go on."
            ) from error

    def _kept(self) -> str:
        if self.lost():
            return f"{self.state.folder} was deleted meanwhile, and nothing is kept"
        return f"{self.state.done} of {len(self.plan.sounds)} sounds are done and kept in {self.state.folder}"

    def _embed(self, engine: Engine, on_sound: OnSound, on_seconds: OnSeconds) -> None:
        """Compute what is left, and once more what the disk does not hold as it was committed."""
        before = 0.0
        for sound, outcome in zip(self.plan.sounds, self.state.outcomes(), strict=False):
            on_sound(sound.name, outcome.error)
            before += outcome.seconds
        on_seconds(before)  # at once, as it says nothing of how fast this run is
        for _ in range(2):
            state = self.state
            with closing(engine.results(self.plan, state.done, state.folder, on_seconds)) as results:
                for result in results:
                    self._commit(result, on_sound)
            if state.holds():
                return
        raise OSError(f"{self.state.folder} does not keep what is written")

    def _commit(self, result: BatchResult, on_sound: OnSound) -> None:
        self._check_folder()
        first = self.state.done
        self.state.commit(result)
        for sound, outcome in zip(self.plan.sounds[first : self.state.done], result.outcomes, strict=True):
            on_sound(sound.name, outcome.error)

    def _publish(self, problems: dict[str, str]) -> int:
        """Put the results in their places; return the number of failures."""
        asked = self.plan.settings.options
        table = RowTable(self.plan.sounds, self.state.outcomes, asked.hop if asked.frames else None)
        failures = len(problems) + sum(1 for _ in table.failures())
        if self.state.rows == 0:
            name, reason = next(table.failures())
            clear(self.state.folder)  # the next run tries again
            raise AllFailedError(
                f"none of the {len(self.plan.sounds)} sounds could be read, so nothing is written; {name}: {reason}"
            )
        shares = zip(self.plan.sounds, self.state.outcomes(), strict=True)
        unheard = [(sound.name, outcome.unheard) for sound, outcome in shares if outcome.unheard > MAX_UNHEARD]
        self._check_folder()
        if not self.replaces:
            finished_record(self.out, self.plan)  # somebody else may have written there meanwhile
        make_results(self.state, self.plan, table, self.out, problems)
        move_results(self.state.folder, self.out)
        warn_unheard(unheard, stacklevel=4)
        return failures

    def _check_folder(self) -> None:
        if self.lost():
            raise FileNotFoundError(f"{self.state.folder} was deleted")
