"""``aasp-embed convert``: results in one format -> the same rows, table and record in another; no torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.folder.formats import check_format, write_vectors
from aasp_features.folder.lance_table import open_table, table_sounds, write_table
from aasp_features.folder.output import (
    OutputError,
    check_unread,
    check_writable,
    read_sounds,
    side_file,
    write_table_and_record,
)
from aasp_features.folder.results import READERS, Results, read_results
from aasp_features.folder.state import read_sealed

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class ConvertCommand(SentenceCommand):
    """``aasp-embed convert``."""

    program = "aasp-embed convert"


@app.command(no_args_is_help=True, cls=ConvertCommand, context_settings={"help_option_names": ["-h", "--help"]})
def convert(
    source: Annotated[Path, typer.Argument(help="Vectors that aasp-embed wrote.")],
    out: Annotated[Path, typer.Argument(help=f"File to write: {', '.join(READERS)}.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Write results in another format: the same vectors, table and record.

    The table (.csv), the record (.json) and the list of sounds (.sounds.jsonl) are written beside OUT.
    """
    results = convert_results(source, out, overwrite=overwrite)
    typer.echo(f"{len(results.vectors)} vectors in {out}", err=True)


def convert_results(source: Path, out: Path, *, overwrite: bool = False) -> Results:
    """Write the results ``source`` as ``out``, whose ending names the format; return them.

    The vectors keep their bytes. A table or record beside ``out`` that is the same already is left as it is.

    Raises:
        OutputError: ``out`` or another table or record exists, or it cannot be written.
        ResultsError, FormatError: as of ``read_results``.
    """
    check_format(out, "the output")
    results = read_results(source)
    check_unread([out], [source, *(side_file(source, ending) for ending in (".csv", ".json"))])
    check_writable(out)
    try:
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            _write(results, Path(folder), out, overwrite)
            made = sorted(Path(folder).iterdir(), key=lambda path: path.name == out.name)  # the vectors last
            _move([path for path in made if not _is_same(path, out.with_name(path.name))], out.parent, overwrite)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{out} could not be written ({error.strerror or error}); what was there is kept.") from error
    return results


def _move(made: list[Path], folder: Path, overwrite: bool) -> None:
    """Move what was made into a folder, once all of it is on the disk."""
    for there in (folder / path.name for path in made):
        if os.path.lexists(there) and not overwrite:
            raise OutputError(f"{there} exists; choose another output, or give --overwrite.")
    for file in (file for path in made for file in [path, *path.rglob("*")] if file.is_file()):
        with file.open("r+b") as written:
            os.fsync(written.fileno())
    for path in made:
        os.replace(path, folder / path.name)


def _write(results: Results, folder: Path, out: Path, overwrite: bool) -> None:
    """Write vectors, table, list of sounds and record into a folder, as far as they are known.

    A LanceDB table that is to be replaced gets a next version where it is.
    """
    source, record = results.path, {**results.record, "output": out.name} if results.record else {}
    sounds = side_file(source, ".sounds.jsonl")
    if out.suffix == ".lance":
        if not record or not (sounds.exists() or source.suffix == ".lance"):
            raise OutputError(f"{source}: a table needs its record and .sounds.jsonl; put both beside the vectors.")
        done, replaces = read_sounds(source) if sounds.exists() else table_sounds(source), overwrite and open_table(out)
        write_table(out if replaces else folder / out.name, results, done, "overwrite" if replaces else "create")
        return
    write_vectors(folder / out.name, results.vectors, results, record)
    if sounds.exists():
        shutil.copyfile(sounds, folder / side_file(out, ".sounds.jsonl").name)
    write_table_and_record(folder, out, results, record)


def _is_same(made: Path, there: Path) -> bool:
    """Return whether a table or list, or a record of the same rows, is there already."""
    if made.suffix == ".json":
        own, other = read_sealed(made), read_sealed(there)
        names = {"output", "files", "sha256"}
        return (
            own is not None and other is not None and all(own[name] == other.get(name) for name in own.keys() - names)
        )
    return made.suffix in (".csv", ".jsonl") and there.is_file() and made.read_bytes() == there.read_bytes()
