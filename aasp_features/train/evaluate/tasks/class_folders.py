"""A user's task: a folder with a subfolder of sounds for each class."""

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

LOOSE = "sounds outside the class folders; move each into the folder of its class"
SHARDS = "tar shards, which tasks do not read; unpack them"
EMPTY = "folders without sounds"


def read_class_folders(folder: Path) -> Task:
    """Read a folder of classes: each subfolder is a class, with all sound files below it.

    Folds are drawn. The task's note lists what was left out: sounds in no subfolder, shards, and empty folders.

    Raises:
        TrainError: There are fewer than two folders with sounds, or a folder holds only shards.
    """
    rows: list[Row] = []
    left: dict[str, list[str]] = {LOOSE: [], SHARDS: [], EMPTY: []}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if not path.is_dir():
            ending = path.suffix.lower()
            if kind := LOOSE if ending in AUDIO_SUFFIXES else SHARDS if ending in SHARD_SUFFIXES else "":
                left[kind].append(str(path))
            continue
        files, unread = _search(path)
        if not files and EMPTY not in unread:
            raise TrainError(f"{folder}: the class {path.name!r} has no usable sounds. {_left_out(unread)}")
        rows += [Row(file, (path.name,), str(file), "") for file in files]
        for kind, names in unread.items():
            left[kind] = left.get(kind, []) + names
    note = _left_out(left)
    if len({row.labels for row in rows}) < 2:
        lacking = f"{folder} must hold at least two folders with sounds, one for each class."
        raise TrainError(f"{lacking} {note}".rstrip())
    return replace(build_task(folder.name, rows, BALANCED_ACCURACY), note=note)


def _search(path: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """Find the sound files below a folder, and what is left out there, by reason."""
    found = Discovery()
    found.add_path(path)
    shards = dict.fromkeys(str(sound.path) for sound in found.sounds if sound.member is not None)
    unread = {SHARDS: list(shards)} if shards else {}
    for name, reason in found.problems.items():
        unread.setdefault(reason, []).append(name)
    if not found.sounds and not unread:
        unread[EMPTY] = [str(path)]
    return [Path(sound.path) for sound in found.sounds if sound.member is None], unread


def _left_out(left: Mapping[str, list[str]]) -> str:
    parts = [f"{names[0]} and {len(names) - 1} more" if names[1:] else names[0] for names in left.values() if names]
    kinds = [kind.rstrip(".") for kind, names in left.items() if names]
    return f"Left out: {'; '.join(f'{one} ({kind})' for one, kind in zip(parts, kinds, strict=True))}." if parts else ""
