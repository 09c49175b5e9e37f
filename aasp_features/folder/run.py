"""Sounds -> vectors and tables on disk: all of ``aasp-embed`` except its arguments."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aasp_features.audio.resampling import MAX_UNHEARD, warn_unheard
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder.formats import RowTable
from aasp_features.folder.lance_table import finished_table, publish_table, table_sounds
from aasp_features.folder.ledger import EARLIER, STATE, DoneSound, Ledger
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import (
    OutputError,
    check_apart,
    claimed,
    clear,
    earlier_record,
    finished_record,
    make_results,
    move_results,
    partial_folder,
    read_sounds,
)
from aasp_features.folder.plan import Batch, Plan, make_plan
from aasp_features.folder.results import read_earlier
from aasp_features.folder.state import BatchResult, ChangedRunError, OnSeconds, RunRows, RunState, unfinished
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

    def results(
        self, plan: Plan, batches: Sequence[Batch], folder: Path, on_seconds: OnSeconds
    ) -> Generator[BatchResult, None, None]:
        """Yield the results of batches of a plan, in order; ``folder`` is for temporary files."""


def embed_sounds(
    engine: AaSPEncoder | Engine,
    found: Discovery,
    out: Path,
    options: RunOptions | None = None,
    *,
    overwrite: bool = False,
    update: bool = False,
    lock: bool = True,
    on_sound: OnSound = lambda name, error: None,
    on_seconds: OnSeconds = lambda seconds: None,
) -> RunResult:
    """Embed sounds; write ``out``, its table ``.csv``, its record ``.json``, and ``.errors.csv`` if a sound failed.

    Rows stand in the order of the sounds; a sound that cannot be read has none. Unfinished work is kept in
    ``OUT.partial/``, batch by batch. A run that was stopped in any way continues from there, and ends with the same
    bytes. Older results stay until the new ones are complete. ``OUT.sounds.jsonl`` lists what was read, for updates.

    Args:
        engine: an encoder, which works on its own device, or an engine.
        found: sounds to embed.
        out: path of the vectors; its ending names the format.
        options: what to compute and how to write it.
        overwrite: start again and replace what is there, but never a file that is read.
        update: keep the rows of sounds that are unchanged since an earlier run of the same settings, also under another
            name; embed those that are new or changed, try those that failed again, and drop those that are gone.
        lock: keep other processes away; False where the file system has no locks.
        on_sound: called for every sound that is done, also by an earlier run, with its error if it failed.
        on_seconds: called, from any thread, with seconds of sound as they are encoded; first with those done before.

    Raises:
        OptionError: an option that the encoder does not accept.
        OutputError: another process has the output, or it belongs to other options or, without ``update``, sounds.
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
    with claimed(out, lock) as lost:
        run = _begin(plan, lost, out, overwrite, update)
        return run if isinstance(run, RunResult) else run.carry_out(engine, found.problems, on_sound, on_seconds)


def _begin(plan: Plan, lost: Callable[[], bool], out: Path, overwrite: bool, update: bool) -> FolderRun | RunResult:
    """Return the run, begun or continued, or the result where nothing is to be done."""
    folder = partial_folder(out)
    move_results(folder, out)
    if overwrite:
        clear(folder)
    begun = unfinished(folder, plan)
    replaces = "overwrite" if overwrite or begun == "overwrite" else "update" if update or begun else ""
    if replaces != "overwrite" and (record := _finished(out, plan, replaces)):
        return RunResult(record["rows"], record["failures"], len(plan.sounds))
    again = "the command again without --overwrite" if overwrite else "the same command again"
    try:
        return FolderRun(plan, lost, out, replaces, again)
    except ChangedRunError as error:
        raise OutputError(
            f"--out {out}: its unfinished run was another one: {error}; run that again, or give --overwrite."
        ) from error


def _finished(out: Path, plan: Plan, replaces: str) -> dict[str, Any] | None:
    """Return the record of results that need no more work, if there are such; see ``finished_record``."""
    if out.suffix == ".lance":
        return finished_table(out, plan, replaces)
    if not replaces:
        return finished_record(out, plan)
    record = earlier_record(out, plan)
    if record is None or record["failures"] or plan.differs_from(record):
        return None
    return record if plan.is_of(record, "names_sha256", "stamps_sha256") else None


