"""Sounds and work that are copied, linked, renamed, exchanged or damaged: what ``faults.py --moved`` does at random.

Each case takes what a killed run left behind, with its sounds, does one or two things to them, gives the command again,
and does more while that runs. What comes of it must be, byte for byte, what a run gives that finds the sounds as they
are then; or a sentence, but only where a sound holds other bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from faults_of_state import KINDS, make_sounds, small_encoder, states_of

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder import plan
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.folder.state import ROWS_FILE
from aasp_features.sounds.discovery import find_sounds

Rng = np.random.Generator


class Place:
    """Sounds, and where the command finds them, with the output ``emb.npy``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sounds, self.asked = folder, folder / "sounds", folder / "sounds"

    @property
    def out(self) -> Path:
        return self.folder / "emb.npy"

    @property
    def work(self) -> Path:
        return self.folder / "emb.npy.partial"

    def files(self) -> list[Path]:
        return sorted(self.sounds.iterdir())


def rights(place: Place, rng: Rng) -> None:
    """chmod"""
    for path in place.files():
        path.chmod(int(rng.choice([0o600, 0o644, 0o640])))


def backup(place: Place, rng: Rng) -> None:
    """cp -al"""
    subprocess.run(["cp", "-al", place.sounds, tempfile.mkdtemp(dir=place.folder)], check=True)


def copied(place: Place, rng: Rng) -> None:
    """cp -a"""
    _copy(place, "-a")


def copied_anew(place: Place, rng: Rng) -> None:
    """cp -r"""
    _copy(place, "-r")


def _copy(place: Place, how: str) -> None:
    """Sounds and work, to another place; the first is gone."""
    other = Path(tempfile.mkdtemp(dir=place.folder.parent))
    subprocess.run(["cp", how, f"{place.folder}/.", other], check=True)
    shutil.rmtree(place.folder)
    place.__init__(other)  # type: ignore[misc]


def another_path(place: Place, rng: Rng) -> None:
    """the same folder by another path"""
    place.asked = place.folder / "link"
    place.asked.unlink(missing_ok=True)
    place.asked.symlink_to(place.sounds)


def exchange(place: Place, rng: Rng) -> None:
    """mv: two exchanged"""
    first, second = rng.choice(place.files(), 2, replace=False)
    first.rename(place.folder / "x")
    second.rename(first)
    (place.folder / "x").rename(second)


def other_bytes(place: Place, rng: Rng) -> None:
    """another content, same size and mtime"""
    path = rng.choice(place.files())
    content, status = bytearray(path.read_bytes()), path.stat()
    content[-1 - rng.integers(min(200, len(content)))] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rows_flipped(place: Place, rng: Rng) -> None:
    """rows flipped"""
    path = place.work / ROWS_FILE
    content = bytearray(path.read_bytes())
    content[rng.integers(min(128, len(content) - 1), len(content))] ^= 1
    path.write_bytes(content)


def rows_cut(place: Place, rng: Rng) -> None:
    """rows cut"""
    path = place.work / ROWS_FILE
    os.truncate(path, rng.integers(path.stat().st_size))


Change = Callable[[Place, Rng], None]
HARMLESS: list[Change] = [rights, backup, copied, copied_anew, another_path]
OTHERS: list[Change] = [exchange, other_bytes]
DURING: list[Change] = [rights, backup, rows_flipped, rows_cut]


def results(out: Path) -> dict[str, Any]:
    """All but the times of the sounds."""
    record = json.loads(out.with_suffix(".json").read_text())
    del record["stamps_sha256"], record["sha256"]
    return {"vectors": out.read_bytes(), "table": out.with_suffix(".csv").read_bytes(), "record": record}


def moved(cases: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """What was done in each case, and what came of it."""
    plan.BATCH_SOUNDS, rng = 3, np.random.default_rng(seed)
    encoder = small_encoder(8, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sounds").mkdir()
        found = make_sounds(folder / "sounds")
        states = {kind: states_of(encoder, found, KINDS[kind], folder / kind)[1] for kind in KINDS}
        for case in range(cases):
            kind = list(KINDS)[case % 2]
            place = Place(Path(tempfile.mkdtemp(dir=folder)))
            shutil.copytree(folder / "sounds", place.sounds)
            shutil.copytree(states[kind][rng.integers(len(states[kind]) - 1)], place.work)  # nothing is ready yet
            changes = [*rng.choice(HARMLESS, rng.integers(1, 3)), *rng.choice(OTHERS, int(rng.random() < 0.3))]
            for change in changes:
                change(place, rng)
            during = [DURING[rng.integers(len(DURING))]] if rng.random() < 0.5 else []
            done = "; ".join([*(str(one.__doc__) for one in changes), *(f"during: {one.__doc__}" for one in during)])
            yield done, _again(encoder, place, KINDS[kind], during, rng, any(one in OTHERS for one in changes))
            shutil.rmtree(place.folder)


def _again(encoder: AaSPEncoder, place: Place, asked: RunOptions, during: list[Change], rng: Rng, others: bool) -> str:
    """The command, with changes at a random sound; a second time; and in a fresh place."""
    left, told = list(during), int(rng.integers(1, 9))

    def on_sound(name: str, error: str | None) -> None:
        nonlocal told
        told -= 1
        if told == 0 and left:
            left.pop()(place, rng)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            embed_sounds(encoder, find_sounds(place.asked), place.out, asked, on_sound=on_sound)
            rights(place, rng)
            again = embed_sounds(encoder, find_sounds(place.asked), place.out, asked).resumed
            fresh = place.folder / "fresh" / "emb.npy"
            fresh.parent.mkdir()
            embed_sounds(encoder, find_sounds(place.asked), fresh, asked)
    except AaSPError as error:
        sentence = "refused in a sentence" if "\n" not in str(error) else f"NO SENTENCE: {error}"
        return sentence if others else f"REFUSED FOR NOTHING: {error}"
    except Exception as error:
        return f"TRACEBACK: {error!r}"
    if again != len(place.files()):
        return "NOT DONE WHEN ASKED AGAIN"
    return "same bytes" if results(place.out) == results(fresh) else "SILENTLY WRONG"


def print_moved(cases: int) -> None:
    """The table of ``moved``."""
    counts: Counter[str] = Counter()
    for done, ending in moved(cases):
        counts[ending] += 1
        if ending not in ("same bytes", "refused in a sentence"):
            print(f"{done} -> {ending}", flush=True)
    same, refused, wrong = (counts.pop(name, 0) for name in ("same bytes", "refused in a sentence", "SILENTLY WRONG"))
    print(
        "| moved sounds | same bytes | refused in a sentence | silently wrong | anything else |\n|---|---|---|---|---|"
    )
    print(f"| {cases} | {same} | {refused} | {wrong} | {sum(counts.values())} |")
