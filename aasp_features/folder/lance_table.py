"""Rows in a LanceDB table that grows in place: ``OUT.lance``.

A row has the columns of the table of rows, its ``vector``, and what ties it to its sound: ``id``, a checksum of
``sound`` (``DoneSound`` as JSON: name, part, stamp, sha256 of the bytes), and ``number``, its place among the sound's
rows. The schema's metadata has the settings. A run adds the rows of new sounds and deletes those of sounds that are
gone or changed in one commit, so a process that dies leaves the table as it was or as it becomes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.folder.formats import ERROR_COLUMNS, RowTable, plain_text, write_csv
from aasp_features.folder.ledger import EARLIER, STATE, DoneSound, Ledger
from aasp_features.folder.output import CHOOSE, OutputError, partial_folder, side_file
from aasp_features.folder.plan import Plan
from aasp_features.folder.state import RunRows, has_work

if TYPE_CHECKING:
    import pyarrow

    from aasp_features.folder.results import Results

RECORD = "aasp_features"  # key of the metadata
NAMED = ("checkpoint", "checkpoint_sha256", "aasp_features")  # of a record
OWN_COLUMNS = ["id", "number", "sound"]
CHUNK_ROWS = 4096


def open_table(out: Path) -> Any:
    """Return the table at ``out``; None where there is none, or one whose first commit was cut off.

    Raises:
        OutputError: something else is there.
    """
    if not out.exists():
        return None
    if (out / "_versions").is_dir():
        return connect(out).open_table(out.stem)
    if out.is_dir() and {path.name for path in out.iterdir()} <= {"data", "_transactions"}:
        return None
    raise OutputError(f"--out {out} exists and is no LanceDB table; choose another --out.")


def finished_table(out: Path, plan: Plan, replaces: str) -> dict[str, Any] | None:
    """Return the numbers of rows and failures of a table that has this plan's rows, and no others.

    None stands for no table yet, or one that is to be updated.

    Raises:
        OutputError: a table of something else, of other settings, or (unless it is to be updated) of other sounds.
    """
    table, errors = open_table(out), side_file(out, ".errors.csv")
    known = table is not None or has_work(partial_folder(out))
    if errors.exists() and not (known and _is_own(errors)):
        raise OutputError(f"--out {out}: {errors.name} exists and is of something else; {CHOOSE}")
    if table is None:
        return None
    try:
        record = json.loads((table.schema.metadata or {})[RECORD.encode()])
    except (KeyError, ValueError) as error:
        raise OutputError(f"--out {out} is a table of something else; choose another --out.") from error
    if difference := plan.changed_settings(record):
        raise OutputError(f"--out {out} holds rows of other settings: {difference}; {CHOOSE}")
    if replaces:
        return None
    ledger = Ledger(plan)
    ledger.take(table_sounds(out), EARLIER, renamed=False)
    failed = {row["path"] for row in _read_errors(errors)}
    new = [index for index in ledger.open() if plan.sounds[index].name not in failed]
    gone = sum(1 for _ in _gone(ledger, out))
    if new or gone:
        raise OutputError(
            f"--out {out} is a table of other sounds: {len(new)} of {len(plan.sounds)} have no rows yet, and {gone} "
            f"that have rows are gone or changed; give --update, {CHOOSE}"
        )
    return {"rows": ledger.rows, "failures": len(failed)}


def _is_own(errors: Path) -> bool:
    """Return whether a file has the columns of a list of failures, and no others."""
    with errors.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return next(csv.reader(file), None) == ERROR_COLUMNS


def _read_errors(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def table_sounds(out: Path) -> Iterator[DoneSound]:
    """Return an iterator over the sounds that have rows in a table; there may be no table."""
    return (DoneSound.from_json(json.loads(text)) for text in _sound_texts(out))


def publish_table(run: RunRows, lines: RowTable, out: Path, problems: dict[str, str], replaces: str) -> None:
    """Bring a table up to date, in one commit; its list of failures is written before.

    Args:
        run: whose sounds are all done.
        lines: table of its rows.
        out: of the table.
        problems: folders and shards that cannot be searched, with the reason.
        replaces: ``overwrite`` writes all rows anew, as the next version of the table.
    """
    import pyarrow

    failures = [*([name, reason] for name, reason in problems.items()), *lines.failures()]
    side_file(out, ".errors.csv").unlink(missing_ok=True)
    if failures:
        write_csv(run.folder / "errors.csv", ERROR_COLUMNS, failures)
        os.replace(run.folder / "errors.csv", side_file(out, ".errors.csv"))
    settings, table = run.ledger.plan.settings, open_table(out)
    record = {**{name: getattr(settings, name) for name in NAMED}, "settings": settings.to_dict()}
    schema = _schema(lines.columns, np.dtype(settings.options.dtype), settings.width, record)
    vectors = run.state.array() if run.state.rows else np.empty((0, settings.width))
    new = _batches(vectors, _new_lines(run, lines), schema)
    if table is None or replaces == "overwrite":
        if table is None and out.exists():  # a first commit was cut off
            shutil.rmtree(out)
        connect(out).create_table(out.stem, new, schema=schema, mode="overwrite")
        return
    gone = ", ".join(f"'{name}'" for name in _gone(run.ledger, out))
    facts = run.ledger.facts
    adds = bool((facts["rows"][facts["source"] == STATE] > 0).any())
    if adds and not gone:
        table.add(pyarrow.RecordBatchReader.from_batches(schema, new))
    elif gone and not adds:
        table.delete(f"id IN ({gone})")
    elif gone:
        merge = table.merge_insert(["id", "number"]).when_not_matched_insert_all()
        merge = merge.when_not_matched_by_source_delete(f"id IN ({gone})")
        merge.execute(pyarrow.RecordBatchReader.from_batches(schema, new))


def connect(out: Path) -> Any:
    """Return the LanceDB database that is a table's folder."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of a table that does not exist yet
    import lancedb

    return lancedb.connect(out.parent)


