"""A task that others distribute: what is known of it, and how its folder becomes a ``Task``."""

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
    """What the official lists in a folder say: all clips, there or not, and the names of the classes, in order."""

    rows: list[Row]
    classes: Sequence[str]


@dataclass(frozen=True)
class PublicTask:
    """A task that others distribute.

    Attributes:
        name: by which it is asked for.
        title: as its authors call it.
        classes: how many there are.
        seconds: usual length of a clip; None where they vary.
        splits: how it is split, and who says so.
        source: where it comes from.
        layout: what its folder holds.
        expected: how many clips the official distribution has; see ``Task``.
        list_clips: its folder -> what the lists there say; raises TrainError where it is not such a folder.
        metric: by which scores are judged; mAP means that a clip may have several labels.
        hub: the name of a copy on the Hugging Face Hub; archives there are left to others to unpack.
        packed: where that copy's tables replace the official lists; ``list_clips`` unpacks them.
        note: see ``Task``.
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
        """The task as it lies in a folder; clips that are listed and not there are left out and named in ``missing``.

        Raises:
            TrainError: no such folder, or not this task's; the sentence says what its folder holds, and whence.
        """
        try:
            if not folder.is_dir():
                raise TrainError(f"{folder} is no folder.")
            rows, classes = self.list_clips(folder)
        except TrainError as error:
            raise TrainError(f"{self.name}: {error} {self.place}") from None
        several = self.metric is MEAN_AVERAGE_PRECISION
        task = build_task(self.name, rows, self.metric, classes=classes, several=several, seconds=self.seconds)
        return replace(task, expected=self.expected, note=self.note)

    @property
    def place(self) -> str:
        """What its folder holds, and where that comes from: two sentences."""
        copy = f"; a copy on the Hugging Face Hub is {self.hub}" if self.hub else ""
        return f"Its folder holds {self.layout}. It comes from {self.source}{copy}."
