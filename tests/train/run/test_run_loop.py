"""A run of steps ends by steps, by time, by a pause or by a signal, and what was done is saved."""

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.train.run.loop import Run
from aasp_features.train.run.stopping import StoppedError


class Counting(Run):
    """Steps of a second each, without computing; a signal may come during one of them."""

    steps = 10
    save_seconds = 1e9

    def __init__(self, folder: Path, max_seconds: float | None = None, signal_at: int | None = None) -> None:
        super().__init__(folder, torch.device("cpu"), max_seconds)
        self.saved: list[int] = []
        self.signal_at = signal_at

    def step(self) -> None:
        self.progress.step += 1
        self.progress.seconds += 1.0
        if self.progress.step == self.signal_at:
            signal.raise_signal(signal.SIGTERM)

    def save(self) -> None:
        self.saved.append(self.progress.step)


def test_it_ends_by_steps_or_by_time(tmp_path: Path) -> None:
    for budget, steps in ((None, 10), (4.0, 4), (100.0, 10)):
        run = Counting(tmp_path, budget)
        assert run.run()
        assert (run.progress.step, run.saved, run.done) == (steps, [steps], 1.0)


def test_a_pause_and_a_signal_save_first(tmp_path: Path) -> None:
    paused = Counting(tmp_path)
    assert not paused.run(stop_after=-1.0)
    assert (paused.progress.step, paused.saved) == (0, [0])
    stopped = Counting(tmp_path, signal_at=3)
    with pytest.raises(StoppedError, match="stopped at step 3; run the same command again"):
        stopped.run()
    assert stopped.saved == [3]
    assert stopped.run()
    assert (stopped.progress.step, stopped.saved) == (10, [3, 10])


def test_it_saves_regularly(tmp_path: Path) -> None:
    run = Counting(tmp_path)
    run.save_seconds = -1.0
    run.run()
    assert run.saved == [*range(1, 11), 10]


@given(st.floats(0, 20), st.floats(0, 100), st.none() | st.floats(1, 100))
def test_the_fraction_is_that_of_what_ends_first(step: float, seconds: float, budget: float | None) -> None:
    run = Counting(Path(), budget)
    run.progress.seconds = seconds
    shares = [step / 10, seconds / budget if budget else 0.0, 0.0]
    assert run.done_before(step) == min(1.0, max(shares))
