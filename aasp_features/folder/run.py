"""Sounds -> vectors and tables on disk: the whole of ``aasp-embed`` but its arguments."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aasp_features.audio.resampling import MAX_UNHEARD, warn_unheard
from aasp_features.config import PATCH
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import Claim, OutputError, check_apart, claimed, finished_record
from aasp_features.folder.parts import OpenSound, Part
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.publish import clear, make_results, move_results
from aasp_features.folder.state import ChangedRunError, RunState, may_replace
from aasp_features.folder.table import RowTable
from aasp_features.sounds.discovery import Discovery
from aasp_features.windows import COLUMN_SECONDS


class WriteError(AaSPError, OSError):
    """Writing failed in the middle of a run; the sentence says why, what is kept, and how to go on."""

    exit_code = 1


class AllFailedError(AaSPError, ValueError):
    """None of the sounds could be read, so nothing was written."""


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
        resumed_seconds: of the sound after these that were done, too.
    """

    rows: int
    failures: int
    resumed: int
    resumed_seconds: float = 0.0


class Engine(Protocol):
    """Does the parts of a plan; see ``local_engine`` and ``ray_engine``."""

    @property
    def encoder(self) -> AaSPEncoder:
        """What computes the vectors."""

    @property
    def device(self) -> str:
        """Kind of device that the parts are done on."""

    def parts(
        self, plan: Plan, place: int, opened: OpenSound | None, folder: Path, on_seconds: Callable[[float], None]
    ) -> Generator[Part, None, None]:
        """What is left from a sound on, in order.

        Args:
            plan: of the run.
            place: of the first sound that has not ended.
            opened: what was done of it.
            folder: for temporary files.
            on_seconds: called, from any thread, with the seconds of sound that were encoded, as they are.
        """


