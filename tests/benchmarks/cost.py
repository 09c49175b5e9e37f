"""What a piece of work costs: seconds, seconds of processor time, and the peak of its anonymous memory (Linux).

Pages of mapped files count apart: the system drops them when it needs memory.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

EVERY = 0.005  # seconds between two samples


class Cost:
    """Seconds, processor seconds, and peaks of anonymous and file-backed memory in MB."""

    def __init__(self) -> None:
        self.seconds = self.processor = self.anonymous = self.mapped = 0.0

    def __str__(self) -> str:
        return f"{self.seconds:.1f} | {self.processor:.1f} | {self.anonymous:.0f} | {self.mapped:.0f}"

    def watch(self, pid: int, done: Event) -> None:
        """Sample the memory of a process until it is done."""
        while not done.wait(EVERY):
            with suppress(OSError, ValueError):
                status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                if "RssAnon" in status:
                    self.anonymous = max(self.anonymous, int(status["RssAnon"].split()[0]) / 1000)
                    self.mapped = max(self.mapped, int(status["RssFile"].split()[0]) / 1000)


@contextmanager
def measured(pid: int | None = None) -> Iterator[Cost]:
    """Measure what is done meanwhile by this process and its children; memory of ``pid`` (default: this one)."""
    cost, done, began, before = Cost(), Event(), time.perf_counter(), sum(os.times()[:4])
    thread = Thread(target=cost.watch, args=(pid or os.getpid(), done), daemon=True)
    thread.start()
    try:
        yield cost
    finally:
        done.set()
        thread.join()
        cost.seconds, cost.processor = time.perf_counter() - began, sum(os.times()[:4]) - before


def run(arguments: Sequence[object]) -> tuple[Cost, str]:
    """Run Python with arguments in a process of its own; return its cost and output."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with measured(process.pid) as cost:
        out, error = process.communicate()
    assert process.returncode == 0, error
    return cost, out
