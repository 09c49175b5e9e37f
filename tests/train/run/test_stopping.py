"""Ctrl-C and SIGTERM in processes of their own: a saved state, a sentence, the exit code of the signal."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm_process import WarmProcess

from aasp_features.train.run.state import read_record
from aasp_features.train.run.stopping import StoppedError, ending_in_a_sentence, handled_by, noting_requests

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
TESTS = Path(__file__).resolve().parents[1]

TRAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
sys.path[:0] = [{tests!r}, {tests!r} + "/pretrain"]
import typer
from loop_helpers import start
from aasp_features.train.cli import TrainCommand
app = typer.Typer()

@app.command(cls=TrainCommand)
def train(out: Path) -> None:
    run = start(out, run={{"steps": 10**6}})
    step = run.step
    def told() -> None:
        step()
        print(run.progress.step, flush=True)
    run.step = told
    run.run()

app()
"""


@pytest.fixture(autouse=True)
def obeying() -> Iterator[None]:
    """A shell lets what it starts in the background ignore Ctrl-C, these tests too; and Ray handles SIGTERM."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says(tmp_path: Path, number: signal.Signals, code: int) -> None:
    run = WarmProcess(TRAIN.format(tests=str(TESTS)), tmp_path)
    while run.process.is_alive() and run.said().count("\n") < 3:
        time.sleep(0.02)
    os.kill(run.process.pid, number)
    done = run.finish()
    assert done.returncode == code, done.stderr
    step = read_record(tmp_path)[0].step
    assert step >= 3
    assert done.stdout.split()[-1] == str(step)
    assert done.stderr == f"aasp-train: stopped at step {step}; run the same command again to continue.\n"


def twice() -> None:
    with noting_requests() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)


def test_the_second_signal_is_obeyed_at_once() -> None:
    with pytest.raises(StoppedError, match="stopped at once") as stopped:
        twice()
    assert stopped.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_outside_a_step() -> None:
    with pytest.raises(StoppedError, match="ended by SIGTERM") as stopped, ending_in_a_sentence():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.exit_code == 143


def test_what_is_ignored_stays_ignored_and_other_threads_change_nothing() -> None:
    with handled_by(signal.SIG_IGN, (signal.SIGTERM,)), noting_requests() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == 0
    entered = []

    def other() -> None:
        with noting_requests() as request:
            entered.append(request.number)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert entered == [0]
