"""Official lists of the public tasks: the readers that they share, and how each task's become rows."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from aasp_features.audio.reading import AUDIO_SUFFIXES
from aasp_features.sounds.lists import read_bounded
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy

TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.15  # of a split by hash; the rest tests
BALANCED, UNBALANCED, EVALUATION = "balanced_train_segments", "unbalanced_train_segments", "eval_segments"
AUDIOSET_FOLDERS = {BALANCED: "bal", UNBALANCED: "unbal", EVALUATION: "eval"}  # beginnings of their folders' names
ID_LENGTH = 11  # of a video
TIMES = re.compile(r"(_[\d.]+){0,2}")  # start and end, after an ID
SPEAKERS = range(1001, 1092)  # of CREMA-D
VALIDATION_SPEAKERS = {1009, 1011, 1022, 1034, 1039, 1047, 1066, 1070, 1082}
TEST_SPEAKERS = (
    {1001, 1004, 1017, 1019, 1020, 1025, 1026, 1029, 1033, 1035}
    | {1042, 1044, 1050, 1053, 1056, 1058, 1060, 1069, 1083}
)  # fmt: skip
GTZAN_LISTS_FROM = "https://github.com/jongpillee/music_dataset_split/tree/master/GTZAN_split"
SURGE_LIST = "dataset_surge_tone_splits.csv"
SURGE_LIST_FROM = "https://github.com/nttcslab/eval-audio-repr (evar/predefined)"
LANGUAGES = ("de", "en", "es", "fr", "it", "ru")
ARCHIVE = re.compile(r"(?P<uploader>.+)-\d{8}(-\w+)?")


class Listing(NamedTuple):
    """Content of a folder's official lists: all clips, existing or not, and class names if the lists have an order."""

    rows: list[Row]
    classes: Sequence[str] = ()


class ClipFiles:
    """Finder of clips, which lists each folder only once, as lists may name millions of clips."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def find(self, listed: Path) -> Path:
        """Return the listed file, or else one with the same stem and another known suffix; else ``listed``."""
        names = self._names(listed.parent).get(listed.stem, [])
        return listed if listed.name in names or not names else listed.parent / names[0]

    def each(self, folder: Path) -> list[Path]:
        """Return one file for every clip in a folder, sorted by name."""
        return [folder / names[0] for _, names in sorted(self._names(folder).items())]

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Map stems to file names, preferred formats first."""
        if folder not in self._folders:
            found: dict[str, list[str]] = {}
            for name in sorted(os.listdir(folder), key=_preference) if folder.is_dir() else []:
                stem, ending = os.path.splitext(name)
                if ending.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                    found.setdefault(stem, []).append(name)
            self._folders[folder] = found
        return self._folders[folder]


def _preference(name: str) -> tuple[int, str]:
    ending = os.path.splitext(name)[1].lower()
    return (".wav", ".flac", ending).index(ending), name


