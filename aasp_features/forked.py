"""One thread in a forked process: a fork copies none of the threads of torch's pool, and waiting for one never ends."""

from __future__ import annotations

import os
import warnings

import torch

_process = os.getpid()  # in which torch's pool can be used


def mind_fork() -> None:
    """Make torch compute with one thread in a process that was forked since the import; call it before computing.

    Warns:
        UserWarning: torch had more threads.
    """
    global _process
    if _process == os.getpid():
        return
    _process = os.getpid()
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        warnings.warn(
            "this process was forked, and torch's threads do not survive a fork: it computes with one thread; start "
            'processes by "spawn" (multiprocessing.get_context("spawn")) to use more.',
            stacklevel=3,
        )
