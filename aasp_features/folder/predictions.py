"""Vectors of a finished run -> a classifier's predictions: a table, and for frames also events and label tracks.

The head is linear, and no sound is embedded again. Rows are read piece by piece; events are found sound by sound.

``OUT.predictions.json`` names the files of a prediction with their fingerprints. Only files that are as it says are
replaced without ``overwrite``. While they are written, it is marked as incomplete.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio.reading import AudioError, audio_info
from aasp_features.classifier import AaSPClassifier
from aasp_features.events import Event, EventOptions, audacity_labels, find_events, frame_edges, raven_table, smoothed
from aasp_features.folder.formats import plain_text, write_csv
from aasp_features.folder.options import config_sha256, weights_sha256
from aasp_features.folder.output import OutputError, check_apart, claimed, side_file
from aasp_features.folder.state import checksum, fingerprint, read_sealed, seal
from aasp_features.whole_file import whole_file, write_whole

CHUNK_ROWS = 4096
EVENT_COLUMNS = ["path", "start", "end", "label", "probability"]
MAX_NAME, MAX_PATH = 251, 1000  # bytes, without the ending ".txt"
KEPT_NAME = 60  # bytes of a name that is too long
Line = list[str]


class PredictionFiles(NamedTuple):
    """Results of a prediction: files, and the folder of label tracks."""

    table: Path
    events: Path
    selections: Path
    tracks: Path
    record: Path


def prediction_files(out: Path) -> PredictionFiles:
    """Return where the predictions for the vectors ``out`` go."""
    endings = (".predictions.csv", ".events.csv", ".selections.txt", ".labels", ".predictions.json")
    return PredictionFiles(*(side_file(out, ending) for ending in endings))


def predict_run(
    out: Path,
    classifier: AaSPClassifier,
    options: EventOptions = EventOptions(),  # noqa: B008  (immutable)
    *,
    other: bool = False,
    overwrite: bool = False,
    lock: bool = True,
) -> PredictionFiles:
    """Write a classifier's predictions for the vectors of a finished run.

    ``OUT.predictions.csv`` has the run's table, and for each row the likeliest label, its probability, and a column
    ``p(label)`` for each class. Rows of frames are those that events were found in, after smoothing. For frames there
    is also ``OUT.events.csv``, with path, start, end (seconds of the file), label and probability of each event,
    ``OUT.selections.txt``, the same for Raven, and ``OUT.labels/``, a label track for each sound.

    Args:
        out: the vectors, ``.npy``, with their table beside them.
        classifier: on the encoder that computed them.
        options: of events.
        other: label rows ``other``, without a probability, if all their probabilities are below the classifier's
            ``min_probability``.
        overwrite: replace any file that is there.
        lock: keep other processes away.

    Raises:
        OutputError: no finished run, or not of the classifier's encoder; another process writes there; or a file there
            is no earlier prediction, or one of the sounds.
        OptionError: options that are not accepted, frames and a classifier that cannot read them, or ``other`` and a
            classifier without ``min_probability``.
        OSError: a file cannot be written; the next run writes it again.
    """
    options.check()
    if other:
        classifier.check_other()
    hop, paths = _hop_of_run(out, classifier), prediction_files(out)
    job = _Prediction(out, classifier, hop, options if hop is not None else None, other)
    check_apart(out, map(Path, dict.fromkeys(_names(out))), paths)
    identity = _identify(job)
    with claimed(out, lock):
        if _is_whole(out, identity):
            return paths
        _write(job, identity, paths, overwrite)
    return paths


class _Prediction(NamedTuple):
    """What is predicted of which run; ``hop`` and ``options`` are those of frames, None for clips."""

    out: Path
    classifier: AaSPClassifier
    hop: float | None
    options: EventOptions | None
    other: bool


def _write(job: _Prediction, identity: dict[str, Any], paths: PredictionFiles, overwrite: bool) -> None:
    """Write all files of a prediction, the record last."""
    out, hop = job.out, job.hop
    tracks = {} if hop is None else label_tracks(_names(out))
    written = [paths.table, *([] if hop is None else [paths.events, paths.selections])]
    written += [paths.tracks / track for track in tracks.values()]
    check_replaceable(out, overwrite, written=written)
    _begin(out, identity, written)
    _write_table(job, paths.table)
    if hop is not None:
        _write_events(job, hop, paths, tracks)
    files = {_relative_name(path, out): fingerprint(path) for path in written}
    _write_record(out, {**identity, "complete": True, "files": files})


def _hop_of_run(out: Path, classifier: AaSPClassifier) -> float | None:
    """Return the seconds between the frames of a finished run, None for clip vectors; raise if it is of others."""
    record, config = read_sealed(side_file(out, ".json")), classifier.encoder.config
    if out.suffix != ".npy" or not out.is_file() or record is None or record.get("output") != out.name:
        raise OutputError(f"{out} is no .npy of a finished run with its record beside it; make it by aasp-embed.")
    settings = record["settings"]
    wanted = {
        "weights_sha256": weights_sha256(classifier.encoder),
        "config_sha256": config_sha256(config),
        "pooling": config.pooling,
        "last_layers": config.last_layers,
        "dtype": "float32",
        "normalize": False,
    }
    for name, value in wanted.items():
        if settings.get(name) != value:
            raise OutputError(
                f"{out}: its vectors are not those that the classifier reads ({name} was {settings.get(name)}, and is "
                f"{value})."
            )
    if settings["frames"]:
        classifier.check_frames()
    return float(settings["hop"]) if settings["frames"] else None


def check_replaceable(out: Path, overwrite: bool, *, written: Sequence[Path] = ()) -> None:
    """Check that the files that a prediction would replace are an earlier one's, as it left them.

    Args:
        out: the vectors.
        overwrite: replace any file.
        written: results, once they are known; before, only tables and the files of an earlier prediction are checked.

    Raises:
        OutputError: a file is of something else, or was changed.
    """
    paths, record = prediction_files(out), _read_record(out)
    known = record["files"] if record else {}
    results = [paths.table, paths.events, paths.selections, *written, *(out.parent / name for name in known)]
    present = [path for path in dict.fromkeys(results) if os.path.exists(path)]  # Path's raises for names too long
    if record is None and paths.record.exists():
        present.append(paths.record)
    for path in [] if overwrite else present:
        name = _relative_name(path, out)
        if name not in known or not path.is_file() or known[name] not in (None, fingerprint(path)):
            raise OutputError(
                f"--out {out}: {name} is no earlier prediction for {out.name}, or was changed since; move it away, or "
                "give --overwrite."
            )


def _identify(job: _Prediction) -> dict[str, Any]:
    """Return everything that decides the results."""
    out, classifier = job.out, job.classifier
    learnt = [classifier.head.weight, classifier.head.bias]
    head = [part.detach().cpu().numpy().tobytes().hex() for part in learnt]
    chosen = {"thresholds": list(classifier.thresholds), "min_probability": classifier.min_probability}
    return {
        "output": out.name,
        "run": fingerprint(side_file(out, ".json")),
        "vectors": fingerprint(out),
        "table": fingerprint(side_file(out, ".csv")),
        "encoder_weights_sha256": weights_sha256(classifier.encoder),
        "head_sha256": checksum({"head": head, "multi_label": classifier.multi_label, **chosen}),
        "labels": list(classifier.labels),
        "hop": job.hop,
        "working_folder": None if job.hop is None else os.getcwd(),  # Raven's paths are absolute
        "events": job.options and job.options._asdict(),
        "other": job.other,
    }


def _read_record(out: Path) -> dict[str, Any] | None:
    """Return the record of an earlier prediction for ``out``; None where there is none, or it names other files."""
    paths = prediction_files(out)
    record = read_sealed(paths.record)
    if record is None or record.get("output") != out.name or not isinstance(record.get("files"), dict):
        return None
    for name in map(PurePosixPath, record["files"]):
        track = name.parts[:1] == (paths.tracks.name,) and ".." not in name.parts
        if not track and str(name) not in (paths.table.name, paths.events.name, paths.selections.name):
            return None
    return record


def _is_whole(out: Path, identity: dict[str, Any]) -> bool:
    record = _read_record(out)
    if record is None or record.get("complete") is not True or not identity.items() <= record.items():
        return False
    files = {out.parent / name: was for name, was in record["files"].items()}
    return all(path.is_file() and fingerprint(path) == was for path, was in files.items())


def _begin(out: Path, identity: dict[str, Any], written: Sequence[Path]) -> None:
    """Record that these files are being written, and delete those of an earlier prediction."""
    record = _read_record(out)
    earlier = list(record["files"]) if record else []
    files = dict.fromkeys([*earlier, *(_relative_name(path, out) for path in written)])
    _write_record(out, {**identity, "complete": False, "files": files})
    for name in earlier:
        (out.parent / name).unlink(missing_ok=True)


def _write_record(out: Path, record: dict[str, Any]) -> None:
    write_whole(prediction_files(out).record, seal(record, indent=2))


def _relative_name(path: Path, out: Path) -> str:
    return path.relative_to(out.parent).as_posix()


def _lines(out: Path) -> Iterator[Line]:
    """Yield the run's table: its head, then a line for each row of the vectors."""
    with side_file(out, ".csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.reader(file)


class _Piece(NamedTuple):
    """Rows in their order: lines of the table, probabilities (rows, classes), and whether it is other (rows,)."""

    lines: list[Line]
    probabilities: NDArray[np.float32]
    other: NDArray[np.bool_]


def _pieces(job: _Prediction) -> Iterator[_Piece]:
    """Yield what is predicted of all rows: some thousands of clips at a time, or of all frames of a sound."""
    vectors, lines = np.load(job.out, mmap_mode="r"), islice(_lines(job.out), 1, None)
    groups = ([line for _, line in group] for _, group in groupby(_numbered(lines, job.options), lambda one: one[0]))
    first = 0
    for own in groups:
        rows, seconds = vectors[first : first + len(own)], job.options.smooth if job.options else 0.0
        times = _times(own) if seconds else np.zeros(len(own))
        parts = [job.classifier.classify_vectors(piece) for piece in smoothed(rows, times, seconds)]
        probabilities = np.concatenate(parts)
        other = job.classifier.is_other(probabilities) if job.other else np.zeros(len(own), np.bool_)
        yield _Piece(own, probabilities, other)
        first += len(own)


def _times(lines: Sequence[Line]) -> NDArray[np.float64]:
    return np.array([float(line[-1]) for line in lines])


def _write_table(job: _Prediction, path: Path) -> None:
    classifier = job.classifier
    head = [*next(_lines(job.out)), "label", "probability"]
    _write_csv(path, [*head, *(f"p({label})" for label in classifier.labels)], _table_rows(job))


def _table_rows(job: _Prediction) -> Iterator[list[Any]]:
    for piece in _pieces(job):
        for index, (line, row) in enumerate(zip(piece.lines, piece.probabilities, strict=True)):
            label, probability = job.classifier.ranked(row, 1, bool(piece.other[index]))[0]
            yield [*line, label, "" if piece.other[index] else probability, *row.tolist()]


def _write_events(job: _Prediction, hop: float, paths: PredictionFiles, tracks: dict[str, str]) -> None:
    """Write both tables of events and the tracks, sound by sound; parts of one file share a track."""
    for track in tracks.values():
        (paths.tracks / track).parent.mkdir(parents=True, exist_ok=True)
        (paths.tracks / track).write_bytes(b"")
    heard: dict[str, float] = {}  # where the last frame of each file ends
    _write_csv(paths.events, EVENT_COLUMNS, _event_rows(job, hop, paths.tracks, tracks, heard))
    seconds = {plain_text(name): _seconds(name, end) for name, end in heard.items()}
    write_whole(paths.selections, raven_table(_read_events(paths.events), seconds))


def _read_events(path: Path) -> Iterator[tuple[str, float, float, str, float]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for name, start, end, label, probability in islice(csv.reader(file), 1, None):
            yield plain_text(name), float(start), float(end), label, float(probability)


def _event_rows(
    job: _Prediction, hop: float, folder: Path, tracks: dict[str, str], heard: dict[str, float]
) -> Iterator[list[Any]]:
    classifier, options = job.classifier, job.options or EventOptions()
    threshold, spans = options.threshold or classifier.thresholds, options._asdict()
    spans = {name: spans[name] for name in ("min_duration", "merge_gap")}
    for piece in _pieces(job):
        _, name, *part, _ = piece.lines[0]
        begins, times = float(part[0]) if part and part[0] else 0.0, _times(piece.lines)
        heard[name] = max(heard.get(name, 0.0), begins + float(frame_edges(times, hop)[-1]))
        found = find_events(piece.probabilities, times, classifier.labels, threshold, hop, **spans)
        events = [Event(begins + event.start, begins + event.end, *event[2:]) for event in found]
        with (folder / tracks[name]).open("a", encoding="utf-8", newline="\n") as file:
            file.write(audacity_labels(events))
        yield from ([name, *event] for event in events)


def _seconds(name: str, heard: float) -> float:
    """Return the length of a file; where it cannot be read again, the time up to which it was heard."""
    try:
        return max(heard, audio_info(name).seconds)
    except (AudioError, OSError):  # members of shards; files that have gone since
        return heard


def _numbered(lines: Iterator[Line], options: EventOptions | None) -> Iterator[tuple[int, Line]]:
    """Add the number of its piece to each line: thousands of clips, or a sound's frames.

    The same sound may come twice, and the times of its frames then start again.
    """
    number, before = 0, None
    for index, line in enumerate(lines):
        if options is None:
            number = index // CHUNK_ROWS
        elif before is not None and (line[1:-1] != before[1:-1] or float(line[-1]) <= float(before[-1])):
            number += 1
        before = line
        yield number, line


def _names(out: Path) -> Iterator[str]:
    """Yield the name of each row's sound."""
    yield from (line[1] for line in islice(_lines(out), 1, None))


def label_tracks(names: Iterable[str]) -> dict[str, str]:
    """Return the path of each sound's label track below their folder.

    Sounds keep the folders that not all of them share: ``/data/a/x.wav`` and ``/data/b/x.wav`` become ``a/x.wav.txt``
    and ``b/x.wav.txt``. A path that file systems may refuse becomes a checksum and the end of the name.

    Args:
        names: of the sounds, as tables have them; also of those in shards.
    """
    whole = {name: os.path.abspath(name) for name in names}
    shared = os.path.commonpath([os.path.dirname(path) for path in whole.values()]) if whole else ""
    return {name: _short(plain_text(os.path.relpath(path, shared))) + ".txt" for name, path in whole.items()}


def _short(path: str) -> str:
    parts = path.split(os.sep)
    if len(path.encode()) <= MAX_PATH and all(len(part.encode()) <= MAX_NAME for part in parts):
        return path
    return f"{hashlib.sha256(path.encode()).hexdigest()[:16]}-{parts[-1].encode()[-KEPT_NAME:].decode(errors='ignore')}"


def _write_csv(path: Path, head: list[str], rows: Iterable[list[Any]]) -> None:
    with whole_file(path) as temporary:
        write_csv(temporary, head, rows)
