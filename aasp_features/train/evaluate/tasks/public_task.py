"""Public tasks: facts about them, and how a folder becomes a ``Task``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import ACCURACY, MEAN_AVERAGE_PRECISION, Metric
from aasp_features.train.evaluate.task import Row, Task, build_task
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy


class Listing(NamedTuple):
    """Content of a folder's official lists: all clips, existing or not, and the class names in order."""

    rows: list[Row]
    classes: Sequence[str]


@dataclass(frozen=True)
class PublicTask:
    """A public task.

    Attributes:
        name: Name on the command line.
        title: Title that its authors gave it.
        classes: Number of classes.
        seconds: Usual length of a clip; None if it varies.
        splits: Its splits, and their source.
        source: Its source.
        layout: Content of its folder.
        expected: Clips of the official distribution; see ``Task``.
        list_clips: Function from its folder to the listing; raises TrainError for other folders.
        metric: Metric of the scores; mAP marks multi-label tasks.
        hub: Name of a copy on the Hugging Face Hub; archives there must be unpacked by the user.
        packed: Tables of that copy, if they replace the official lists; ``list_clips`` unpacks them.
        note: See ``Task``.
    """

    name: str
    title: str
    classes: int
    seconds: float | None
    splits: str
    source: str
    layout: str
    expected: Mapping[str, int]
    list_clips: Callable[[Path], Listing]
    metric: Metric = ACCURACY
    hub: str = ""
    packed: HubCopy | None = None
    note: str = ""

    def read(self, folder: Path) -> Task:
        """Read the task from a folder; listed clips that do not exist are named in ``missing``.

        Raises:
            TrainError: There is no such folder, or it is not this task's; the message describes the folder and its
                source.
        """
        try:
            if not folder.is_dir():
                raise TrainError(f"{folder} is not a folder.")
            rows, classes = self.list_clips(folder)
        except TrainError as error:
            raise TrainError(f"{self.name}: {error} {self.instructions}") from None
        multi_label = self.metric is MEAN_AVERAGE_PRECISION
        task = build_task(self.name, rows, self.metric, classes=classes, multi_label=multi_label, seconds=self.seconds)
        return replace(task, expected=self.expected, note=self.note)

    @property
    def instructions(self) -> str:
        """Content of its folder, and where to get it, in two sentences."""
        copy = f"; a copy on the Hugging Face Hub is {self.hub}" if self.hub else ""
        return f"Its folder holds {self.layout}. It comes from {self.source}{copy}."
