"""AudioSet: 10 s clips of videos, 527 classes, multi-label; trained on the balanced part (20K) or on all (2M).

Lists and counts: https://research.google.com/audioset/download.html. The sounds are not distributed: copies lack
deleted videos and name files differently, as ``ID.wav``, ``YID.wav`` or ``ID_30.000_40.000.wav``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.task import TEST, TRAIN, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy
from aasp_features.train.evaluate.tasks.official_lists import read_lines, read_rows
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

BALANCED, UNBALANCED, EVALUATION = "balanced_train_segments", "unbalanced_train_segments", "eval_segments"
FOLDERS = {BALANCED: "bal", UNBALANCED: "unbal", EVALUATION: "eval"}  # beginnings of their folders' names
LABELS = "class_labels_indices.csv"
HUB_CLIP = "audio/{folder}/{video_id}.flac"
ID_LENGTH = 11
Segment = tuple[str, tuple[str, ...]]  # a video and its labels
TIMES = re.compile(r"(_[\d.]+){0,2}")  # start and end, after an ID


def list_20k(folder: Path) -> Listing:
    """List AudioSet-20K: the balanced segments train, the evaluation segments test."""
    return _list(folder, [BALANCED, EVALUATION])


def list_2m(folder: Path) -> Listing:
    """List AudioSet-2M: the balanced and unbalanced segments train, the evaluation segments test."""
    return _list(folder, [BALANCED, UNBALANCED, EVALUATION])


def _list(folder: Path, lists: Sequence[str]) -> Listing:
    """List clips; a video is a group, and classes are the ontology's identifiers (``/m/09x0r``) in official order."""
    classes = [row["mid"] for row in read_rows(folder / LABELS, ["mid"])]
    segments = {name: _listed(folder / f"{name}.csv") for name in lists}
    return Listing([row for name in lists for row in _rows(folder, name, segments[name])], classes)


def _listed(table: Path) -> list[Segment]:
    return [_segment(table, line) for line in read_lines(table) if not line.startswith("#")]


def _rows(folder: Path, name: str, segments: Sequence[Segment]) -> list[Row]:
    rows, listed = [], {video for video, _ in segments}
    there = clips_by_id(folder, FOLDERS[name], listed)
    if lacking := listed - set(there):
        HubCopy(f"data/{FOLDERS[name]}*/*.parquet", HUB_CLIP, ("video_id",)).unpack(folder, lacking)
        there = clips_by_id(folder, FOLDERS[name], listed)
    for video, labels in segments:
        file = there.get(video, folder / name / f"{video}.wav")
        rows.append(Row(file, labels, video, TEST if name == EVALUATION else TRAIN))
    return rows


def _segment(table: Path, line: str) -> Segment:
    """Parse ``--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"`` into the video and its labels."""
    fields = next(csv.reader([line], skipinitialspace=True))
    if len(fields) != 4:
        raise TrainError(f"{table}: the line {line!r} must be YTID, start_seconds, end_seconds, positive_labels.")
    return fields[0], tuple(fields[3].split(","))


def clips_by_id(folder: Path, beginning: str, listed: set[str]) -> dict[str, Path]:
    """Find the listed videos' files, recursively in folders with this prefix, here or in ``audio``."""
    found: dict[str, Path] = {}
    folders = [
        path for parent in (folder, folder / "audio") for path in sorted(parent.glob(f"{beginning}*")) if path.is_dir()
    ]
    clips = ClipFiles()
    for top in folders:
        for deeper in [top, *sorted(path for path in top.rglob("*") if path.is_dir())]:
            for file in clips.each(deeper):
                found.setdefault(listed_id(file.stem, listed), file)
    return found


def listed_id(stem: str, listed: set[str]) -> str:
    """Return the listed video of a file name, or an empty text."""
    for start in (0, 1) if stem.startswith("Y") else (0,):
        video, rest = stem[start : start + ID_LENGTH], stem[start + ID_LENGTH :]
        if video in listed and TIMES.fullmatch(rest):
            return video
    return ""


SOURCE = "https://research.google.com/audioset/download.html (lists; the sounds are cut from YouTube)"
HUB = "agkphysics/AudioSet"
AUDIOSET_20K = PublicTask(
    name="as20k",
    title="AudioSet-20K",
    classes=527,
    seconds=10.0,
    splits="official: balanced trains, evaluation tests",
    source=SOURCE,
    hub=HUB,
    layout="balanced_train_segments.csv, eval_segments.csv, class_labels_indices.csv, and folders of these names "
    "with files called by their YouTube IDs",
    expected={TRAIN: 22_160, TEST: 20_371},
    list_clips=list_20k,
    metric=MEAN_AVERAGE_PRECISION,
)
AUDIOSET_2M = PublicTask(
    name="as2m",
    title="AudioSet-2M",
    classes=527,
    seconds=10.0,
    splits="official: balanced and unbalanced train, evaluation tests",
    source=SOURCE,
    hub=HUB,
    layout="balanced_train_segments.csv, unbalanced_train_segments.csv, eval_segments.csv, class_labels_indices.csv, "
    "and folders of these names with files called by their YouTube IDs",
    expected={TRAIN: 2_063_949, TEST: 20_371},
    list_clips=list_2m,
    metric=MEAN_AVERAGE_PRECISION,
)
