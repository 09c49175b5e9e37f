"""Computing in a process that was forked from one in which torch's threads had run: there, they never answer."""

from __future__ import annotations

import os
import warnings

import torch

_computing: int | None = None  # process in which torch's threads were used by this package


def mind_fork() -> None:
    """Called before anything is computed: where torch would wait for ever, compute with one thread, and warn.

    Only a use of threads by this package is known of. Processes that set one thread themselves, such as the workers of
    torch's ``DataLoader``, are left alone.
    """
    global _computing
    if torch.get_num_threads() == 1:
        return
    if _computing is None:
        _computing = os.getpid()
    elif _computing != os.getpid():
        torch.set_num_threads(1)
        warnings.warn(
            "this process was forked after torch's threads had run, and they would never answer in it: it computes "
            'with one thread; start processes by "spawn" (multiprocessing.get_context("spawn")) to use more.',
            stacklevel=3,
        )
