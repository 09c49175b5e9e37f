"""Settings of a run, a run by any engine, what it wrote, and a way to stop it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from aasp_features import AaSPEncoder
from aasp_features.folder import RunOptions, RunResult, embed_sounds, find_sounds
from aasp_features.folder.options import RunSettings
from aasp_features.folder.run import Engine
from aasp_features.folder.state import RunState
from aasp_features.options import EmbedOptions

FILES = ("emb.npy", "emb.csv", "emb.json", "emb.sounds.jsonl", "emb.errors.csv")
FRAMES = RunOptions(frames=True, hop=0.04, normalize=True)
SEGMENTS = RunOptions(segment=0.8, overlap=0.3, pooling="mean+std")


def run_settings(pooling: str = "mean", dtype: str = "float32", threads: int = 1) -> RunSettings:
    """Settings of a run that nobody computes."""
    fixed = {"checkpoint": "none", "checkpoint_sha256": None, "config_sha256": "c", "weights_sha256": "w", "width": 3}
    fixed |= {"aasp_features": "0", "torch": "0", "compiled": False, "device": "cpu", "threads": threads}
    return RunSettings(options=RunOptions(dtype=dtype), embed=EmbedOptions(pooling, 1, 8, 64, 8), **fixed)


def embed(
    engine: AaSPEncoder | Engine, corpus: list[Path], folder: Path, options: RunOptions, **how: object
) -> RunResult:
    folder.mkdir(exist_ok=True)
    return embed_sounds(engine, find_sounds(corpus), folder / "emb.npy", options, **how)


def written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@contextmanager
def stop_after(batches: int) -> Iterator[None]:
    """Ctrl-C when so many batches have been committed; only what is on the disk goes on."""
    commit, left = RunState.commit, batches

    def commit_and_stop(state: RunState, *arguments: object) -> None:
        nonlocal left
        commit(state, *arguments)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunState, "commit", commit_and_stop)
        yield


def grow(folder: Path) -> None:
    """Of five sounds, change one, delete one, rename one, repair one; add two."""
    (folder / "c.wav").unlink()
    (folder / "d.wav").rename(folder / "renamed.wav")
    for name, source in {"b.wav": "a.wav", "broken.wav": "a.wav", "0.wav": "a.wav", "z.wav": "renamed.wav"}.items():
        samples, rate = soundfile.read(folder / source)
        soundfile.write(folder / name, samples[rate // 10 * len(name) :], rate)