def write_table(out: Path, results: Results, sounds: Iterable[DoneSound], mode: str = "create") -> None:
    """Write results of another format as a table; ``sounds`` are those behind the rows, in order.

    With the mode ``overwrite``, they are the next version of a table that exists.
    """
    record = {name: results.record[name] for name in (*NAMED, "settings")}
    schema = _schema(results.columns, results.vectors.dtype, results.vectors.shape[1], record)
    ids = ((done, number) for done in sounds for number in range(done.outcome.rows))
    lines = ((line[0], [*line[1:], *_own(*own)]) for line, own in zip(results, ids, strict=True))
    connect(out).create_table(out.stem, _batches(results.vectors, lines, schema), schema=schema, mode=mode)


def _schema(columns: Sequence[str], dtype: Any, width: int, record: dict[str, Any]) -> pyarrow.Schema:
    """Return the schema of a table whose rows have these columns, of which the first is ``row``."""
    import pyarrow

    kinds = {"path": pyarrow.string(), "sample_rate": pyarrow.int32(), "channels": pyarrow.int32()}
    named = [(name, kinds.get(name, pyarrow.float64())) for name in columns[1:]]
    own = zip(OWN_COLUMNS, (pyarrow.string(), pyarrow.int32(), pyarrow.string()), strict=True)
    vector = ("vector", pyarrow.list_(pyarrow.from_numpy_dtype(dtype), width))
    return pyarrow.schema([*named, *own, vector], metadata={RECORD: json.dumps(record)})


def _batches(
    vectors: NDArray[Any], lines: Iterator[tuple[int, list[Any]]], schema: pyarrow.Schema
) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of a table; each line has the index of its vector, and the columns before it."""
    import pyarrow

    while chunk := list(islice(lines, CHUNK_ROWS)):
        places, values = zip(*chunk, strict=True)
        block = np.ascontiguousarray(vectors[list(places)])
        own = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(block.reshape(-1)), block.shape[1])
        columns = zip(zip(*values, strict=True), schema, strict=False)
        arrays = [pyarrow.array(column, kind.type) for column, kind in columns]
        yield pyarrow.RecordBatch.from_arrays([*arrays, own], schema=schema)


def _new_lines(run: RunRows, lines: RowTable) -> Iterator[tuple[int, list[Any]]]:
    """Yield the index of each new row in the state, and its columns before the vector."""
    for sound, done, fact in zip(lines.sounds, run.ledger.sounds(), run.ledger.facts, strict=True):
        if fact["source"] == STATE and fact["rows"]:
            for number, facts in enumerate(lines.facts(sound, done.outcome)):
                yield int(fact["first"]) + number, [plain_text(done.name), *facts, *_own(done, number)]


def _own(sound: DoneSound, number: int) -> list[Any]:
    """Return the values of ``OWN_COLUMNS`` of a sound's row."""
    text = json.dumps(sound.to_json())
    return [_id(text), number, text]


def _gone(ledger: Ledger, out: Path) -> Iterator[str]:
    """Yield the ids of sounds whose rows were not taken over from the table."""
    earlier = ledger.facts[(ledger.facts["source"] == EARLIER) & (ledger.facts["rows"] > 0)]
    table = open_table(out)
    if table is None or table.count_rows("number = 0") == len(earlier):  # none: spares reading all of them again
        return
    kept, first = set(earlier["first"].tolist()), 0
    for text in _sound_texts(out):
        if first not in kept:
            yield _id(text)
        first += DoneSound.from_json(json.loads(text)).outcome.rows


def _sound_texts(out: Path) -> Iterator[str]:
    table = open_table(out)
    for batch in table.search().where("number = 0").select(["sound"]).to_batches(CHUNK_ROWS) if table else ():
        yield from batch.column("sound").to_pylist()


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
