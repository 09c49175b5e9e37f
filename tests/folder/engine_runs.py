"""A run by any engine, and what it wrote."""

from pathlib import Path

from aasp_features import AaSPEncoder
from aasp_features.folder import RunOptions, RunResult, embed_sounds, find_sounds
from aasp_features.folder.run import Engine

FILES = ("emb.npy", "emb.csv", "emb.json", "emb.errors.csv")
FRAMES = RunOptions(frames=True, hop=0.04, normalize=True)


def embed(
    engine: AaSPEncoder | Engine, corpus: list[Path], folder: Path, options: RunOptions, **how: object
) -> RunResult:
    folder.mkdir(exist_ok=True)
    return embed_sounds(engine, find_sounds(corpus), folder / "emb.npy", options, **how)


def written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}