class FolderRun:
    """A run whose output is claimed.

    Args:
        plan: of the run.
        lost: returns whether the folder of the state was deleted.
        out: path of the vectors.
        replaces: ``overwrite`` or ``update``, where it may replace older results.
        again: how the command is repeated to continue, for messages.

    Raises:
        ChangedRunError: the unfinished run has other settings.
        OutputError: sounds that are done were changed or moved, and it is no update.
    """

    def __init__(self, plan: Plan, lost: Callable[[], bool], out: Path, replaces: str, again: str) -> None:
        self.plan, self.lost, self.out, self.replaces, self.again = plan, lost, out, replaces, again
        self.state = RunState(partial_folder(out), plan)
        self.earlier = read_earlier(out) if replaces == "update" and out.suffix != ".lance" else None
        self.ledger, self.batches = self._take_stock()
        self.state.begin(replaces)

    def _take_stock(self) -> tuple[Ledger, list[Batch]]:
        """Return what is done, and the batches of what this run computes, done or not."""
        ledger = Ledger(self.plan)
        ledger.take(self._earlier_sounds(), EARLIER, renamed=self.out.suffix != ".lance")
        batches = self.plan.batches(ledger.open())
        if self.state.sounds:
            ledger.take(self.state.done_sounds(), STATE)
            if self.replaces != "update":
                self._check_resumed(ledger, batches)
        return ledger, batches

    def _earlier_sounds(self) -> Iterator[DoneSound]:
        """Return an iterator over the sounds of the results that an update starts from."""
        if self.replaces == "update" and self.out.suffix == ".lance":
            return table_sounds(self.out)
        return read_sounds(self.out) if self.earlier is not None else iter(())

    def _check_searched(self, problems: dict[str, str]) -> None:
        """Check that no row would be dropped because its folder cannot be searched at the moment."""
        names = {sound.name for sound in self.plan.sounds} if problems else set()
        for sound in self._earlier_sounds() if problems else ():
            parents = {sound.name, *map(str, Path(sound.name).parents)}
            if sound.name not in names and (hidden := parents & problems.keys()):
                raise OutputError(
                    f"--out {self.out}: --update would drop the rows of {hidden.pop()}, which cannot be searched now; "
                    "nothing was done: give it again when it can be read."
                )

    def _check_resumed(self, ledger: Ledger, batches: list[Batch]) -> None:
        """Check that whole batches are done, in the current order of the sounds: the bytes depend on it."""
        done = [index for batch in batches if not ledger.open(batch) for index in batch]
        moved = np.flatnonzero(~ledger.in_order()[: self.state.sounds]).tolist()
        if done == list(range(self.state.sounds)) and not moved:
            return
        first = self.plan.sounds[moved[0]].name if moved else "the last batch"
        raise OutputError(
            f"--out {self.out}: its unfinished run was another one: {self.state.sounds} of its sounds are done, and "
            f"since then sounds were changed, added, removed or moved (see {first}); give --update to continue "
            "with the current sounds, or --overwrite."
        )

    def carry_out(
        self, engine: Engine, problems: dict[str, str], on_sound: OnSound, on_seconds: OnSeconds
    ) -> RunResult:
        """Embed and publish; if something stops it, raise a sentence on what is kept and how to continue."""
        resumed = self.ledger.done
        self._check_searched(problems)
        try:
            self._embed(engine, on_sound, on_seconds)
            return RunResult(self.ledger.rows, self._publish(problems), resumed)
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
        earlier = int(np.count_nonzero(self.ledger.facts["source"] == EARLIER))
        done = min(earlier + self.state.sounds, len(self.plan.sounds))  # as the disk has it
        return f"{done} of {len(self.plan.sounds)} sounds are done and kept in {self.state.folder}"

    def _embed(self, engine: Engine, on_sound: OnSound, on_seconds: OnSeconds) -> None:
        """Compute what is left, and once more what the disk does not hold as it was committed."""
        ledger = self.ledger
        for index in np.flatnonzero(ledger.facts["source"]).tolist():
            on_sound(self.plan.sounds[index].name, ledger.errors.get(index))
        on_seconds(float(ledger.facts["seconds"].sum()))  # at once, as it says nothing of how fast this run is
        for _ in range(2):
            left = [rest for batch in self.batches if (rest := self.ledger.open(batch))]
            with closing(engine.results(self.plan, left, self.state.folder, on_seconds)) as results:
                for batch, result in zip(left, results, strict=True):
                    self._commit(batch, result, on_sound)
            if self.state.holds():
                return
            self.ledger, self.batches = self._take_stock()
        raise OSError(f"{self.state.folder} does not keep what is written")

    def _commit(self, batch: Batch, result: BatchResult, on_sound: OnSound) -> None:
        self._check_folder()
        first = self.state.rows
        self.state.commit(batch, result)
        for index, outcome in zip(batch, result.outcomes, strict=True):
            self.ledger.note(index, outcome, STATE, first)
            first += outcome.rows
        for index, outcome in zip(batch, result.outcomes, strict=True):
            on_sound(self.plan.sounds[index].name, outcome.error)

    def _publish(self, problems: dict[str, str]) -> int:
        """Put the results in their places; return the number of failures."""
        ledger = self.ledger
        if ledger.rows == 0:
            index, reason = next(iter(ledger.errors.items()))
            clear(self.state.folder)  # the next run tries again
            raise AllFailedError(
                f"none of the {len(self.plan.sounds)} sounds could be read, so nothing is written; "
                f"{self.plan.sounds[index].name}: {reason}"
            )
        self._check_folder()
        table = RowTable(self.plan.sounds, ledger.outcomes, self.plan.settings.options)
        if self.out.suffix == ".lance":
            publish_table(RunRows(ledger, self.state), table, self.out, problems, self.replaces)
            clear(self.state.folder)
        else:
            if not self.replaces:
                finished_record(self.out, self.plan)  # somebody else may have written there meanwhile
            make_results(RunRows(ledger, self.state, *(self.earlier or ())), table, self.out, problems)
            self.earlier = None  # closes a file that is replaced now, which some systems require
            move_results(self.state.folder, self.out)
        self._warn_unheard()
        return len(problems) + len(ledger.errors)

    def _warn_unheard(self) -> None:
        facts = self.ledger.facts
        new = np.flatnonzero((facts["source"] == STATE) & (facts["unheard"] > MAX_UNHEARD)).tolist()
        warn_unheard([(self.plan.sounds[index].name, float(facts["unheard"][index])) for index in new], stacklevel=5)

    def _check_folder(self) -> None:
        if self.lost():
            raise FileNotFoundError(f"{self.state.folder} was deleted")
