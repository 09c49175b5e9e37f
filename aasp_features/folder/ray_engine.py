"""Batches of sounds -> outcomes and rows, on a Ray cluster: actors hold the encoder, this process writes.

Plan, order, state on disk and output are those of the local engine, so either engine can continue the other's run. Ray
starts an actor that died again, and repeats its batch.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Generator, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder.local_engine import BatchWork
from aasp_features.folder.options import RunSettings
from aasp_features.folder.plan import Batch, Plan
from aasp_features.folder.state import BatchResult, OnSeconds

PIECE_BYTES = 2**24


class RayEngine:
    """Engine of a Ray cluster.

    Joins the cluster that ``RAY_ADDRESS`` names, or starts one on this machine. Every node must be able to read the
    sounds under the paths at which this process found them.

    Args:
        encoder: on the CPU; it is sent to the actors, which need no checkpoint.
        replicas: number of actors (default: one a GPU; without GPUs, as many as can have this process' number of
            threads).
        device: of the actors (default: ``cuda`` where the cluster has GPUs, else ``cpu``).

    Attributes:
        device: kind of device that computes.

    Raises:
        OptionError: Ray is not installed, ``replicas`` is below 1, or the cluster has too few CPUs or GPUs for them.
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

    def results(
        self, plan: Plan, batches: Sequence[Batch], folder: Path, on_seconds: OnSeconds
    ) -> Generator[BatchResult, None, None]:
        """Yield the results of a plan's batches; see ``run.Engine``. Temporary files stay with the actors."""
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # so that each piece comes as soon as it is made
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        if not batches:
            return
        tasks = [
            {"batch": number, "sounds": pickle.dumps(([plan.sounds[index] for index in batch], plan.stamps[batch]))}
            for number, batch in enumerate(batches)
        ]
        pieces = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            Replica,
            fn_constructor_args=(ray.put(self.encoder), plan.settings, self.device, self.threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.replicas, len(tasks))),
            **self._needs,
        )
        for _, of_batch in groupby(pieces.iter_rows(), key=itemgetter("batch")):
            result = _result((piece["content"] for piece in of_batch), plan.settings)
            on_seconds(sum(outcome.seconds for outcome in result.outcomes))
            yield result


class Replica:
    """Encoder of one actor.

    Args:
        encoder: reference to the encoder.
        settings: of the run.
        device: of the actor.
        threads: of torch.
    """

    def __init__(self, encoder: Any, settings: RunSettings, device: str, threads: int) -> None:
        import ray

        torch.set_num_threads(threads)
        self.encoder: AaSPEncoder = ray.get(encoder).to(device)
        self.settings, self.threads = settings, threads

    def __call__(self, task: dict[str, NDArray[Any]]) -> Iterator[dict[str, list[Any]]]:
        """Yield a batch's result in pieces: its pickled outcomes, then its rows as bytes."""
        sounds, stamps = pickle.loads(task["sounds"][0])
        work = BatchWork(self.encoder, sounds, stamps, self.settings)
        (result,) = work.results([list(range(len(sounds)))], self.threads)
        for content in chain([pickle.dumps(result.outcomes)], _joined(result.rows)):
            yield {"batch": [task["batch"][0]], "content": [content]}


def _result(contents: Iterator[bytes], settings: RunSettings) -> BatchResult:
    outcomes, dtype = pickle.loads(next(contents)), settings.options.dtype
    return BatchResult(outcomes, (np.frombuffer(rows, dtype).reshape(-1, settings.width) for rows in contents))


def _joined(pieces: Iterator[NDArray[Any]]) -> Iterator[bytes]:
    """Join pieces of rows to some 16 MiB, as each costs Ray something."""
    waiting: list[bytes] = []
    for piece in pieces:
        waiting.append(piece.tobytes())
        if sum(map(len, waiting)) >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting = []
    if waiting:
        yield b"".join(waiting)


def _join_cluster(cpus: int) -> None:
    """Join or start a cluster, unless this process is in one; nothing is printed, and no usage statistics are sent."""
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
