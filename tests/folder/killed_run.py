"""A run that kills its own process, without any farewell, at its n-th step on the disk."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

from aasp_features import AaSPEncoder
from aasp_features.folder import plan
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import find_sounds


def run(checkpoint: Path, sounds: Path, out: Path, options: dict, kill_at: int) -> None:
    """Small batches; dies before the ``kill_at``-th call that changes the disk for good; never if 0."""
    plan.BATCH_SOUNDS = 3
    steps = 0

    def counted(function: Callable) -> Callable:
        @functools.wraps(function)
        def step(*arguments: object, **options: object) -> object:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return step

    for name in ("fsync", "replace", "truncate", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    embed_sounds(AaSPEncoder.from_pretrained(checkpoint), find_sounds([sounds]), out, RunOptions(**options))
