"""Progress of a run: a bar in a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from aasp_features.sounds.sound import Sound

if TYPE_CHECKING:
    from rich.console import Console

HEADERS_READ = 200
LINE_EVERY = 10.0  # seconds


def estimated_seconds(sounds: Sequence[Sound]) -> float:
    """Return the length of all sounds, from the headers of 200 of them and the sizes of the others, by ending."""
    step = -(-len(sounds) // HEADERS_READ)
    seconds, size = defaultdict[str, float](float), defaultdict[str, int](int)  # of the chosen, as whole files
    for sound in sounds[::step]:
        with suppress(Exception):  # a sound that cannot be read is reported in its turn
            seconds[sound.suffix] += sound.stream(16000).info.seconds
            size[sound.suffix] += sound.stamp()[0]
    return sum(_length(sound, seconds[sound.suffix] / max(1, size[sound.suffix])) for sound in sounds)


def _length(sound: Sound, seconds_a_byte: float) -> float:
    whole = sound.stamp()[0] * seconds_a_byte
    end = whole if sound.end is None else min(sound.end, whole)
    return max(0.0, end - (sound.start or 0.0))


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds: ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def progress_line(done: float, total: float, speed: float | None) -> str:
    """Return ``0:12:00 of about 1:00:00 of sound, 31x``; the last is the speed over real time."""
    rate = "" if speed is None else f", {speed:.0f}x" if speed >= 10 else f", {speed:.1f}x"
    return f"{clock(done)} of about {clock(max(done, total))} of sound{rate}"


@contextmanager
def progress_bar(console: Console, seconds: float) -> Iterator[Callable[[float], None]]:
    """Show a bar with rate and time left; give the function that is called with seconds of sound."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class SoundColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(progress_line(task.completed, task.total or 0.0, task.speed))

    columns = BarColumn(), SoundColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, speed_estimate_period=120) as bar:
        task = bar.add_task("", total=seconds)
        yield lambda done: bar.advance(task, done)


class ProgressLines:
    """Progress in lines, one every 10 s. Called, from any thread, with the amount that was done.

    The first call tells what was done before, and does not count for the speed.

    Args:
        say: prints a line.
        total: returns the amount to be done; called when the first line is due.
        line: makes a line of the amount done, the total, and the amount a second.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        total: Callable[[], float],
        line: Callable[[float, float, float], str] = progress_line,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._total, self._line, self._now = say, cache(total), line, now
        self._lock = Lock()
        self._begun: float | None = None

    def __call__(self, done: float) -> None:
        """Count ``done``, and print a line if one is due."""
        with self._lock:
            now = self._now()
            if self._begun is None:
                self._begun = self._said = now
                self._done = self._before = done
                return
            self._done += done
            speed = (self._done - self._before) / max(1e-9, now - self._begun)
            if now - self._said >= LINE_EVERY and speed > 0:
                self._said = now
                left = clock(max(0.0, self._total() - self._done) / speed)
                self._say(f"{self._line(self._done, self._total(), speed)}, {left} left")
