"""A task of the user's own: a folder with a folder of sounds for each class."""

from __future__ import annotations

from pathlib import Path

from aasp_features.sounds.discovery import find_sounds
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import BALANCED_ACCURACY
from aasp_features.train.evaluate.task import Row, Task, build_task, make_folds


def read_class_folders(folder: Path) -> Task:
    """Each folder in ``folder`` is a class, whatever lies below it a sound of it; five folds, stratified, by sound.

    Raises:
        TrainError: fewer than two folders with sounds, or fewer than five sounds.
    """
    rows = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        rows += [(Path(sound.path), place.name) for sound in find_sounds([place]).sounds if sound.member is None]
    if len({label for _, label in rows}) < 2:
        raise TrainError(f"{folder}: holds no two folders with sounds; a folder of classes has one for each class.")
    try:
        folds = make_folds([label for _, label in rows], [str(path) for path, _ in rows])
    except TrainError as error:
        raise TrainError(f"{folder}: {error}") from None
    found = [Row(path, (label,), str(path), fold) for (path, label), fold in zip(rows, folds, strict=True)]
    return build_task(folder.name, found, BALANCED_ACCURACY)
