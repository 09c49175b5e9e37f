"""``aasp-search``: the sounds of a collection that are most similar to others; no torch until one is embedded."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.errors import OptionError
from aasp_features.events import Event, audacity_labels, raven_table
from aasp_features.folder.formats import plain_text, write_csv
from aasp_features.folder.lance_index import IndexedTable, build_index, open_index
from aasp_features.folder.map_page import is_map_of
from aasp_features.similarity import Hit, Query, SearchError, hit_sounds, search
from aasp_features.sounds.sound import Sound

RAVEN_ENDING = ".selections.txt"

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


class SearchCommand(SentenceCommand):
    """``aasp-search``."""

    program = "aasp-search"


@app.command(no_args_is_help=True, cls=SearchCommand, context_settings={"help_option_names": ["-h", "--help"]})
def command(
    collection: Annotated[Path, typer.Argument(help="Vectors that aasp-embed wrote.")],
    queries: Annotated[list[str], typer.Argument(help="Sounds to search for. Several count as one, by their mean.")],
    start: Annotated[float | None, typer.Option(help="Start of the part of the query, seconds.")] = None,
    end: Annotated[float | None, typer.Option(help="End of the part of the query, seconds.")] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="Sound that hits should differ from; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option(help="Number of hits.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV of the hits.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help=f"Raven table of the hits (*{RAVEN_ENDING}), or Audacity labels (*.txt).")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Folder for the hits as WAV files.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the map beside the vectors at the first hit.")] = False,
    index: Annotated[bool, typer.Option("--index", help="Build the index of a .lance table first, or anew.")] = False,
    model: Annotated[str | None, typer.Option(help="Checkpoint folder or Hub name (default: by the record).")] = None,
) -> None:
    """Print the sounds of a collection that are most similar to the queries, with cosines after mean removal."""
    _check_new(path for path in (out, labels) if path is not None)
    page = find_map(collection) if show else None
    searched = _opened(collection, index)
    hits = search(searched, _queries(queries, start, end), top=top, unlike=list(unlike or []), model=model)
    typer.echo(table_text(hits))
    if out is not None:
        write_csv(out, list(Hit._fields), map(list, hits))
    if labels is not None:
        labels.write_text(_labels(hits, labels, ", ".join(Path(name).stem for name in queries)), encoding="utf-8")
    if export is not None:
        export_hits(hits, export)
    if page is not None:
        address = map_address(page, hits[0])
        typer.echo(f"map: {address}", err=True)
        webbrowser.open(address)


def _opened(collection: Path, index: bool) -> Path | IndexedTable:
    """Return the collection, or its table with an index, which is built first if asked for."""
    if index and collection.suffix != ".lance":
        raise OptionError(f"needs a .lance table, got {collection}; aasp-embed convert makes one.", option="index")
    if index:
        typer.echo(f"building the index of {collection}", err=True)
        build_index(collection)
    table = open_index(collection)
    if table is not None:
        typer.echo(f"{collection} has an index, so the hits are approximate.", err=True)
    return table or collection


def find_map(vectors: Path) -> Path:
    """Return the map of a file of vectors that is in its folder.

    Raises:
        OptionError: there is none.
    """
    for page in sorted(vectors.parent.glob("*.html")):
        if is_map_of(page, vectors):
            return page
    raise OptionError(f"needs the map of {vectors} beside it; aasp-embed --map draws it.", option="open")


def map_address(page: Path, hit: Hit) -> str:
    """Return the URL of a map that shows a hit."""
    part = {"start": hit.start} if hit.start else {}
    return f"{page.resolve().as_uri()}#{urlencode({'sound': plain_text(hit.path), **part}, quote_via=quote)}"


def _queries(names: list[str], start: float | None, end: float | None) -> list[Query]:
    if start is None and end is None:
        return list(names)
    if len(names) > 1:
        raise OptionError("is for one query; cut the parts of several into files.", option="start")
    return [(names[0], start, end)]


def _check_new(paths: Iterable[Path]) -> None:
    for path in paths:
        if os.path.lexists(path):
            raise SearchError(f"{path} exists and is not replaced; choose another name.")
        if not path.parent.is_dir():
            raise SearchError(f"{path}: the folder {path.parent} does not exist; make it first.")


def table_text(hits: Sequence[Hit]) -> str:
    """Return the hits as lines of aligned columns."""
    width = max([4, *(len(plain_text(hit.path)) for hit in hits)])
    lines = [f"{'score':>6}  {'path':<{width}}  {'start':>9}  {'end':>9}"]
    for hit in hits:
        times = ["" if time is None else f"{time:.2f}" for time in (hit.start, hit.end)]
        lines.append(f"{hit.score:+6.3f}  {plain_text(hit.path):<{width}}  {times[0]:>9}  {times[1]:>9}")
    return "\n".join(lines)


def _labels(hits: Sequence[Hit], path: Path, label: str) -> str:
    """Return the hits as the kind of labels that the ending names."""
    if path.name.endswith(RAVEN_ENDING):
        seconds = {hit.path: _seconds(sound) for hit, sound in zip(hits, hit_sounds(hits), strict=True)}
        return raven_table(((hit.path, hit.start or 0.0, hit.end or 0.0, label, hit.score) for hit in hits), seconds)
    if len({hit.path for hit in hits}) > 1:
        raise OptionError(
            f"{path}: hits are of several files, and an Audacity label track is of one; end the name in "
            f"{RAVEN_ENDING} for a Raven table.",
            option="labels",
        )
    events = [Event(hit.start or 0.0, hit.end or 0.0, f"{label} {hit.score:.3f}", hit.score) for hit in hits]
    return audacity_labels(sorted(events))


def _seconds(sound: Sound) -> float:
    """Return the length of the file of a sound."""
    stream = replace(sound, start=None, end=None).stream(16000)
    stream.close()
    return stream.info.seconds


def export_hits(hits: Sequence[Hit], folder: Path) -> list[Path]:
    """Write the hits as float32 WAV files, with their own rates and channels; return the paths.

    Raises:
        SearchError: a file exists already; nothing is written.
        AudioError: a sound that cannot be read.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    stems = [plain_text(Path(hit.path).stem)[:80].encode("ascii", "replace").decode().replace("?", "_") for hit in hits]
    paths = [folder / f"{rank:03d}_{stem}.wav" for rank, stem in enumerate(stems, 1)]
    _check_new(paths)
    for sound, path in zip(hit_sounds(hits), paths, strict=True):
        stream = sound.stream(16000)
        try:
            with soundfile.SoundFile(path, "x", stream.info.rate, stream.info.channels, "FLOAT") as file:
                for _, block in stream.blocks():
                    file.write(block)
        finally:
            stream.close()
    return paths


def main() -> None:
    """Run the command."""
    sys.exit(app())


if __name__ == "__main__":
    main()
