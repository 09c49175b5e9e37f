"""Is what lies beside a run's vectors an earlier prediction, as it was left? Only that is replaced."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from aasp_features.classifier import AaSPClassifier
from aasp_features.folder.options import config_sha256, weights_sha256
from aasp_features.folder.output import OutputError, side_file
from aasp_features.folder.seal import checksum, fingerprint, read_sealed, seal, write_whole


class Places(NamedTuple):
    """Where the results of ``out`` go: files, and the folder of label tracks."""

    table: Path
    events: Path
    tracks: Path
    record: Path


def prediction_places(out: Path) -> Places:
    """Beside the vectors."""
    endings = (".predictions.csv", ".events.csv", ".labels", ".predictions.json")
    return Places(*(side_file(out, ending) for ending in endings))


def hop_of_run(out: Path, classifier: AaSPClassifier) -> float | None:
    """Seconds between the frames of a finished run, None for clip vectors; if the classifier can read them.

    Raises:
        OutputError: no finished run, or vectors that are not of the classifier's encoder as it reads them.
        OptionError: frames, and a classifier that cannot read these.
    """
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
    if other := [name for name, value in wanted.items() if settings.get(name) != value]:
        name = other[0]
        raise OutputError(
            f"{out}: its vectors are not those that the classifier reads ({name} was {settings.get(name)}, and is "
            f"{wanted[name]})."
        )
    if settings["frames"]:
        classifier.check_frames()
    return float(settings["hop"]) if settings["frames"] else None


def check_replaceable(out: Path, overwrite: bool, *, written: Sequence[Path] = ()) -> None:
    """Is what the results would replace an earlier prediction, as it was left?

    Args:
        out: the vectors.
        overwrite: replace it, whatever it is.
        written: results, once it is known which; before, only tables and what an earlier one left are looked at.

    Raises:
        OutputError: it is not.
    """
    places, record = prediction_places(out), read_record(out)
    known = record["files"] if record else {}
    results = [places.table, places.events, *written, *(out.parent / name for name in known)]
    present = [path for path in dict.fromkeys(results) if os.path.exists(path)]  # Path's raises for names too long
    if record is None and places.record.exists():
        present.append(places.record)
    for path in [] if overwrite else present:
        name = relative_name(path, out)
        if name not in known or not path.is_file() or known[name] not in (None, fingerprint(path)):
            raise OutputError(
                f"--out {out}: {name} is no earlier prediction for {out.name}, or was changed since; move it away, or "
                "give --overwrite."
            )


def identify(out: Path, classifier: AaSPClassifier, hop: float | None, threshold: float) -> dict[str, Any]:
    """All that decides the results."""
    head = [part.detach().cpu().numpy().tobytes().hex() for part in (classifier.head.weight, classifier.head.bias)]
    return {
        "output": out.name,
        "run": fingerprint(side_file(out, ".json")),
        "vectors": fingerprint(out),
        "table": fingerprint(side_file(out, ".csv")),
        "encoder_weights_sha256": weights_sha256(classifier.encoder),
        "head_sha256": checksum({"head": head, "several": classifier.multi_label}),
        "labels": list(classifier.labels),
        "hop": hop,
        "threshold": None if hop is None else threshold,
    }


def read_record(out: Path) -> dict[str, Any] | None:
    """What an earlier prediction left; None where there is none for ``out``, or one that names other files."""
    places = prediction_places(out)
    record = read_sealed(places.record)
    if record is None or record.get("output") != out.name or not isinstance(record.get("files"), dict):
        return None
    for name in map(PurePosixPath, record["files"]):
        track = name.parts[:1] == (places.tracks.name,) and ".." not in name.parts
        if not track and str(name) not in (places.table.name, places.events.name):
            return None
    return record


def is_whole(out: Path, identity: dict[str, Any]) -> bool:
    """Are these very results there already?"""
    record = read_record(out)
    if (
        record is None
        or record.get("complete") is not True
        or any(record.get(key) != value for key, value in identity.items())
    ):
        return False
    files = {out.parent / name: was for name, was in record["files"].items()}
    return all(path.is_file() and fingerprint(path) == was for path, was in files.items())


def begin(out: Path, identity: dict[str, Any], written: Sequence[Path]) -> None:
    """Say that these files are being written, and take away those of an earlier prediction."""
    record = read_record(out)
    earlier = list(record["files"]) if record else []
    named = dict.fromkeys([*earlier, *(relative_name(path, out) for path in written)])
    write_whole(prediction_places(out).record, seal({**identity, "complete": False, "files": named}, indent=2))
    for name in earlier:
        (out.parent / name).unlink(missing_ok=True)


def finish(out: Path, identity: dict[str, Any], written: Sequence[Path]) -> None:
    """Say that these files are whole."""
    files = {relative_name(path, out): fingerprint(path) for path in written}
    record = seal({**identity, "complete": True, "files": files}, indent=2)
    write_whole(prediction_places(out).record, record)


def relative_name(path: Path, out: Path) -> str:
    """Of a result, as its record has it."""
    return path.relative_to(out.parent).as_posix()
