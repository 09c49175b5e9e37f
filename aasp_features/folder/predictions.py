"""A finished run's vectors -> what a classifier says of them: a table, and for frames events and label tracks.

The head is linear, so nothing is embedded again; rows are read piece by piece, events are found sound by sound.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.classifier import AaSPClassifier
from aasp_features.events import THRESHOLD, Event, audacity_labels, check_threshold, find_events
from aasp_features.folder.label_tracks import label_places
from aasp_features.folder.output import check_apart, claimed, side_file
from aasp_features.folder.prediction_record import (
    Places,
    begin,
    check_replaceable,
    finish,
    hop_of_run,
    identify,
    is_whole,
    prediction_places,
)
from aasp_features.folder.table import write_csv

CHUNK_ROWS = 4096
EVENT_COLUMNS = ["path", "start", "end", "label", "probability"]
Line = list[str]


def predict_run(
    out: Path,
    classifier: AaSPClassifier,
    threshold: float = THRESHOLD,
    *,
    overwrite: bool = False,
    lock: bool = True,
) -> Places:
    """Write what a classifier says of a finished run's vectors.

    ``OUT.predictions.csv`` has the run's table, and for each row the likeliest label, its probability, and a column
    ``p(label)`` for each class. Of frames there is ``OUT.events.csv``, with path, start, end (seconds of the file),
    label and probability of each event, and ``OUT.labels/``, a label track for each sound.

    Args:
        out: the vectors, ``.npy``, with their table beside them.
        classifier: on the encoder that gave them.
        threshold: of events.
        overwrite: replace what is there, whatever it is.
        lock: keep other processes away.

    Raises:
        OutputError: no finished run, or not of the classifier's encoder; another process writes there, or a file there
            is no earlier prediction, or one of the sounds.
        OptionError: frames, and a classifier that cannot read these.
        OSError: a file cannot be written; the next run writes it again.
    """
    check_threshold(threshold)
    hop, places = hop_of_run(out, classifier), prediction_places(out)
    check_apart(out, map(Path, dict.fromkeys(_names(out))), places)
    identity = identify(out, classifier, hop, threshold)
    with claimed(out, lock):
        if is_whole(out, identity):
            return places
        tracks = {} if hop is None else label_places(_names(out))
        written = [places.table, *([] if hop is None else [places.events])]
        written += [places.tracks / track for track in tracks.values()]
        check_replaceable(out, overwrite, written=written)
        begin(out, identity, written)
        _write_table(out, classifier, places.table)
        if hop is not None:
            _write_events(out, classifier, hop, threshold, places, tracks)
        finish(out, identity, written)
    return places


def _lines(out: Path) -> Iterator[Line]:
    """The run's table: its head, then a line for each row of the vectors."""
    with side_file(out, ".csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.reader(file)


def _chunks(out: Path, classifier: AaSPClassifier) -> Iterator[tuple[list[Line], NDArray[np.float32]]]:
    """Lines of the table, and the probabilities of their rows."""
    vectors, lines = np.load(out, mmap_mode="r"), _lines(out)
    next(lines)
    for first in range(0, len(vectors), CHUNK_ROWS):
        piece = np.array(vectors[first : first + CHUNK_ROWS])
        yield list(islice(lines, len(piece))), classifier.classify_vectors(piece)


def _write_table(out: Path, classifier: AaSPClassifier, path: Path) -> None:
    head = [*next(_lines(out)), "label", "probability", *(f"p({label})" for label in classifier.labels)]
    with _replacing(path) as temporary:
        write_csv(temporary, head, _table_rows(out, classifier))


def _table_rows(out: Path, classifier: AaSPClassifier) -> Iterator[list[Any]]:
    for lines, probabilities in _chunks(out, classifier):
        for line, row in zip(lines, probabilities, strict=True):
            (best,) = classifier.ranked(row, 1)
            yield [*line, *best, *row.tolist()]


def _write_events(
    out: Path, classifier: AaSPClassifier, hop: float, threshold: float, places: Places, tracks: dict[str, str]
) -> None:
    """The table of events and the tracks, sound by sound; parts of one file share a track."""
    for track in tracks.values():
        (places.tracks / track).parent.mkdir(parents=True, exist_ok=True)
        (places.tracks / track).write_bytes(b"")
    with _replacing(places.events) as temporary:
        write_csv(temporary, EVENT_COLUMNS, _event_rows(out, classifier, hop, threshold, places.tracks, tracks))


def _event_rows(
    out: Path, classifier: AaSPClassifier, hop: float, threshold: float, folder: Path, tracks: dict[str, str]
) -> Iterator[list[Any]]:
    for name, begins, times, probabilities in _framed_sounds(out, classifier):
        found = find_events(probabilities, times, classifier.labels, threshold, hop)
        events = [Event(begins + event.start, begins + event.end, *event[2:]) for event in found]
        with (folder / tracks[name]).open("a", encoding="utf-8", newline="\n") as file:
            file.write(audacity_labels(events))
        yield from ([name, *event] for event in events)


def _framed_sounds(
    out: Path, classifier: AaSPClassifier
) -> Iterator[tuple[str, float, NDArray[np.float64], NDArray[np.float32]]]:
    """Name, second of the file at which it begins, times and probabilities of each sound's frames."""
    own: Line = []
    times: list[float] = []
    rows: list[NDArray[np.float32]] = []
    for lines, probabilities in _chunks(out, classifier):
        for (_, *sound, time), row in zip(lines, probabilities, strict=True):  # row, path, perhaps start and end, time
            if times and (sound != own or float(time) <= times[-1]):
                yield own[0], _begins(own), np.array(times), np.stack(rows)
                times, rows = [], []
            own = sound
            times.append(float(time))
            rows.append(row)
    if times:
        yield own[0], _begins(own), np.array(times), np.stack(rows)


def _begins(sound: Line) -> float:
    return float(sound[1]) if len(sound) > 1 and sound[1] else 0.0


def _names(out: Path) -> Iterator[str]:
    """Of the sounds, a name for each row."""
    lines = _lines(out)
    next(lines)
    yield from (line[1] for line in lines)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A place to write to; the file there becomes ``path`` at the end."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
