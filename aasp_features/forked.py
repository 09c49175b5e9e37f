"""Computing in a process that was forked from one in which torch had computed.

A fork copies neither the threads of torch's pool nor another thread that holds a lock of the libraries below (MKL's
memory, the random generator). A forked process that waits for either waits for ever.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from contextlib import suppress
from typing import NoReturn

import torch
from torch.nn import functional

from aasp_features.errors import AaSPError

PATIENCE = 2, 20  # seconds of work, and of time, after which a probe has hung: it needs some hundredths of one

_process = os.getpid()  # in which torch is known to answer
_pooled = False  # did it compute there with several threads?
_hung: int | None = None  # process in which torch is known not to answer
_probing = threading.Lock()


class ForkError(AaSPError, RuntimeError):
    """A forked process in which torch cannot compute; the sentence says how to start processes instead."""


def mind_fork() -> None:
    """Check, once in a forked process, that torch answers; call it before any computation.

    If this package used torch's pool before the fork, or the pool does not answer, one thread computes from then on.

    Raises:
        ForkError: a lock that another thread held at the fork is held for ever.

    Warns:
        UserWarning: the process computes with one thread.
    """
    global _pooled
    if _process != os.getpid():
        with _probing:
            _check_forked()
    _pooled = _pooled or torch.get_num_threads() > 1


def _check_forked() -> None:
    global _process, _hung
    if _process == os.getpid():  # another thread has checked meanwhile
        return
    if _hung == os.getpid() or not _answers(1):
        _hung = os.getpid()
        raise ForkError(
            "this process was forked while another thread computed with torch, whose locks are held for ever in it; "
            'start processes by "spawn" (multiprocessing.get_context("spawn")).'
        )
    wanted = torch.get_num_threads()
    answering = wanted if wanted == 1 or (not _pooled and _answers(wanted)) else 1
    torch.set_num_threads(answering)
    _process = os.getpid()
    if answering < wanted:
        warnings.warn(
            "this process was forked after torch's threads had run, and they would never answer in it: it computes "
            'with one thread; start processes by "spawn" (multiprocessing.get_context("spawn")) to use more.',
            stacklevel=4,
        )


def _answers(threads: int) -> bool:
    """Return whether torch computes with this many threads; a child process tries, and may hang, in place of this one.

    It answers through a pipe: an exit status is lost where the signals of ended processes are ignored or handled.
    """
    end, start = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks beside threads: it is why we ask
        probe = os.fork()
    if probe == 0:
        _compute(threads, start)
    os.close(start)
    with open(end, "rb") as answer, suppress(ChildProcessError):
        answered = bool(answer.read(1))
        os.waitpid(probe, 0)
    return answered


def _compute(threads: int, answer: int) -> NoReturn:
    """Use what an encoder uses, write a byte and end; end without one if that takes too long or fails."""
    try:
        for kind in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(kind, signal.SIG_DFL)  # ends the process wherever it waits
        signal.setitimer(signal.ITIMER_PROF, PATIENCE[0])
        signal.alarm(PATIENCE[1])
        torch.set_num_threads(threads)
        numbers = torch.rand(256, 512)
        torch.fft.rfft(numbers)
        square = numbers @ numbers.T
        functional.scaled_dot_product_attention(square, square, square)
        with torch.autocast("cpu", torch.bfloat16):
            functional.linear(numbers, numbers)
        os.write(answer, b"1")
    finally:
        os._exit(0)
