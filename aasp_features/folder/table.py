"""The table of rows: what each row of the vectors is, read again from the run's log whenever a writer needs it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aasp_features.folder.parts import Outcome
from aasp_features.sounds.sound import Sound
from aasp_features.windows import grid_times

ERROR_COLUMNS = ["path", "error"]


class RowTable:
    """Iterate, any number of times, for one list of values a row.

    Args:
        sounds: of the run.
        outcomes: makes an iterator over what became of each of them.
        hop: seconds between frame vectors; None for clip vectors.

    Attributes:
        columns: names of the values: row, path, start and end where parts were asked for, then seconds, sample_rate
            and channels of the original; or, for frame vectors, time in seconds.
    """

    def __init__(
        self, sounds: Sequence[Sound], outcomes: Callable[[], Iterator[Outcome]], hop: float | None = None
    ) -> None:
        self.sounds, self.outcomes, self.hop = sounds, outcomes, hop
        self._parts = any(sound.start is not None or sound.end is not None for sound in sounds)
        parts = ["start", "end"] if self._parts else []
        facts = ["seconds", "sample_rate", "channels"] if hop is None else ["time"]
        self.columns = ["row", "path", *parts, *facts]

    def __iter__(self) -> Iterator[list[Any]]:
        row = 0
        for sound, outcome in zip(self.sounds, self.outcomes(), strict=True):
            name = [sound.name, *([sound.start, sound.end] if self._parts else [])]
            for facts in self._facts(outcome) if outcome.rows else []:
                yield [row, *name, *facts]
                row += 1

    def _facts(self, outcome: Outcome) -> list[list[Any]]:
        if self.hop is None:
            return [[outcome.seconds, outcome.sample_rate, outcome.channels]]
        return [[time] for time in grid_times(outcome.frames, self.hop)]

    def failures(self) -> Iterator[list[str]]:
        """Path and reason of each sound that failed."""
        for sound, outcome in zip(self.sounds, self.outcomes(), strict=True):
            if outcome.error is not None:
                yield [sound.name, outcome.error]


def write_csv(path: Path, columns: list[str], rows: Iterable[list[Any]]) -> None:
    """Write a CSV file; seconds with six digits, names as the file system has them."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for row in rows:
            table.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in row])


def plain_text(name: str) -> str:
    """A name for formats that hold UTF-8 only: bytes that are not become ``\\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
