"""Selection of tasks: a public one by name, or the user's own by path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.audioset import AUDIOSET_2M, AUDIOSET_20K
from aasp_features.train.evaluate.tasks.class_folders import read_class_folders
from aasp_features.train.evaluate.tasks.crema_d import CREMA_D
from aasp_features.train.evaluate.tasks.esc50 import ESC10, ESC50
from aasp_features.train.evaluate.tasks.fsd50k import FSD50K
from aasp_features.train.evaluate.tasks.gtzan import GTZAN
from aasp_features.train.evaluate.tasks.nsynth import NSYNTH
from aasp_features.train.evaluate.tasks.public_task import PublicTask
from aasp_features.train.evaluate.tasks.speech_commands import SPEECH_COMMANDS_V2
from aasp_features.train.evaluate.tasks.surge import SURGE
from aasp_features.train.evaluate.tasks.tables import read_table
from aasp_features.train.evaluate.tasks.urban_sound import URBAN_SOUND_8K
from aasp_features.train.evaluate.tasks.voxceleb import VOXCELEB1
from aasp_features.train.evaluate.tasks.voxforge import VOXFORGE

PUBLIC_TASKS: dict[str, PublicTask] = {
    task.name: task
    for task in (
        *(AUDIOSET_2M, AUDIOSET_20K, FSD50K, ESC50, ESC10, URBAN_SOUND_8K),
        *(SPEECH_COMMANDS_V2, VOXCELEB1, VOXFORGE, CREMA_D),
        *(GTZAN, NSYNTH, SURGE),
    )
}
TABLE = "labels.csv"


def read_tasks(wanted: Sequence[str]) -> list[Task]:
    """Read tasks in the given order.

    Args:
        wanted: Each a public task and its folder, ``esc50:/data/ESC-50``; a .csv (see ``read_table``); a folder with
            labels.csv, or with several such folders; or a folder with a subfolder of sounds for each class.

    Raises:
        TrainError: It is none of these, or the task is invalid.
    """
    tasks = [task for one in wanted for task in _read(one)]
    names = [task.name for task in tasks]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise TrainError(f"two tasks are named {double[0]}; run them one after the other.")
    return tasks


def _read(wanted: str) -> list[Task]:
    name, colon, folder = wanted.partition(":")
    if colon and name in PUBLIC_TASKS:
        return [PUBLIC_TASKS[name].read(Path(folder))]
    path = Path(wanted)
    if path.is_file():
        return [read_table(path, path.parent.name if path.name == TABLE else path.stem)]
    if not path.is_dir():
        known = ", ".join(PUBLIC_TASKS)
        raise TrainError(
            f"{wanted} is no file or folder, and no NAME:FOLDER of a public task; public tasks are {known}."
        )
    if tables := sorted(path.glob(TABLE)) or sorted(path.glob(f"*/{TABLE}")):
        return [read_table(table) for table in tables]
    return [read_class_folders(path)]
