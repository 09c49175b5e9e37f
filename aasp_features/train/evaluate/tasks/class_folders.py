"""A task of the user's own: a folder with a folder of sounds for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aasp_features.audio.reading import AUDIO_SUFFIXES
from aasp_features.sounds.discovery import Discovery
from aasp_features.sounds.shards import SHARD_SUFFIXES
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY
from aasp_features.train.evaluate.task import Row, Task, build_task

LOOSE = "sounds in no class folder; move each into the folder of its class"
SHARDS = "tar shards, which are not read here; unpack them"
EMPTY = "folders without sounds"


def read_class_folders(folder: Path) -> Task:
    """Read a folder of classes: each folder in it is a class, and every sound file below that is a clip of the class.

    Folds are drawn. The task's note says what was left out: sounds in no folder, shards, folders without sounds.

    Raises:
        TrainError: fewer than two folders with sounds, or a folder with none that is read here, but shards.
    """
    rows: list[Row] = []
    left: dict[str, list[str]] = {LOOSE: [], SHARDS: [], EMPTY: []}
    for place in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if not place.is_dir():
            ending = place.suffix.lower()
            if kind := LOOSE if ending in AUDIO_SUFFIXES else SHARDS if ending in SHARD_SUFFIXES else "":
                left[kind].append(str(place))
            continue
        files, unread = _search(place)
        if not files and EMPTY not in unread:
            raise TrainError(f"{folder}: the class {place.name!r} would have no sounds. {_left_out(unread)}")
        rows += [Row(file, (place.name,), str(file), "") for file in files]
        for kind, names in unread.items():
            left[kind] = left.get(kind, []) + names
    note = _left_out(left)
    if len({row.labels for row in rows}) < 2:
        lacking = f"{folder}: holds no two folders with sounds; a folder of classes has one for each class."
        raise TrainError(f"{lacking} {note}".rstrip())
    return replace(build_task(folder.name, rows, BALANCED_ACCURACY), note=note)


def _search(place: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """Find sound files below a folder, and what is left out there, by the reason."""
    found = Discovery()
    found.add_path(place)
    shards = dict.fromkeys(str(sound.path) for sound in found.sounds if sound.member is not None)
    unread = {SHARDS: list(shards)} if shards else {}
    for name, reason in found.problems.items():
        unread.setdefault(reason, []).append(name)
    if not found.sounds and not unread:
        unread[EMPTY] = [str(place)]
    return [Path(sound.path) for sound in found.sounds if sound.member is None], unread


def _left_out(left: Mapping[str, list[str]]) -> str:
    """Return a sentence on what is no clip of a class, kind by kind; empty where there is none."""
    parts = [f"{names[0]} and {len(names) - 1} more" if names[1:] else names[0] for names in left.values() if names]
    kinds = [kind.rstrip(".") for kind, names in left.items() if names]
    return f"Left out: {'; '.join(f'{one} ({kind})' for one, kind in zip(parts, kinds, strict=True))}." if parts else ""
