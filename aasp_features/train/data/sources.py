"""Sources of a corpus: files, shards, lists, Parquet tables and data sets on the Hub, row by row."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, groupby, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aasp_features.audio.reading import AudioStream, stream_audio
from aasp_features.sounds.discovery import Discovery, find_sounds
from aasp_features.sounds.lists import decode_list, read_bounded, read_list
from aasp_features.sounds.sound import Sound
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.errors import TrainError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SOUND = "audio"  # the column of sounds in a table: {bytes, path}
NUMBERED = re.compile(r"(.*)-\d{5}-of-(\d{5})")  # train-00000-of-00002-2f1ab7b824ec751f.parquet
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ROWS_AT_ONCE = 16  # of a table, with their sounds
PLACE = ("path", "start", "end")  # columns of a list


class Row(NamedTuple):
    """One sound of a source.

    Attributes:
        name: Its name in the source.
        sound: Its location, or the bytes of its file.
        metadata: The other columns of its row, or the JSON beside it in a shard.
    """

    name: str
    sound: Sound | bytes
    metadata: Any

    def stream(self) -> AudioStream:
        """Open the sound at 16 kHz; errors as of ``stream_audio``."""
        if isinstance(self.sound, Sound):
            return self.sound.stream(SAMPLE_RATE)
        file = io.BytesIO(self.sound)
        file.name = self.name  # for messages
        return stream_audio(file, SAMPLE_RATE)


class Source(NamedTuple):
    """Rows in a fixed order.

    Attributes:
        identity: Function that returns a hash of names, sizes and times of change now, or of a Hub data set's revision.
        rows: Function from the index of a row to the rows from there on.
        total: Number of rows; None if unknown.
        problems: What could not be read when the source was searched, with the reason.
        passed_over: Number of files that are no sounds by their endings, by ending.
    """

    identity: Callable[[], str]
    rows: Callable[[int], Iterator[Row]]
    total: int | None
    problems: dict[str, str] = {}  # noqa: RUF012 (never modified)
    passed_over: Counter[str] = Counter()  # noqa: RUF012


def open_source(name: str, subset: str | None = None, split: str = "train") -> Source:
    """Open a source without reading its sounds.

    Args:
        name: Folder of sounds, shards or tables, one of these, a list, or the name of a data set on the Hub. A list is
            read by ``read_list``, or has rows with ``path``, ``start`` and ``end`` (.jsonl, .parquet).
        subset: Configuration of a Hub data set.
        split: Split of a Hub data set.

    Raises:
        NothingFoundError: There is no sound.
        TrainError: A list or table cannot be read, a library is missing, or there is no such data set.
    """
    path = Path(name)
    if not path.exists() and HUB_NAME.fullmatch(name):
        return _of_hub(name, subset, split)
    if path.suffix.lower() in (".csv", ".txt", ".jsonl"):
        return _of_list(_read_list(path))
    if path.suffix.lower() == ".parquet":
        with open_table(path, ()) as table, reading(path):
            if SOUND not in table.schema_arrow.names:
                return _of_list([_placed(row, path) for row in table.read().to_pylist()])
        return _of_tables([path], path.parent)
    tables = find_tables(path, "**/*.parquet") if path.is_dir() else []
    if not tables:
        return _of_files(path, find_sounds([path]))
    found = Discovery()
    found.add_path(path)
    if found.sounds:
        raise TrainError(f"{path} holds tables and sounds; prepare each in a folder of its own.")
    return _of_tables(tables, path)


def _of_files(path: Path, found: Discovery) -> Source:
    base = path if path.is_dir() else path.parent
    names = [Path(os.path.relpath(sound.name, base)).as_posix() for sound in found.sounds]

    def rows(first: int) -> Iterator[Row]:
        for shard, members in groupby(zip(names[first:], found.sounds[first:], strict=True), lambda row: row[1].path):
            beside: dict[str, Any] | None = None
            for name, sound in members:
                beside = _json_members(shard) if sound.member and beside is None else beside or {}
                yield Row(name, sound, beside.get(os.path.splitext(sound.member or "")[0], {}))

    del found.passed_over[".json"]  # beside sounds

    def identity() -> str:
        return _identity((name, *sound.stamp()[:2]) for name, sound in zip(names, found.sounds, strict=True))

    return Source(identity, rows, len(names), found.problems, found.passed_over)


def _identity(facts: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact!r}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _json_members(path: Path) -> dict[str, Any]:
    """Return the JSON in a shard by its names without ending, as far as it can be read."""
    found: dict[str, Any] = {}
    with suppress(tarfile.TarError, OSError), tarfile.open(path, "r:") as shard:
        for member in shard:
            if member.isfile() and member.name.endswith(".json") and (file := shard.extractfile(member)):
                with suppress(ValueError, RecursionError):
                    found[member.name.removesuffix(".json")] = json.load(file)
    return found


def _of_list(listed: list[tuple[Sound, dict[str, Any]]]) -> Source:
    def rows(first: int) -> Iterator[Row]:
        return (Row(sound.name, sound, metadata) for sound, metadata in islice(listed, first, None))

    def identity() -> str:
        return _identity((sound.name, sound.start, sound.end, *sound.stamp()[:2], more) for sound, more in listed)

    return Source(identity, rows, len(listed))


def _read_list(path: Path) -> list[tuple[Sound, dict[str, Any]]]:
    """Return the sounds of a list in order, each with the other columns of its row."""
    kind = path.suffix.lower()
    if kind != ".jsonl":
        read_list(str(path), found := Discovery())
        if kind == ".txt":
            return list(zip(found.sounds, repeat({})))
        table = csv.DictReader(io.StringIO(decode_list(read_bounded(path)), newline=""))
        more = ({name: value for name, value in row.items() if name != "path"} for row in table)
        return list(zip(found.sounds, more, strict=True))
    rows = []
    for number, line in enumerate(decode_list(read_bounded(path)).splitlines(), start=1):
        try:
            rows += [_placed(json.loads(line), f"{path}, line {number}")] if line.strip() else []
        except ValueError as error:
            raise TrainError(f"{path}, line {number}: not JSON ({error}).") from error
    return rows


def _placed(row: Any, place: object) -> tuple[Sound, dict[str, Any]]:
    """Return the sound of a list's row, and its other columns."""
    path, start, end = (row.get(name) for name in PLACE) if isinstance(row, dict) else (None,) * 3
    if not isinstance(path, str) or not all(isinstance(at, (int, float, type(None))) for at in (start, end)):
        raise TrainError(f"{place}: a row has a path, and may have start and end in seconds; got {str(row)[:80]}.")
    return Sound(Path(path), start, end), {name: value for name, value in row.items() if name != "path"}


