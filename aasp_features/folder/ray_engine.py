"""Batches on a Ray cluster: actors hold the encoder, this process writes.

Only where the work is done differs from the local engine: plan, order, state on disk and output are the same, so a run
may be stopped and gone on with in the same way. Ray starts actors that die again and repeats what they had not given.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Generator, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder.batch_work import BatchWork
from aasp_features.folder.options import RunSettings
from aasp_features.folder.parts import OpenSound, Part
from aasp_features.folder.plan import Plan

Piece = dict[str, Any]  # numbers of batch and part; content: of the first piece the pickled head, then bytes of rows
PIECE_BYTES = 2**24


class RayEngine:
    """Gives a plan's parts in order, done by actors.

    Joins the cluster that ``RAY_ADDRESS`` names, or starts one on this machine. Every node must be able to read the
    sounds under the paths that this process found them at.

    Args:
        encoder: on the CPU; it is sent to the actors, which need no checkpoint.
        replicas: actors; None takes one for each GPU, or as many as the cluster's CPUs give this process' number of
            threads.
        device: of the actors; None takes ``cuda`` where the cluster has GPUs.

    Attributes:
        device: kind of device that the parts are done on.

    Raises:
        OptionError: Ray is not installed, ``replicas`` is below 1, or the cluster has too little for them.
        RuntimeError: torch knows no such device.
    """

    def __init__(self, encoder: AaSPEncoder, replicas: int | None = None, device: str | None = None) -> None:
        if replicas is not None and replicas < 1:
            raise OptionError(f"replicas must be at least 1, got {replicas}.")
        self.encoder, self.threads = encoder, torch.get_num_threads()
        kind = None if device is None else torch.device(device).type
        _join_cluster(self.threads * (replicas or 1))
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.device = kind or ("cuda" if resources.get("GPU") else "cpu")
        unit, each = ("GPU", 1) if self.device == "cuda" else ("CPU", self.threads)
        available = int(resources.get(unit, 0))
        self.replicas = replicas or max(1, available // each)
        if self.replicas * each > available:  # Ray would wait for them for ever
            raise OptionError(
                f"{self.replicas} replicas on {self.device} need {self.replicas * each} {unit}s, the Ray cluster has "
                f"{available}; give fewer --replicas or another --device."
            )
        self._needs: dict[str, Any] = {f"num_{unit.lower()}s": each}

    def parts(
        self, plan: Plan, place: int, opened: OpenSound | None, folder: Path, on_seconds: Callable[[float], None]
    ) -> Generator[Part, None, None]:
        """Do what is left from a sound on; temporary files lie where the actors are, not in ``folder``."""
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # so that each piece comes as soon as it is made
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        left = [slice(places.start, places.stop) for places in plan.left(place)]
        if not left:
            return
        tasks = [
            {"batch": number, "sounds": pickle.dumps((plan.sounds[of], plan.stamps[of], None if number else opened))}
            for number, of in enumerate(left)
        ]
        pieces = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            Replica,
            fn_constructor_args=(ray.put(self.encoder), plan.settings, self.device, self.threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.replicas, len(tasks))),
            **self._needs,
        )
        for _, of_part in groupby(pieces.iter_rows(), key=lambda piece: (piece["batch"], piece["part"])):
            seconds, part = _part(of_part, plan.settings.width, plan.settings.dtype)
            on_seconds(seconds)
            yield part


class Replica:
    """One actor's encoder.

    Args:
        encoder: reference to it.
        settings: what to compute.
        device: where.
        threads: of torch.
    """

    def __init__(self, encoder: Any, settings: RunSettings, device: str, threads: int) -> None:
        import ray

        torch.set_num_threads(threads)
        self.encoder: AaSPEncoder = ray.get(encoder).to(device)
        self.settings, self.threads = settings, threads

    def __call__(self, task: dict[str, NDArray[Any]]) -> Iterator[dict[str, list[Any]]]:
        """Do one batch; gives its parts in pieces."""
        sounds, stamps, opened = pickle.loads(task["sounds"][0])
        seconds: list[float] = []
        work = BatchWork(self.encoder, sounds, stamps, self.settings, on_seconds=seconds.append)
        for number, part in enumerate(work.parts([range(len(sounds))], self.threads, opened)):
            own: dict[str, list[Any]] = {"batch": [task["batch"][0]], "part": [number]}
            with part:
                head = pickle.dumps((part.outcomes, part.opened, part.last, sum(seconds)))
                yield {**own, "content": [head], "open": [False]}
                for going_on, pieces in ((False, part.rows), (True, part.open_rows)):
                    for rows in joined(pieces):
                        yield {**own, "content": [rows.tobytes()], "open": [going_on]}
            seconds.clear()


def joined(pieces: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Pieces of rows in larger ones, as each costs Ray something."""
    waiting: list[NDArray[Any]] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(rows.nbytes for rows in waiting) >= PIECE_BYTES:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _part(pieces: Iterator[Piece], width: int, dtype: str) -> tuple[float, Part]:
    """A part, and the seconds of sound that were encoded for it."""
    outcomes, opened, last, seconds = pickle.loads(next(pieces)["content"])
    groups = groupby(pieces, key=lambda piece: piece["open"])
    waiting: list[Any] = []

    def rows(going_on: bool) -> Iterator[NDArray[Any]]:
        group = waiting.pop() if waiting else next(groups, None)
        if group is not None and group[0] != going_on:
            waiting.append(group)
        elif group is not None:
            for piece in group[1]:
                yield np.frombuffer(piece["content"], dtype).reshape(-1, width)

    return seconds, Part(outcomes, opened, last, rows(False), rows(True))


def _join_cluster(cpus: int) -> None:
    """Join or start a cluster unless this process is in one; quietly, and nothing is reported to Ray's makers."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        import ray
        import ray.data  # fails here where the extra is incomplete
    except ImportError as error:
        raise OptionError('engine ray needs Ray: pip install "aasp-features[ray]".') from error
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if "RAY_ADDRESS" in os.environ:
        ray.init(**quiet)
    else:
        ray.init(num_cpus=max(cpus, os.cpu_count() or 1), **quiet)
