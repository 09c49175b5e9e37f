"""Vectors -> one HTML page with a map of the sounds, which loads nothing but the sounds themselves."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import AaSPError, OptionError
from aasp_features.folder.formats import plain_text
from aasp_features.folder.map_colours import NONE, Colouring, colourings, labels_by_place, minutes, read_labels
from aasp_features.folder.output import check_writable, side_file
from aasp_features.folder.progress import estimated_seconds
from aasp_features.folder.results import Results, read_results
from aasp_features.folder.segments import cut_segments
from aasp_features.sounds.discovery import named_sounds
from aasp_features.sounds.sound import Sound
from aasp_features.whole_file import write_whole
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

Progress = Callable[[int], Callable[[float], object]]
NEIGHBOURS = 10
DATA = re.compile(r'<script id="data" type="application/json">(\{"of":.*\})</script>')
COMPONENTS = 64  # of the vectors that the page ranks by; the projection has the first 50
PROJECTED = 50
MAX_PICTURES = 10_000  # sounds; of more, the page shows none
PICTURE = 48, 24  # columns and rows of a picture
PICTURE_SECONDS, PICTURE_RANGE = 10.0, 9.0  # of sound; of log power (39 dB), from the loudest down
TIMELINE, TIMELINE_RANGE = (1200, 32), 14.0  # columns and rows of the picture of a whole recording; 61 dB
MAX_FRAMES = 50_000  # of a map


class MapError(AaSPError, RuntimeError):
    """A map that cannot be drawn; the sentence says what is missing."""


def check_map() -> None:
    """Check that a map can be drawn here.

    Raises:
        MapError: see the class.
    """
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise MapError('--map needs scikit-learn: pip install "aasp-features[map]".')


def check_page(page: Path, out: Path, labels: Path | None, overwrite: bool) -> None:
    """Check, before any computation, that ``page`` can become the map of the vectors ``out``, with these labels.

    Raises:
        MapError: see the class.
        OptionError: no .html file, or one that is no map of ``out``, unless it may be overwritten; no table of labels.
        OutputError: it cannot be written.
    """
    if page.suffix != ".html":
        raise OptionError(f"must end in .html, got {page}.", option="map")
    check_map()
    check_writable(page)
    if labels is not None:
        labels_by_place(labels)
    if page.exists() and not overwrite and not is_map_of(page, out):
        raise OptionError(f"{page} exists and is no map of {out}; choose another, or use --overwrite.", option="map")


def check_frames(sounds: Sequence[Sound], hop: float) -> None:
    """Check that the frames of these sounds, one each ``hop`` seconds, can be drawn as a map over time.

    Raises:
        OptionError: several sounds, one that is too long, or no such hop.
    """
    grid_offsets(hop)
    if len(sounds) > 1:
        what = f"shows the frames of one recording, got {len(sounds)}; remove --frames, or give one."
        raise OptionError(what, option="map")
    seconds = estimated_seconds(sounds)
    if seconds / hop > MAX_FRAMES:
        most = f"{MAX_FRAMES * hop / 3600:.1f} hours at a hop of {hop:g} s"
        got = f"got {seconds / 3600:.1f} hours; use --segment, not --frames."
        raise OptionError(f"shows at most {MAX_FRAMES} frames, {most}, {got}", option="map")


def map_run(
    out: Path, page: Path, labels: Path | None = None, progress: Progress = lambda rows: lambda done: None
) -> None:
    """Draw the map of a run's results.

    Args:
        out: results in any format, with the predictions of a classifier beside them if there are some.
        page: as for ``write_map``, which also says what is raised.
        labels: a table of labels to colour by; see ``read_labels``.
        progress: takes the number of rows; returns what is called, from any thread, with how many more have pictures.
    """
    results = read_results(out)
    table = [
        {name: value for name, value in zip(results.columns, line, strict=True) if value is not None}
        for line in results
    ]
    hop = results.record.get("settings", {}).get("hop", COLUMN_SECONDS)
    table = [_timed(line, hop) if "time" in line else line for line in table]
    known = [] if labels is None else read_labels(labels, table)
    write_map(page, results.vectors, table, labels=[*known, *_predictions(results)], of=out.name, progress=progress)


def _timed(line: dict[str, Any], hop: float) -> dict[str, Any]:
    """Return the row of a frame, with start and end in the file."""
    first = line.get("start", 0.0)
    centre = first + line["time"]
    return {**line, "start": round(max(first, centre - hop / 2), 6), "end": round(centre + hop / 2, 6)}


def _predictions(results: Results) -> list[Colouring]:
    """Return the labels that ``aasp-embed --classifier`` wrote beside the vectors, if it wrote some for these rows."""
    file = side_file(results.path, ".predictions.csv")
    if not file.exists():
        return []
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
        labels = [row.get("label") or NONE for row in csv.DictReader(opened)]
    return [Colouring("prediction", labels)] if len(labels) == len(results.vectors) else []


def is_map_of(page: Path, out: Path) -> bool:
    """Return whether ``page`` is a map of ``out``, by its name."""
    drawn = DATA.search(page.read_text(encoding="utf-8", errors="replace"))
    return drawn is not None and bool(json.loads(drawn[1])["of"] == out.name)


def write_map(
    page: Path,
    vectors: NDArray[Any],
    table: Iterable[dict[str, Any]],
    *,
    labels: Sequence[Colouring] = (),
    seed: int = 0,
    of: str = "",
    progress: Progress = lambda rows: lambda done: None,
) -> None:
    """Draw the map of vectors.

    Args:
        page: the ``.html`` file to write; it finds the sounds by their paths relative to its own.
        vectors: (rows, d), at least 1 row.
        table: ``path`` of each row, and ``start`` and ``end`` in seconds for a part; a frame also has ``time``. Rows of
            one recording, in the order of time, are also shown over time, with its spectrogram.
        labels: what to colour the points by, before folders, clusters and the time in a recorder's file name.
        seed: of projection and clusters; the same seed gives the same page.
        of: name of the vectors' file, written into the page.
        progress: as of ``map_run``.

    Raises:
        MapError: scikit-learn is not installed.
        OSError: the page cannot be written.
    """
    check_map()
    data = {"of": plain_text(of), "folder": plain_text(os.getcwd())}
    data |= _contents(page, vectors, list(table), labels, seed, progress)
    templates = {name: _template(name) for name in ("map_page.css", "map_page.js", "map_labels.js")}
    templates["DATA"] = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # no name can close the script
    write_whole(page, re.sub(r"/\*(\w[\w.]*)\*/", lambda found: templates[found[1]], _template("map_page.html")))


def _contents(
    page: Path,
    vectors: NDArray[Any],
    lines: list[dict[str, Any]],
    labels: Sequence[Colouring],
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Return what the page shows, as its script reads it; arguments are those of ``write_map``."""
    names = [line["path"] for line in lines]
    frames = "time" in lines[0]  # they are played on, not to their ends
    parts = [_part(line) for line in lines]
    sounds = named_sounds((name, *(part or (None, None))) for name, part in zip(names, parts, strict=True))
    shards = {path: index for index, path in enumerate(dict.fromkeys(one.path for one in sounds if one.member))}
    over_time = _is_over_time(sounds)
    nearest, cosines = neighbours(vectors)
    reduced = components(vectors, seed)
    found = [*colourings(names, reduced, labels, seed), *([minutes(sounds)] if over_time else [])]
    return {
        "names": [plain_text(name) for name in names],
        "colourings": [one._asdict() for one in found],
        "sounds": [_address(page, replace(sound, end=None) if frames else sound) for sound in sounds],
        "parts": parts,
        "frames": frames,
        "shards": [[plain_text(str(shard)), shard.stat().st_size] for shard in shards],
        "members": [_member(sound, shards) for sound in sounds],
        "places": project(reduced, seed).round(4).tolist(),
        "nearest": nearest.tolist(),
        "cosines": cosines.round(3).tolist(),
        "vectors": {"width": reduced.shape[1], "bytes": compressed(reduced)},
        "pictures": {"size": PICTURE, "bytes": "" if frames else pictures(sounds, progress)},
        "timeline": timeline(sounds) if over_time else None,
    }