def embed_sounds(
    engine: AaSPEncoder | Engine,
    found: Discovery,
    out: Path,
    options: RunOptions | None = None,
    *,
    overwrite: bool = False,
    lock: bool = True,
    on_sound: Callable[[str, str | None], None] = lambda name, error: None,
    on_seconds: Callable[[float], None] = lambda seconds: None,
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
        overwrite: start again, whatever is there, and replace it; never a file that is read.
        lock: keep other processes away; False where the file system has no locks.
        on_sound: called for every sound that is done, also by an earlier run, with its error if it failed.
        on_seconds: called, from any thread, with the seconds of sound that were encoded, as they are.

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
        with claimed(out, lock) as claim:
            run = _begin(plan, claim, out, overwrite)
            if isinstance(run, RunResult):
                return run
            again = "the command again without --overwrite" if overwrite else "the same command again"
            return _carry_out(run, found.problems, engine, on_sound, on_seconds, again)
    except ChangedRunError as error:
        raise OutputError(
            f"--out {out}: its unfinished run was another one: {error}; run that again, or give --overwrite."
        ) from error


def _begin(plan: Plan, claim: Claim, out: Path, overwrite: bool) -> FolderRun | RunResult:
    """The run that is to be carried out, or the result of one that was finished."""
    move_results(claim.folder, out)
    if overwrite:
        clear(claim.folder)
    replaces = overwrite or may_replace(claim.folder, plan)
    if not replaces and (record := finished_record(out, plan)):
        return RunResult(record["rows"], record["failures"], len(plan.sounds))
    return FolderRun(plan, claim, out, replaces)


def _carry_out(
    run: FolderRun,
    problems: dict[str, str],
    engine: Engine,
    on_sound: Callable[[str, str | None], None],
    on_seconds: Callable[[float], None],
    again: str,
) -> RunResult:
    """Embed and publish; whatever stops it, what is kept is said, and what to run to go on."""
    resumed, seconds = run.state.place, run.opened_seconds
    try:
        run.embed(engine, on_sound, on_seconds)
        return RunResult(run.state.rows, run.publish(problems), resumed, seconds)
    except OutputError:
        raise
    except (OSError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRun(f"interrupted; {run.kept()}; run {again} to go on.") from error
        raise WriteError(
            f"{run.out}: writing failed ({error.strerror or error}); {run.kept()}; when it can be written again, run "
            f"{again} to go on."
        ) from error


class FolderRun:
    """A run whose output is claimed: embeds part by part, then publishes.

    Attributes:
        state: on disk.
    """

    def __init__(self, plan: Plan, claim: Claim, out: Path, replaces: bool) -> None:
        self.plan, self.claim, self.out, self.replaces = plan, claim, out, replaces
        self.state = RunState(claim.folder, plan, replaces)

    @property
    def opened_seconds(self) -> float:
        """Done of the sound that has not ended."""
        return self.state.opened.frames * COLUMN_SECONDS / PATCH if self.state.opened else 0.0

    def kept(self) -> str:
        """What the next run need not do again, in words."""
        if self.claim.lost:
            return f"{self.claim.folder} was deleted meanwhile, and nothing is kept"
        more = f", and {self.opened_seconds:.0f} s of the next," if self.state.opened else ""
        return f"{self.state.place} of {len(self.plan.sounds)} sounds{more} are done and kept in {self.claim.folder}"

    def embed(
        self, engine: Engine, on_sound: Callable[[str, str | None], None], on_seconds: Callable[[float], None]
    ) -> None:
        """Do what is left, and once more what turns out not to lie on the disk as it was committed."""
        state, sounds, before = self.state, self.plan.sounds, self.opened_seconds
        for sound, outcome in zip(sounds, state.outcomes(), strict=False):
            on_sound(sound.name, outcome.error)
            before += outcome.seconds
        on_seconds(before)  # at once, as it says nothing of how fast this run is
        self._embed_left(engine, on_sound, on_seconds)
        if not state.holds():
            self._embed_left(engine, on_sound, on_seconds)
            if not state.holds():
                raise OSError(f"{state.folder} does not keep what is written")

    def _embed_left(
        self, engine: Engine, on_sound: Callable[[str, str | None], None], on_seconds: Callable[[float], None]
    ) -> None:
        state, sounds = self.state, self.plan.sounds
        with closing(engine.parts(self.plan, state.place, state.opened, state.folder, on_seconds)) as parts:
            for part in parts:
                first = state.place
                with part:
                    self._check_claim()
                    state.commit(part)
                for sound, outcome in zip(sounds[first : state.place], part.outcomes, strict=True):
                    on_sound(sound.name, outcome.error)

    def publish(self, problems: dict[str, str]) -> int:
        """Put the results in their places; returns the number of failures."""
        hop = self.plan.settings.hop if self.plan.settings.frames else None
        table = RowTable(self.plan.sounds, self.state.outcomes, hop)
        failures = len(problems) + sum(1 for _ in table.failures())
        if self.state.rows == 0:
            self._fail_all(table)
        shares = zip((sound.name for sound in self.plan.sounds), self.state.outcomes(), strict=True)
        unheard = [(name, outcome.unheard) for name, outcome in shares if outcome.unheard > MAX_UNHEARD]
        self._check_claim()
        if not self.replaces:
            finished_record(self.out, self.plan)  # has somebody else written there meanwhile?
        make_results(self.state, self.plan, table, self.out, problems)
        move_results(self.state.folder, self.out)
        warn_unheard(unheard, stacklevel=4)
        return failures

    def _check_claim(self) -> None:
        if self.claim.lost:
            raise FileNotFoundError(f"{self.claim.folder} was deleted")

    def _fail_all(self, table: RowTable) -> None:
        name, reason = next(table.failures())
        clear(self.state.folder)  # what is wrong may be mended, so the next run tries again
        raise AllFailedError(
            f"none of the {len(self.plan.sounds)} sounds could be read, so nothing is written; {name}: {reason}"
        )
