"""Unfinished work that is damaged: ``faults.py --damaged``.

``damaged`` changes the state of a killed run at random, in this process, and gives the same command again. The network
is small and untrained, as it is the work on the disk that counts.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from aasp_features.config import AaSPConfig
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder import plan, run
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import READY
from aasp_features.folder.run import embed_sounds
from aasp_features.folder.state import LOG_FILE, PLAN_FILE, ROWS_FILE, RunState
from aasp_features.sounds.discovery import Discovery, find_sounds

KINDS = {"clips": RunOptions(), "frames": RunOptions(frames=True, hop=0.04)}
ANOTHER = {"clips": RunOptions(pooling="mean+std"), "frames": RunOptions(frames=True, hop=0.04, normalize=True)}
RESULTS = ("emb.npy", "emb.csv", "emb.json")


def small_encoder(window: int, context: int) -> AaSPEncoder:
    """One block, 48 wide."""
    import torch

    torch.manual_seed(0)
    return AaSPEncoder(AaSPConfig.tiny(depth=1, dim=48, window=window, context=context))


def make_sounds(folder: Path) -> Discovery:
    """Short ones, a broken one, and two of several windows."""
    rng = np.random.default_rng(0)
    for name, seconds in {"a": 0.3, "b": 0.2, "d": 0.3, "e": 7.0, "f": 0.3, "g": 3.0, "h": 0.2}.items():
        soundfile.write(folder / f"{name}.wav", rng.normal(size=int(8000 * seconds)) * 0.1, 8000)
    (folder / "c.wav").write_bytes(b"no sound")
    return find_sounds(folder)


def results(out: Path) -> dict[str, bytes]:
    return {name: (out.parent / name).read_bytes() for name in RESULTS}


def states_of(encoder: AaSPEncoder, found: Discovery, kind: RunOptions, folder: Path) -> tuple[Path, list[Path]]:
    """An uninterrupted run's output; what lay in its ``.partial`` after each batch, and when the results were ready."""
    out, states = folder / "whole" / "emb.npy", []
    out.parent.mkdir(parents=True)
    commit, move = RunState.commit, run.move_results

    def keep(place: Path) -> None:
        states.append(folder / f"state{len(states)}")
        shutil.copytree(place, states[-1])

    def commit_and_keep(state: RunState, *arguments: object) -> None:
        commit(state, *arguments)
        keep(state.folder)

    def keep_and_move(place: Path, to: Path) -> bool:
        if (place / READY).exists():
            keep(place)
        return move(place, to)

    RunState.commit, run.move_results = commit_and_keep, keep_and_move
    try:
        embed_sounds(encoder, found, out, kind)
    finally:
        RunState.commit, run.move_results = commit, move
    return out, states


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """bits flipped"""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """cut"""
    return content[: rng.integers(len(content))]


def blank(content: bytes, rng: np.random.Generator) -> bytes:
    """a stretch of zeros"""
    first, stop = sorted(rng.integers(len(content) + 1, size=2))
    return content[:first] + bytes(stop - first) + content[stop:]


def grow(content: bytes, rng: np.random.Generator) -> bytes:
    """bytes appended"""
    return content + rng.bytes(rng.integers(1, 200))


def lines_changed(content: bytes, rng: np.random.Generator) -> bytes:
    """a line lost, doubled or moved"""
    lines = content.splitlines(keepends=True)
    line, kind = rng.integers(len(lines)), rng.integers(3)
    rest = [*lines[:line], *lines[line + 1 :]]
    index = rng.integers(len(rest) + 1)
    doubled, moved = [*lines[: line + 1], *lines[line:]], [*rest[:index], lines[line], *rest[index:]]
    return b"".join([rest, doubled, moved][kind])


Change = Callable[[bytes, np.random.Generator], bytes]
CHANGES: list[Change] = [flip, cut, blank, grow, lines_changed]


def damage(folder: Path, rng: np.random.Generator) -> str:
    """Change one file of a state at random; what was done to which."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    named = [folder / name for name in (ROWS_FILE, LOG_FILE, PLAN_FILE) if folder / name in files]
    path = files[rng.integers(len(files))] if rng.random() < 0.2 else named[rng.integers(len(named))]
    if rng.random() < 0.15:
        path.unlink()
        return f"{path.relative_to(folder)}: deleted"
    change = CHANGES[rng.integers(len(CHANGES))]
    path.write_bytes(change(path.read_bytes(), rng))
    return f"{path.relative_to(folder)}: {change.__doc__}"


def damaged(cases: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Each case's damage, and ``same bytes``, ``refused in a sentence`` or what else came of it."""
    plan.BATCH_SOUNDS, rng = 3, np.random.default_rng(seed)
    encoder = small_encoder(8, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sounds").mkdir()
        found = make_sounds(folder / "sounds")
        made = {kind: states_of(encoder, found, KINDS[kind], folder / kind) for kind in KINDS}
        others = {kind: states_of(encoder, found, ANOTHER[kind], folder / f"other {kind}")[0] for kind in KINDS}
        for case in range(cases):
            kind = list(KINDS)[case % 2]
            whole, states = made[kind]
            out = folder / str(case) / "emb.npy"
            shutil.copytree(states[rng.integers(len(states))], out.with_name("emb.npy.partial"))
            done = [damage(out.with_name("emb.npy.partial"), rng) for _ in range(rng.integers(1, 3))]
            asked, expected = KINDS[kind], whole
            if rng.random() < 0.15:  # another command
                asked, expected = ANOTHER[kind], others[kind]
                done.append("other options")
            yield "; ".join(done), _again(encoder, found, out, asked, expected)
            shutil.rmtree(out.parent)


def _again(encoder: AaSPEncoder, found: Discovery, out: Path, asked: RunOptions, expected: Path) -> str:
    """The command after the damage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            embed_sounds(encoder, found, out, asked)
    except AaSPError as error:
        return "refused in a sentence" if "\n" not in str(error) else f"NO SENTENCE: {error}"
    except Exception as error:
        return f"TRACEBACK: {error!r}"
    return "same bytes" if results(out) == results(expected) else "SILENTLY WRONG"


def print_damaged(cases: int) -> None:
    """The table of ``damaged``."""
    counts: Counter[str] = Counter()
    for done, ending in damaged(cases):
        counts[ending] += 1
        if ending.isupper() or ending.split(":")[0].isupper():
            print(f"{done} -> {ending}", flush=True)
    print(
        "| damaged states | same bytes | refused in a sentence | silently wrong | tracebacks |\n|---|---|---|---|---|"
    )
    same, refused = counts.pop("same bytes", 0), counts.pop("refused in a sentence", 0)
    wrong = counts.pop("SILENTLY WRONG", 0)
    print(f"| {cases} | {same} | {refused} | {wrong} | {sum(counts.values())} |")
