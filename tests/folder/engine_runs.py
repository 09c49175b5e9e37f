"""A run by any engine, and what it wrote; and one that is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aasp_features import AaSPEncoder
from aasp_features.folder import RunOptions, RunResult, embed_sounds, find_sounds
from aasp_features.folder.run import Engine
from aasp_features.folder.state import RunState

FILES = ("emb.npy", "emb.csv", "emb.json", "emb.errors.csv")
FRAMES = RunOptions(frames=True, hop=0.04, normalize=True)


def embed(
    engine: AaSPEncoder | Engine, corpus: list[Path], folder: Path, options: RunOptions, **how: object
) -> RunResult:
    folder.mkdir(exist_ok=True)
    return embed_sounds(engine, find_sounds(corpus), folder / "emb.npy", options, **how)


def written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@contextmanager
def stop_after(parts: int) -> Iterator[None]:
    """Ctrl-C when so many parts have been committed; only what is on the disk goes on."""
    commit, left = RunState.commit, parts

    def commit_and_stop(state: RunState, *arguments: object) -> None:
        nonlocal left
        commit(state, *arguments)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunState, "commit", commit_and_stop)
        yield