def _template(name: str) -> str:
    return resources.files("aasp_features.folder").joinpath(name).read_text(encoding="utf-8")


def neighbours(vectors: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each row's most similar others, best first, and their cosines: (rows, k), k = min(10, rows - 1)."""
    from sklearn.neighbors import NearestNeighbors

    rows, count = np.asarray(vectors, np.float32), min(NEIGHBOURS, len(vectors) - 1)
    if count == 0:
        return np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
    distances, indices = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(rows).kneighbors()
    return indices, 1 - distances


def components(vectors: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Return the first principal components of the unit vectors, (rows, at most 64)."""
    from sklearn.decomposition import PCA

    unit = np.asarray(vectors, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    if len(unit) < 2:
        return np.zeros((len(unit), 1))
    count = min(COMPONENTS, len(unit) - 1, unit.shape[1])
    reduced: NDArray[np.float64] = PCA(count, random_state=seed).fit_transform(unit)
    return reduced


def project(reduced: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Project (rows, components) to (rows, 2) in 0…1, by t-SNE on the first 50."""
    from sklearn.manifold import TSNE

    rows, reduced = len(reduced), reduced[:, :PROJECTED]
    if rows < 4:
        return np.column_stack([(np.arange(rows) + 1.0) / (rows + 1), np.full(rows, 0.5)])
    perplexity = min(30.0, (rows - 1) / 3)
    flat = TSNE(perplexity=perplexity, init="pca" if reduced.std() > 1e-9 else "random", random_state=seed)
    places: NDArray[np.float64] = flat.fit_transform(reduced).astype(np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - (low + high) / 2) / max(float((high - low).max()), 1e-12) + 0.5
    return places


def compressed(reduced: NDArray[np.float64]) -> str:
    """Return vectors of 8-bit numbers with one scale for all, in base64."""
    scale = max(float(np.abs(reduced).max()), 1e-12)
    return base64.b64encode(np.round(reduced * (127 / scale)).astype(np.int8).tobytes()).decode()


def pictures(sounds: Sequence[Sound], progress: Progress = lambda rows: lambda done: None) -> str:
    """Return small log-mel pictures of sounds, (48, 24) in 16 greys, time first, in base64; nothing for many sounds.

    A sound that cannot be read, or is longer than ``PICTURE_SECONDS``, has a blank one, or one of its start.
    """
    if len(sounds) > MAX_PICTURES:
        return ""

    def draw(sound: Sound) -> bytes:
        try:
            return _picture(sound)
        except (AaSPError, OSError):  # a file that is gone
            return bytes(PICTURE[0] * PICTURE[1] // 2)
        finally:
            drawn(1)

    drawn = progress(len(sounds))
    drawn(0)
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # whoever read the sounds for their vectors was warned
        return base64.b64encode(b"".join(pool.map(draw, sounds))).decode()


@cache
def _frontend() -> Callable[[Any], Any]:
    from aasp_features.config import AaSPConfig
    from aasp_features.model.log_mel import LogMel

    return LogMel(AaSPConfig(mean=0.0, std=1.0))


def _picture(sound: Sound) -> bytes:
    """Return the picture of a sound: a byte for two greys."""
    last = (sound.start or 0.0) + PICTURE_SECONDS
    blocks = list(replace(sound, end=last if sound.end is None else min(sound.end, last)).stream(16000))
    return _greys(_small_log_mel(np.concatenate(blocks), PICTURE), PICTURE_RANGE)


def _small_log_mel(samples: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    with torch.inference_mode():
        small: NDArray[np.float32] = adaptive_avg_pool2d(_frontend()(torch.from_numpy(samples))[None], size)[0].numpy()
    return small


def _greys(log_mel: NDArray[np.float32], below: float) -> bytes:
    greys = (15 * (1 + (log_mel - log_mel.max()) / below)).clip(0, 15).round().astype(np.uint8).reshape(-1, 2)
    return bytes((greys[:, 0] << 4 | greys[:, 1]).tobytes())


def _is_over_time(sounds: Sequence[Sound]) -> bool:
    """Return whether these are parts of one recording, in the order of time."""
    starts = [sound.start or 0.0 for sound in sounds]
    recordings = {replace(sound, start=None, end=None) for sound in sounds}
    return len(recordings) == 1 < len(set(starts)) and starts == sorted(starts)


def timeline(parts: Sequence[Sound]) -> dict[str, Any] | None:
    """Return a log-mel picture of the recording of these parts, and seconds a column; None if it cannot be read."""
    try:
        stream = replace(parts[0], start=None, end=None).stream(16000)
        last = max(stream.info.seconds, *(part.end or part.start or 0.0 for part in parts))
        step = max(0.025, last / TIMELINE[0])
        columns = [_small_log_mel(piece, (1, TIMELINE[1])) for piece in cut_segments(stream, step, 0.0, 16000)]
    except (AaSPError, OSError):
        return None
    size = len(columns), TIMELINE[1]
    return {
        "step": step,
        "size": size,
        "bytes": base64.b64encode(_greys(np.concatenate(columns), TIMELINE_RANGE)).decode(),
    }


def _address(page: Path, sound: Sound) -> str:
    """Return the URL of a sound relative to the page; empty for a member of a shard, and for a file that is gone."""
    if sound.member or not os.path.isfile(sound.path):
        return ""
    relative = os.path.relpath(sound.path, page.parent)
    start, end = sound.start, sound.end
    part = "" if start is None else f"#t={start:g}" if end is None else f"#t={start:g},{end:g}"
    return quote(os.fsencode(relative.replace(os.sep, "/"))) + part


def _member(sound: Sound, shards: Mapping[Path, int]) -> tuple[int, int, int] | None:
    """Return where the bytes of a member are: number of the shard, first byte, number of bytes."""
    return (shards[sound.path], sound.offset, sound.size) if sound.member and sound.sparse is None else None


def _part(line: dict[str, Any]) -> tuple[float, float | None] | None:
    """Return start and end of a row's part in seconds, end None for the file's; None for a whole sound."""
    start, end = line.get("start"), line.get("end")
    return (start or 0.0, end) if start or end is not None else None