def read_lines(path: Path) -> list[str]:
    """Return the nonempty lines of a text.

    Raises:
        TrainError: It does not exist, or is not UTF-8 text.
    """
    return [line for line in map(str.strip, _text(path).splitlines()) if line]


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a comma-separated table with a header.

    Raises:
        TrainError: It does not exist or is not such a table, or a row lacks one of ``columns``.
    """
    try:
        rows = list(csv.DictReader(_text(path).splitlines(), strict=True))
    except csv.Error as error:
        raise TrainError(f"{path} is not a comma-separated table ({error}).") from None
    for number, row in enumerate(rows, start=2):
        if lacking := [column for column in columns if not row.get(column)]:
            raise TrainError(f"{path}: row {number} has no {lacking[0]!r}.")
    if not rows:
        raise TrainError(f"{path} has no rows.")
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        TrainError: It does not exist, or is not an object.
    """
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise TrainError(f"{path} is not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise TrainError(f"{path} is not a JSON object.")
    return found


def _text(path: Path) -> str:
    try:
        return read_bounded(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise TrainError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TrainError(f"{path} cannot be read as UTF-8 text ({error}).") from None


def known(value: str, accepted: Mapping[str, str], path: Path, clip: str) -> str:
    """Return our name of a list's part.

    Raises:
        TrainError: The list's part is unknown.
    """
    if value not in accepted:
        raise TrainError(f"{path}: {clip} is in the part {value!r}, but parts must be {', '.join(accepted)}.")
    return accepted[value]


def first_there(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of several paths that exists in a folder, or the first path."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def part_of_group(group: str) -> str:
    """Return the part of a group's clips: 70 % of the groups train, 15 % validate, 15 % test.

    The part depends on a hash of the name alone: missing clips change no others, and no group is in two parts.
    """
    position = int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64
    if position < TRAIN_SHARE:
        return TRAIN
    return VALIDATION if position < TRAIN_SHARE + VALIDATION_SHARE else TEST


def list_folds(layout: HubCopy, label: str, group: str, folds: int, folder: Path, only: str = "") -> Listing:
    """List the clips of one table with official folds; ``label``, ``group`` and ``fold`` are columns.

    Args:
        layout: Paths of the table and of a clip.
        label, group: Columns of the class, and of the recording that a clip was cut from.
        folds: Number of folds.
        folder: Folder of the task.
        only: Column that is ``True`` for the clips to list (default: all).
    """
    table, clips, parts = folder / layout.listing, ClipFiles(), {str(fold): str(fold) for fold in range(1, folds + 1)}
    fields = [name for _, name, _, _ in Formatter().parse(layout.clip) if name]
    rows = []
    for row in read_rows(table, [*fields, "fold", label, group, *([only] if only else [])]):
        if not only or row[only] == "True":
            clip = folder / layout.clip.format_map(row)
            rows.append(Row(clips.find(clip), (row[label],), row[group], known(row["fold"], parts, table, clip.name)))
    return Listing(rows)


def list_audioset(lists: Sequence[str], folder: Path) -> Listing:
    """List clips; a video is a group, and classes are the ontology's identifiers (``/m/09x0r``) in official order."""
    classes = [row["mid"] for row in read_rows(folder / "class_labels_indices.csv", ["mid"])]
    segments = {name: _segments(folder / f"{name}.csv") for name in lists}
    return Listing([row for name in lists for row in _audioset_rows(folder, name, segments[name])], classes)


def _segments(table: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Parse lines ``--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"`` into videos and their labels."""
    found = []
    for line in read_lines(table):
        if not line.startswith("#"):
            fields = next(csv.reader([line], skipinitialspace=True))
            if len(fields) != 4:
                raise TrainError(
                    f"{table}: the line {line!r} must be YTID, start_seconds, end_seconds, positive_labels."
                )
            found.append((fields[0], tuple(fields[3].split(","))))
    return found


def _audioset_rows(folder: Path, name: str, segments: Sequence[tuple[str, tuple[str, ...]]]) -> list[Row]:
    start, listed = AUDIOSET_FOLDERS[name], {video for video, _ in segments}
    there = clips_by_id(folder, start, listed)
    if lacking := listed - set(there):
        HubCopy(f"data/{start}*/*.parquet", "audio/{folder}/{video_id}.flac", ("video_id",)).unpack(folder, lacking)
        there = clips_by_id(folder, start, listed)
    part = TEST if name == EVALUATION else TRAIN
    return [Row(there.get(video, folder / name / f"{video}.wav"), labels, video, part) for video, labels in segments]


def clips_by_id(folder: Path, beginning: str, listed: set[str]) -> dict[str, Path]:
    """Find the listed videos' files, recursively in folders with this prefix, here or in ``audio``."""
    found: dict[str, Path] = {}
    tops = [path for parent in (folder, folder / "audio") for path in sorted(parent.glob(f"{beginning}*"))]
    clips = ClipFiles()
    for top in filter(Path.is_dir, tops):
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


def list_fsd50k(folder: Path) -> Listing:
    """List the clips of dev.csv and eval.csv, in the layout of Zenodo or of the copy on the Hub."""
    lists, clips, rows = first_there(folder, ["FSD50K.ground_truth", "labels"]), ClipFiles(), []
    for name, columns in (("dev", ["fname", "labels", "split"]), ("eval", ["fname", "labels"])):
        table, audio = lists / f"{name}.csv", first_there(folder, [f"FSD50K.{name}_audio", f"clips/{name}"])
        for row in read_rows(table, columns):
            clip, parts = row["fname"], {"train": TRAIN, "val": VALIDATION}
            part = TEST if name == "eval" else known(row["split"], parts, table, clip)
            rows.append(Row(clips.find(audio / f"{clip}.wav"), tuple(row["labels"].split(",")), clip, part))
    vocabulary = list(csv.reader(read_lines(lists / "vocabulary.csv")))  # index, label, mid, without a header
    if any(len(row) < 2 for row in vocabulary):
        raise TrainError(
            f"{lists / 'vocabulary.csv'}: every row must be like '0,Accelerating_and_revving_and_vroom,/m/07q2z82'."
        )
    return Listing(rows, [row[1] for row in vocabulary])


def list_speech_commands(folder: Path) -> Listing:
    """List the clips of two lists and, to train, of the words' folders; the speaker is before ``_nohash_``."""
    clips, lists = ClipFiles(), {"validation_list.txt": VALIDATION, "testing_list.txt": TEST}
    listed = {clips.find(folder / line): part for name, part in lists.items() for line in read_lines(folder / name)}
    words = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]
    files = dict.fromkeys([*(file for word in words for file in clips.each(word)), *listed])
    return Listing(
        [Row(file, (file.parent.name,), file.stem.split("_nohash_")[0], listed.get(file, TRAIN)) for file in files]
    )


def list_voxceleb(folder: Path) -> Listing:
    """List the clips of iden_split.txt, ``1 id10001/VIDEO/00001.wav``; a video is a group."""
    table, clips, rows = folder / "iden_split.txt", ClipFiles(), []
    parts = {"1": TRAIN, "2": VALIDATION, "3": TEST}
    for line in read_lines(table):
        part, _, name = line.partition(" ")
        if name.count("/") != 2:
            raise TrainError(f"{table}: the line {line!r} must be like '1 id10001/VIDEO/00001.wav'.")
        speaker, video, _ = name.split("/")
        file = clips.find(folder / "wav" / name)
        rows.append(Row(file, (speaker,), f"{speaker}/{video}", known(part, parts, table, name)))
    return Listing(rows)


def list_voxforge(folder: Path) -> Listing:
    """List the clips in LANGUAGE/…/ARCHIVE/wav (or flac); an archive is named UPLOADER-DATE-LETTERS."""
    clips, rows = ClipFiles(), []
    for language in LANGUAGES:
        for sounds in sorted(path for name in ("wav", "flac") for path in (folder / language).glob(f"**/{name}")):
            group = uploader(sounds.parent.name)
            rows += [Row(file, (language,), group, part_of_group(group)) for file in clips.each(sounds)]
    if not rows:
        raise TrainError(f"{folder} has no folder {' or '.join(LANGUAGES)} with archives in it.")
    return Listing(rows)


def uploader(archive: str) -> str:
    """Return the uploader of an archive; anonymous archives are groups of their own."""
    found = ARCHIVE.fullmatch(archive)
    return archive if found is None or found["uploader"].lower() == "anonymous" else found["uploader"]


def list_crema_d(folder: Path) -> Listing:
    """List the clips of AudioWAV (``1001_DFA_ANG_XX.wav``) and, if it exists, of SentenceFilenames.csv."""
    clips, audio, table = ClipFiles(), folder / "AudioWAV", folder / "SentenceFilenames.csv"
    if not audio.is_dir():
        raise TrainError(f"{audio} is not a folder.")
    listed = [row["Filename"] for row in read_rows(table, ["Filename"])] if table.is_file() else []
    files = [*clips.each(audio), *(clips.find(audio / f"{Path(name).stem}.wav") for name in listed)]
    rows = []
    for file in dict.fromkeys(files):
        fields = file.stem.split("_")
        if len(fields) != 4 or fields[0] not in map(str, SPEAKERS):
            raise TrainError(f"{file} must be named like 1001_DFA_ANG_XX.wav, with a speaker of 1001 to 1091.")
        rows.append(Row(file, (fields[2],), fields[0], part_of_speaker(int(fields[0]))))
    return Listing(rows)


def part_of_speaker(speaker: int) -> str:
    """Return EVAR's part of a speaker of CREMA-D, 1001 to 1091."""
    if speaker in TEST_SPEAKERS:
        return TEST
    return VALIDATION if speaker in VALIDATION_SPEAKERS else TRAIN


def list_gtzan(folder: Path) -> Listing:
    """List the clips of the three lists (``blues/blues.00029.wav``), each its own group, as artists are unknown."""
    clips, rows = ClipFiles(), []
    genres = first_there(folder, ["genres", "genres_original", "Data/genres_original"])
    for name, part in {"train": TRAIN, "valid": VALIDATION, "test": TEST}.items():
        table = folder / f"{name}_filtered.txt"
        if not table.is_file():
            raise TrainError(f"{table} does not exist; download the three lists from {GTZAN_LISTS_FROM} into {folder}.")
        for line in read_lines(table):
            if line.count("/") != 1:
                raise TrainError(f"{table}: the line {line!r} must be like 'blues/blues.00029.wav'.")
            rows.append(Row(clips.find(genres / line), (line.split("/")[0],), line, part))
    return Listing(rows)


def list_nsynth(folder: Path) -> Listing:
    """List the clips of each part's examples.json; an instrument is a group."""
    clips, rows = ClipFiles(), []
    for name, part in {"train": TRAIN, "valid": VALIDATION, "test": TEST}.items():
        part_folder = folder / f"nsynth-{name}"
        table = part_folder / "examples.json"
        for note, said in read_json(table).items():
            try:
                family, instrument = said["instrument_family_str"], said["instrument_str"]
            except (KeyError, TypeError):
                raise TrainError(f"{table}: {note} has no instrument_family_str and instrument_str.") from None
            rows.append(Row(clips.find(part_folder / "audio" / f"{note}.wav"), (family,), instrument, part))
    return Listing(rows)


def list_surge(folder: Path) -> Listing:
    """List every pitch of every listed tone; a tone is a group."""
    table, clips = folder / SURGE_LIST, ClipFiles()
    if not table.is_file():
        raise TrainError(f"{table} does not exist; download the list from {SURGE_LIST_FROM} into {folder}.")
    known_parts = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
    rows = read_rows(table, ["tone", "split"])
    parts = {row["tone"]: known(row["split"], known_parts, table, row["tone"]) for row in rows}
    found = {file.stem for tone in parts for file in clips.each(folder / tone)}
    if not found:
        raise TrainError(f"{folder} has none of the {len(parts)} folders that {SURGE_LIST} names.")
    pitches = sorted(found, key=lambda pitch: (len(pitch), pitch))
    return Listing(
        [
            Row(clips.find(folder / tone / f"{p}.ogg"), (p,), tone, part)
            for tone, part in parts.items()
            for p in pitches
        ],
        pitches,
    )