def _of_tables(tables: Sequence[Path], base: Path) -> Source:
    """Return the rows of tables with embedded sounds; a group of rows is in memory at once."""
    names = [table.relative_to(base).as_posix() for table in tables]
    counts = []
    for table in tables:
        with open_table(table, [SOUND]) as file:
            counts.append(file.metadata.num_rows)

    def rows(first: int) -> Iterator[Row]:
        for table, name, count in zip(tables, names, counts, strict=True):
            if first < count:
                read = islice(_table_rows(table), first, None)
                yield from (_embedded(row, SOUND, f"{name}#{index}") for index, row in enumerate(read, first))
            first = max(0, first - count)

    def identity() -> str:
        return _identity((name, *Sound(table).stamp()[:2]) for name, table in zip(names, tables, strict=True))

    return Source(identity, rows, sum(counts))


def _table_rows(table: Path) -> Iterator[dict[str, Any]]:
    with open_table(table, [SOUND]) as file, reading(table):
        yield from chain.from_iterable(batch.to_pylist() for batch in file.iter_batches(ROWS_AT_ONCE))


def _embedded(row: dict[str, Any], column: str, place: str) -> Row:
    sound = row.pop(column) or {}
    content, path = sound.get("bytes"), sound.get("path")
    return Row(path or place, Sound(Path(path)) if path and not content else content or b"", row)


def _of_hub(name: str, subset: str | None, split: str) -> Source:
    """Stream a split of a data set on the Hub, of the revision that is the latest now."""
    try:
        import datasets
    except ImportError:
        raise TrainError(
            f"{name}: no such file or folder; a data set on the Hub needs datasets: "
            'pip install "aasp-features[datasets]".'
        ) from None
    from huggingface_hub import HfApi

    with _streaming(name):
        revision = HfApi().dataset_info(name).sha
        stream = datasets.load_dataset(name, subset, split=split, streaming=True, revision=revision)
        stream = stream if stream.features else stream._resolve_features()
    sounds = [one for one, kind in stream.features.items() if isinstance(kind, datasets.Audio) or one == SOUND]
    if not sounds:
        raise TrainError(f"{name} has no column of sounds; its columns are {', '.join(stream.features)}.")
    column, splits = sounds[0], stream.info.splits or {}
    stream = stream.cast_column(column, datasets.Audio(decode=False))

    def rows(first: int) -> Iterator[Row]:
        with _streaming(name):
            for index, row in enumerate(stream.skip(first), first):
                yield _embedded(dict(row), column, f"{name}#{index}")

    total = splits[split].num_examples if split in splits else None
    return Source(lambda: _identity([name, subset, split, revision]), rows, total)


@contextmanager
def _streaming(name: str) -> Iterator[None]:
    """Turn errors of the network, the Hub and its libraries into a sentence."""
    try:
        yield
    except Exception as error:  # of many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainError(f"{name} is no path here, and cannot be read from the Hub ({reason}).") from error


def find_tables(folder: Path, pattern: str) -> list[Path]:
    """Return the tables in a folder, in order.

    Raises:
        TrainError: The names show that some are missing, as after an interrupted download.
    """
    tables = sorted(folder.glob(pattern))
    matches = [(table.parent, NUMBERED.match(table.name)) for table in tables]
    series = Counter((parent, match[1], int(match[2])) for parent, match in matches if match)
    for (parent, name, wanted), found in series.items():
        if found != wanted:
            raise TrainError(f"{parent} holds {found} of {wanted} tables {name}-*.parquet; download the rest.")
    return tables


def open_table(table: Path, columns: Sequence[str]) -> ParquetFile:
    """Open a table that has these columns.

    Raises:
        TrainError: It cannot be read, lacks a column or sounds, or pyarrow is missing.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise TrainError(f'{table} needs pyarrow: pip install "aasp-features[parquet]".') from None
    with reading(table):
        file = pyarrow.parquet.ParquetFile(table)
    fields = {field.name: str(field.type) for field in file.schema_arrow}
    lacking = [name for name in columns if name not in fields]
    if not lacking and (SOUND not in columns or fields[SOUND].startswith("struct")):
        return file
    file.close()
    raise TrainError(f"{table} has no column {lacking[0] if lacking else f'{SOUND} of bytes and path'!r}.")


@contextmanager
def reading(table: Path) -> Iterator[None]:
    """Turn errors of reading into a sentence."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainError(f"{table} cannot be read ({reason}); download it again.") from error
