"""What a run knows of each of its sounds: the outcome, and where the rows are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.contents import Stamp
from aasp_features.folder.plan import Batch, Plan

FACTS_AT_ONCE = 4096  # turned into Python's numbers, which is slow one by one
OPEN, STATE, EARLIER = 0, 1, 2  # where a sound's rows are: nowhere yet, in the run's state, in earlier results
FACTS = np.dtype(
    [
        ("source", np.int8),
        ("first", np.int64),
        ("rows", np.int64),
        ("seconds", np.float64),
        ("sample_rate", np.int64),
        ("channels", np.int64),
        ("frames", np.int64),
        ("unheard", np.float64),
        ("sha256", "S64"),
    ]
)


class Outcome(NamedTuple):
    """Result of one sound.

    Attributes:
        rows: number of its rows; 0 if it failed.
        seconds, sample_rate, channels: of the original.
        frames: log-mel frames behind its rows (frame vectors only).
        error: reason of the failure, in one sentence.
        unheard: share of its energy above half the model's sample rate.
        sha256: of the bytes that were read.
    """

    rows: int = 0
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    error: str | None = None
    unheard: float = 0.0
    sha256: str = ""


NO_OUTCOME = Outcome()


class DoneSound(NamedTuple):
    """A sound that was embedded, or failed: its name and part, its stamp then, and the outcome."""

    name: str
    start: float | None
    end: float | None
    stamp: Stamp
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without those of the outcome that are as always."""
        told = zip(Outcome._fields, self.outcome, NO_OUTCOME, strict=True)
        outcome = {name: value for name, value, always in told if value != always}
        part = {} if self.start is None and self.end is None else {"start": self.start, "end": self.end}
        return {"path": self.name, **part, "stamp": [*self.stamp], **outcome}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DoneSound:
        """Return what ``to_json`` was called on."""
        outcome = Outcome(*map(values.get, Outcome._fields, NO_OUTCOME))
        size, changed, touched = values["stamp"]
        return cls(values["path"], values.get("start"), values.get("end"), (size, changed, touched), outcome)


class Ledger:
    """Outcome of every sound of a plan, and where its rows are.

    Attributes:
        facts: (sounds,) with the names of ``FACTS``.
        errors: reasons of failures, by index.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.facts = np.zeros(len(plan.sounds), FACTS)
        self.errors: dict[int, str] = {}

    @property
    def done(self) -> int:
        """Number of sounds that are done."""
        return int(np.count_nonzero(self.facts["source"]))

    @property
    def rows(self) -> int:
        """Number of their rows."""
        return int(self.facts["rows"].sum())

    def open(self, indices: Iterable[int] | None = None) -> Batch:
        """Return the indices of sounds that are not done, all or of these."""
        source = self.facts["source"]
        if indices is None:
            return [int(index) for index in np.flatnonzero(source == OPEN)]
        return [index for index in indices if source[index] == OPEN]

    def in_order(self) -> NDArray[np.bool_]:
        """Return for each sound whether its rows are in the run's state, at their final place."""
        starts = np.cumsum(self.facts["rows"]) - self.facts["rows"]
        at_place: NDArray[np.bool_] = (self.facts["source"] == STATE) & (self.facts["first"] == starts)
        return at_place

    def note(self, index: int, outcome: Outcome, source: int, first: int) -> None:
        """Note the outcome of a sound, whose rows begin at ``first`` in their source."""
        self.facts[index] = (
            *(source, first, outcome.rows, outcome.seconds, outcome.sample_rate, outcome.channels),
            *(outcome.frames, outcome.unheard, outcome.sha256),
        )
        if outcome.error is not None:
            self.errors[index] = outcome.error

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of every sound, in order."""
        for first in range(0, len(self.facts), FACTS_AT_ONCE):
            facts = self.facts[first : first + FACTS_AT_ONCE].tolist()
            for index, (_, _, rows, seconds, rate, channels, frames, unheard, sha256) in enumerate(facts, first):
                error = self.errors.get(index)
                yield Outcome(rows, seconds, rate, channels, frames, error, unheard, sha256.decode())

    def sounds(self) -> Iterator[DoneSound]:
        """Yield every sound with its outcome, in order."""
        for sound, stamp, outcome in zip(self.plan.sounds, self.plan.stamps, self.outcomes(), strict=True):
            size, changed, touched = stamp.tolist()
            yield DoneSound(sound.name, sound.start, sound.end, (size, changed, touched), outcome)

    def take(self, done: Iterable[DoneSound], source: int, *, renamed: bool = True) -> None:
        """Take over what is done already, if the sound still holds the bytes that were read.

        Args:
            done: sounds in the order of their rows.
            source: where the rows are; failures in ``EARLIER`` results are not taken over, so they are tried again.
            renamed: take over also what has another name now.
        """
        entries = iter(done)
        if (one := next(entries, None)) is None:
            return
        wanted: dict[tuple[Any, ...], list[int]] = defaultdict(list)  # open sounds by name and part
        for index in self.open():
            sound = self.plan.sounds[index]
            wanted[sound.name, sound.start, sound.end].append(index)
        others: dict[tuple[Any, ...], list[tuple[DoneSound, int]]] = defaultdict(list)  # by content and part
        first = 0
        for each in chain([one], entries):
            known = wanted.get((each.name, each.start, each.end))
            if source == EARLIER and each.outcome.error is not None:
                continue
            if known and self._holds(known[0], each):
                self.note(known.pop(0), each.outcome, source, first)
            elif each.outcome.sha256:
                others[each.outcome.sha256, each.start, each.end].append((each, first))
            first += each.outcome.rows
        if others and renamed:
            self._take_renamed(others, source)

    def _take_renamed(self, others: dict[tuple[Any, ...], list[tuple[DoneSound, int]]], source: int) -> None:
        """Take over sounds of another name by their content; only files of a known size are read."""
        sizes = {each.stamp[0] for alike in others.values() for each, _ in alike}
        for index in self.open():
            if int(self.plan.stamps[index, 0]) in sizes:
                sound = self.plan.sounds[index]
                if alike := others.get((sound.content().sha256, sound.start, sound.end)):
                    each, first = alike.pop(0)
                    self.note(index, each.outcome, source, first)

    def _holds(self, index: int, done: DoneSound) -> bool:
        """Return whether a sound has the bytes that were read: by its stamp, or else by its content."""
        if tuple(self.plan.stamps[index].tolist()) == done.stamp:
            return True
        return self.plan.sounds[index].content().sha256 == done.outcome.sha256
