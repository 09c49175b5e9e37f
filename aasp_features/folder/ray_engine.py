"""Batches on a Ray cluster: actors hold the encoder, this process writes.

Only where the work is done differs from the local engine: plan, order, state on disk and output are the same, so a run
may be stopped and gone on with in the same way. Ray starts actors that die again and repeats what they had not given.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Generator, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder.batch_work import BatchResult, BatchWork
from aasp_features.folder.options import RunSettings
from aasp_features.folder.plan import Plan

Piece = dict[str, Any]  # batch, outcomes (pickled; of the first piece), rows (bytes)


class RayEngine:
    """Gives a plan's batches in order, done by actors.

    Joins the cluster that ``RAY_ADDRESS`` names, or starts one on this machine. Every node must be able to read the
    sounds under the paths that this process found them at.

    Args:
        encoder: on the CPU; it is sent to the actors, which need no checkpoint.
        replicas: actors; None takes one for each GPU, or as many as the cluster's CPUs give this process' number of
            threads.
        device: of the actors; None takes ``cuda`` where the cluster has GPUs.

    Attributes:
        device: kind of device that the batches are done on.

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

    def batches(self, plan: Plan, first: int, folder: Path) -> Generator[BatchResult, None, None]:
        """Do the batches from ``first`` on; temporary files lie where the actors are, not in ``folder``."""
        import ray.data

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        left = plan.batches[first:]
        if not left:
            return
        tasks = [
            {"batch": number, "sounds": pickle.dumps((plan.sounds[of], plan.stamps[of]))}
            for number, of in enumerate(slice(places.start, places.stop) for places in left)
        ]
        pieces = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            Replica,
            fn_constructor_args=(ray.put(self.encoder), plan.settings, self.device, self.threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(self.replicas, len(tasks))),
            **self._needs,
        )
        for _, of_batch in groupby(pieces.iter_rows(), key=lambda piece: piece["batch"]):
            yield _batch_result(of_batch, plan.settings.width, plan.settings.dtype)


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
        """Do one batch; gives it in pieces."""
        sounds, stamps = pickle.loads(task["sounds"][0])
        work = BatchWork(self.encoder, sounds, stamps, self.settings)
        for result in work.batches([range(len(sounds))], self.threads):
            with result:
                outcomes = pickle.dumps(result.outcomes)
                for rows in chain([np.empty((0, 0), self.settings.dtype)], result.rows):
                    yield {"batch": [task["batch"][0]], "outcomes": [outcomes], "rows": [rows.tobytes()]}
                    outcomes = b""


def _batch_result(pieces: Iterator[Piece], width: int, dtype: str) -> BatchResult:
    head = next(pieces)
    rows = (np.frombuffer(piece["rows"], dtype).reshape(-1, width) for piece in pieces)
    return BatchResult(pickle.loads(head["outcomes"]), rows)


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
