"""Batches on a Ray cluster: the bytes of this machine."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_runs import FRAMES, embed, written

from aasp_features import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import InterruptedRun

os.environ["RAY_worker_niceness"] = "0"  # Ray gives its workers 15, which hardly run on a busy machine  # noqa: SIM112
pytestmark = pytest.mark.usefixtures("small_batches")


def mortal_replica(folder: Path) -> type:
    """Ray's actor, killed in the midst of the third batch, once; ``folder`` gets a file for each actor that starts.

    Each waits for a second one before its first batch: else one alone might do everything before the other is there.
    """
    from aasp_features.folder.ray_engine import Replica

    class MortalReplica(Replica):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            (folder / f"{os.getpid()}.started").touch()

        def __call__(self, task: dict) -> Iterator[dict]:
            while len(list(folder.glob("*.started"))) < 2:
                time.sleep(0.01)
            for piece in super().__call__(task):
                yield piece
                if task["batch"][0] == 2 and not (folder / "killed").exists():
                    (folder / "killed").touch()
                    os.kill(os.getpid(), signal.SIGKILL)

    folder.mkdir()
    return MortalReplica


def test_ray_with_a_killed_actor_and_a_stopped_run_gives_the_bytes_of_the_local_engine(
    small_encoder: AaSPEncoder, corpus: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from aasp_features.folder import ray_engine

    seen = 0

    def stop(name: str, error: str | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 9:
            raise KeyboardInterrupt

    try:
        engine = ray_engine.RayEngine(small_encoder, replicas=2)
        for name, options in {"clips": RunOptions(), "frames": FRAMES}.items():
            embed(small_encoder, corpus, tmp_path / f"{name} local", options)
            seen = 0
            actors = tmp_path / f"{name} actors"
            with monkeypatch.context() as patch:
                patch.setattr(ray_engine, "Replica", mortal_replica(actors))
                with pytest.raises(InterruptedRun, match="10 of 13 sounds are done"):
                    embed(engine, corpus, tmp_path / name, options, on_sound=stop)
            assert (actors / "killed").exists()
            assert len(list(actors.glob("*.started"))) == 3  # two, and one in place of the killed
            result = embed(engine, corpus, tmp_path / name, options)
            assert result.resumed == 10
            assert written(tmp_path / name) == written(tmp_path / f"{name} local")
    finally:
        ray.shutdown()


def test_ray_says_what_it_accepts(small_encoder: AaSPEncoder) -> None:
    from aasp_features.folder.ray_engine import RayEngine

    with pytest.raises(OptionError, match="replicas must be at least 1, got 0"):
        RayEngine(small_encoder, replicas=0)
    with pytest.raises(RuntimeError, match="toaster"):
        RayEngine(small_encoder, device="toaster")


def test_ray_does_not_wait_for_what_the_cluster_lacks(small_encoder: AaSPEncoder) -> None:
    ray = pytest.importorskip("ray")
    from aasp_features.folder.ray_engine import RayEngine

    try:
        ray.init(num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False)
        with pytest.raises(OptionError, match="1 replicas on cuda need 1 GPUs, the Ray cluster has 0"):
            RayEngine(small_encoder, device="cuda:0")
        with pytest.raises(OptionError, match="CPUs, the Ray cluster has 1; give fewer --replicas"):
            RayEngine(small_encoder, replicas=100)
    finally:
        ray.shutdown()
