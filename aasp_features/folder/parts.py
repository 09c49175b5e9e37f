"""A part of a run's work: what is committed at once. It may end inside a sound, which then goes on in the next part."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcome:
    """What became of one sound.

    Attributes:
        rows: that it has; 0 if it failed.
        seconds, sample_rate, channels: of the original.
        frames: log-mel frames that its rows stand for (frame vectors only).
        error: why it failed, in one sentence.
        unheard: the share of its energy above half the model's rate.
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

    def to_json(self) -> dict[str, Any]:
        """Plain values, without those that are their defaults."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Outcome(), name)}


@dataclass(frozen=True)
class OpenSound:
    """A sound that the parts so far have done the beginning of.

    Attributes:
        rounds: windows done in each pass over it.
        rows: that it has so far (frame vectors only).
        frames: log-mel frames done.
        sums: of its clip vector so far, (d,) float64 by name (clip vectors only).
        sha256: of the bytes that are read.
    """

    rounds: int
    rows: int
    frames: int
    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, the sums to the last bit."""
        sums = {name: base64.b64encode(value.astype("<f8").tobytes()).decode() for name, value in self.sums.items()}
        return {"rounds": self.rounds, "rows": self.rows, "frames": self.frames, "sums": sums, "sha256": self.sha256}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> OpenSound:
        """What ``to_json`` gave."""
        sums = {name: np.frombuffer(base64.b64decode(text), "<f8") for name, text in values["sums"].items()}
        return cls(values["rounds"], values["rows"], values["frames"], sums, values["sha256"])


@dataclass(frozen=True)
class Part:
    """What a part gave; a context manager, as its rows may lie in a temporary file.

    Attributes:
        outcomes: of the sounds that ended in it, in order; the first may have begun in an earlier part.
        opened: the sound after these, if its beginning was done.
        last: does it end the batch?
        rows: (n, width) pieces of the sounds that ended, in order, read as they are asked for.
        open_rows: of the one that goes on; they follow.
        close: lets the temporary file go.
    """

    outcomes: list[Outcome]
    opened: OpenSound | None
    last: bool
    rows: Iterator[NDArray[Any]]
    open_rows: Iterator[NDArray[Any]] = field(default_factory=lambda: iter(()))
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
