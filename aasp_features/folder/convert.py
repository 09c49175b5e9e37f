"""``aasp-embed convert``: results in one format -> the same rows, table and record in another; no torch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.folder.formats import WRITERS, check_format, write_csv
from aasp_features.folder.lance_table import table_sounds, write_table
from aasp_features.folder.output import OutputError, check_unread, check_writable, read_sounds, side_file
from aasp_features.folder.results import READERS, Results, read_results
from aasp_features.folder.state import fingerprint, read_sealed, seal

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
            made = _write(results, Path(folder) / out.name)
            _move([path for path in made if not _is_same(path, out.with_name(path.name))], out.parent, overwrite)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{out} could not be written ({error.strerror or error}); what was there is kept.") from error
    return results


def _move(made: list[Path], folder: Path, overwrite: bool) -> None:
    for there in (folder / path.name for path in made):
        if os.path.lexists(there) and not overwrite:
            raise OutputError(f"{there} exists; choose another output, or give --overwrite.")
    for path in reversed(made):  # the vectors last: until then, the record says that others are not its own
        if path.is_dir() and os.path.lexists(folder / path.name):
            shutil.rmtree(folder / path.name)
        os.replace(path, folder / path.name)


def _write(results: Results, out: Path) -> list[Path]:
    """Write vectors, table, list of sounds and record, as far as they are known; return their paths in this order."""
    source, record = results.path, {**results.record, "output": out.name} if results.record else {}
    listed = side_file(source, ".sounds.jsonl").exists()
    if out.suffix == ".lance":
        if not record or not (listed or source.suffix == ".lance"):
            raise OutputError(f"{source}: a table needs its record and .sounds.jsonl; put both beside the vectors.")
        write_table(out, results, read_sounds(source) if listed else table_sounds(source))
        return [out]
    if out.suffix == ".npy":
        np.save(out, results.vectors)
    else:
        metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
        WRITERS[out.suffix](out, results.vectors, results, metadata)
    paths = [out, side_file(out, ".csv")]
    write_csv(paths[-1], results.columns, results)
    if listed:
        paths.append(side_file(out, ".sounds.jsonl"))
        shutil.copyfile(side_file(source, ".sounds.jsonl"), paths[-1])
    if record:
        files = {path.name: fingerprint(path) for path in paths}
        paths.append(side_file(out, ".json"))
        paths[-1].write_text(seal({**record, "files": files}, indent=2), encoding="utf-8")
    return paths


def _is_same(made: Path, there: Path) -> bool:
    """Return whether a table or list, or a record of the same rows, is there already."""
    if made.suffix == ".json":
        own, other = read_sealed(made), read_sealed(there)
        names = {"output", "files", "sha256"}
        return (
            own is not None and other is not None and all(own[name] == other.get(name) for name in own.keys() - names)
        )
    return made.suffix in (".csv", ".jsonl") and there.is_file() and made.read_bytes() == there.read_bytes()
