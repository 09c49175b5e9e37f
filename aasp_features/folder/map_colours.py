"""What the points of a map can be coloured by: labels, predictions, folders, clusters, the time in a file's name."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import OptionError
from aasp_features.folder.formats import plain_text
from aasp_features.folder.progress import clock
from aasp_features.sounds.sound import Sound

MAX_GROUPS = 40  # of a colouring; the smallest beyond are one group
MAX_CLUSTERS = 24
PLACE = {"file", "path", "start", "end", None}  # columns of a table of labels that are none; None is too many values
REST, NONE = "(others)", "(none)"
STEPS = 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600  # seconds
WORD = re.compile(r"[^\W\d_]{3,}")
RECORDED = re.compile(r"(?:^|_)(\d{8}_\d{6})(?:\D|$)")  # Song Meter, AudioMoth
HEXADECIMAL = re.compile(r"^[0-9A-F]{8}$")  # seconds since 1970, of older AudioMoths


class Colouring(NamedTuple):
    """Groups of the points: what they are by, and the group of each row."""

    title: str
    groups: list[str]


def colourings(
    names: Sequence[str], points: NDArray[Any], labels: Sequence[Colouring] = (), seed: int = 0
) -> list[Colouring]:
    """Return all that divides the points, what tells most first.

    Args:
        names: path of each row.
        points: (rows, d) that clusters are found in.
        labels: other colourings, which come first.
        seed: of the clusters.
    """
    levels = folder_levels(names)
    found = [*labels, *levels, clusters(names, points, seed), *recording_times(names)]
    kept = [_bounded(one) for one in found if len(set(one.groups)) > 1]
    return kept or [Colouring("folder", [""] * len(names))]


def folder_levels(names: Sequence[str]) -> list[Colouring]:
    """Return the folders of each level below the one that all paths share; empty for a file above a level."""
    parents = [os.path.dirname(os.path.abspath(name)) for name in names]
    shared = os.path.commonpath(parents) if parents else ""
    below = [[] if parent == shared else os.path.relpath(parent, shared).split(os.sep) for parent in parents]
    depth = max(map(len, below), default=0)
    return [
        Colouring(
            "folder" if level == 0 else f"folder, level {level + 1}",
            [plain_text(parts[level]) if level < len(parts) else "" for parts in below],
        )
        for level in range(depth)
    ]


def clusters(names: Sequence[str], points: NDArray[Any], seed: int) -> Colouring:
    """Return clusters by k-means, about √(rows / 2) of them, named after a word that their files' names share."""
    from sklearn.cluster import KMeans

    count = int(np.clip(round((len(names) / 2) ** 0.5), 1, MAX_CLUSTERS))
    count = min(count, len(np.unique(points, axis=0)))
    found = KMeans(count, n_init=3, random_state=seed).fit_predict(points)
    words = [set(WORD.findall(Path(name).stem.lower())) for name in names]
    everywhere = Counter(word for own in words for word in own)
    titles: dict[int, str] = {}
    for cluster in range(count):
        own = [words[row] for row in np.flatnonzero(found == cluster)]
        title = _shared_word(own, everywhere, len(names)) or "cluster"
        alike = sum(known.partition(" ")[0] == title for known in titles.values())
        titles[cluster] = f"{title} {alike + 1}" if alike or title == "cluster" else title
    return Colouring("cluster", [titles[int(cluster)] for cluster in found])


def _shared_word(own: Sequence[set[str]], everywhere: Counter[str], rows: int) -> str:
    """Return a word that most of these names have: a third at least, and twice as many as of the others; or none."""
    telling = {}
    for word, count in Counter(word for words in own for word in words).items():
        inside, outside = count / len(own), (everywhere[word] - count) / max(1, rows - len(own))
        if inside >= 1 / 3 and inside >= 2 * outside:
            telling[word] = inside - outside
    return max(sorted(telling), key=lambda word: telling[word], default="")


def recording_times(names: Sequence[str]) -> list[Colouring]:
    """Return hours of the day and days, where at least half of the names have the time that a recorder writes."""
    times = [recording_time(name) for name in names]
    if 2 * sum(time is not None for time in times) < len(names):
        return []
    by = {"hour": "%H:00", "day": "%Y-%m-%d"}
    return [Colouring(title, [time.strftime(how) if time else NONE for time in times]) for title, how in by.items()]


def minutes(parts: Sequence[Sound]) -> Colouring:
    """Return a colouring of the parts of one recording by their starts, in at most 12 equal steps."""
    last = max(part.start or 0.0 for part in parts)
    step = next((step for step in STEPS if last < 12 * step), 3600 * int(last / 43200 + 1))
    return Colouring("time", [clock((part.start or 0.0) // step * step) for part in parts])


def recording_time(name: str) -> datetime | None:
    """Return the time in a recorder's file name: ``20260521_053000``, or hexadecimal as of older AudioMoths (UTC)."""
    stem = Path(name).stem
    try:
        if found := RECORDED.search(stem):
            return datetime.strptime(found[1], "%Y%m%d_%H%M%S")
        if HEXADECIMAL.fullmatch(stem) and 2**30 < int(stem, 16) < 2**31:  # 2004 to 2038
            return datetime.fromtimestamp(int(stem, 16), timezone.utc).replace(tzinfo=None)
    except ValueError:  # digits that are no time
        pass
    return None


def read_labels(table: Path, lines: Sequence[dict[str, Any]]) -> list[Colouring]:
    """Read labels of sounds, a colouring for each column; a row without a label is ``(none)``.

    Args:
        table: .csv with a column ``file`` or ``path`` (also relative to its own folder), and optionally ``start``, in
            seconds, for parts.
        lines: ``path`` and ``start`` of each row of the map.

    Raises:
        OptionError: no such table, or it labels none of the rows.
    """
    labelled = labels_by_place(table)
    own = [labelled.get(_place(Path(line["path"]), line.get("start"))) for line in lines]
    if not any(own):
        what = f"{table} labels none of the {len(lines)} sounds; its column file must hold their paths."
        raise OptionError(what, option="labels")
    columns = [name for name in next(iter(labelled.values())) if name not in PLACE]
    return [Colouring(name, [plain_text(row[name] or NONE) if row else NONE for row in own]) for name in columns]


def labels_by_place(table: Path) -> dict[tuple[str, float], dict[str, str]]:
    """Read the rows of a table of labels, by absolute path and start.

    Raises:
        OptionError: no such table, or one without rows or labels.
    """
    places = {}
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for row in csv.DictReader(file, restval=""):
                name = row["file"] if "file" in row else row["path"]
                there = table.parent / name
                places[_place(there if there.exists() else Path(name), float(row.get("start") or 0))] = row
    except (OSError, ValueError, KeyError, csv.Error) as error:
        what = f"{table} is no table with labels and a column file or path ({error})."
        raise OptionError(what, option="labels") from error
    if not places or {*row} <= PLACE:
        raise OptionError(f"{table} has no labels; give each file a row, and a column beside it.", option="labels")
    return places


def _place(path: Path, start: Any) -> tuple[str, float]:
    return os.path.abspath(path), round(float(start or 0), 3)


def _bounded(colouring: Colouring) -> Colouring:
    """Join the smallest groups beyond ``MAX_GROUPS``."""
    counts = Counter(colouring.groups)
    if len(counts) <= MAX_GROUPS:
        return colouring
    largest = {name for name, _ in counts.most_common(MAX_GROUPS - 1)}
    return Colouring(colouring.title, [name if name in largest else REST for name in colouring.groups])
