"""``aasp-search``: the sounds of a collection that are most similar to one.

Torch is imported only for queries that have to be embedded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.errors import OptionError

if TYPE_CHECKING:
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.similarity import Hit

COLUMNS = ["score", "path", "start", "end"]
RAVEN_COLUMNS = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]
RAVEN_COLUMNS += ["Begin Path", "Score"]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class SearchCommand(SentenceCommand):
    """``aasp-search``."""

    program = "aasp-search"


Collection = Annotated[Path, typer.Argument(help="File that aasp-embed wrote, in any format.")]
Queries = Annotated[list[str], typer.Argument(help="Sounds; a path in the table of rows is not embedded again.")]
Unlike = Annotated[list[str] | None, typer.Option(help="Sound that hits should differ from; may be repeated.")]
Start = Annotated[float | None, typer.Option(help="Start of the part of the queries, seconds.")]
End = Annotated[float | None, typer.Option(help="End of the part of the queries, seconds.")]
Top = Annotated[int, typer.Option(help="Number of hits.")]
Model = Annotated[str | None, typer.Option(help="Checkpoint folder or Hub name (default: by the record's name).")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Table of the hits (.csv).")]
Export = Annotated[Path | None, typer.Option(help="Folder for the hits as WAV, mono, at their own rate.")]
Labels = Annotated[Path | None, typer.Option(help="Hits as a Raven selection table (.txt).")]


@app.command(no_args_is_help=True, cls=SearchCommand, context_settings={"help_option_names": ["-h", "--help"]})
def search_command(
    collection: Collection,
    queries: Queries,
    unlike: Unlike = None,
    start: Start = None,
    end: End = None,
    top: Top = 20,
    model: Model = None,
    out: Out = None,
    export: Export = None,
    labels: Labels = None,
) -> None:
    """Find the sounds most similar to one, or to several.

    Existing files are never replaced.
    """
    from aasp_features.similarity import search

    if (start is not None or end is not None) and unlike:
        raise OptionError("and --end apply to one kind of query; cut the parts first to use --unlike.", option="start")
    _check_new(out, labels)
    hits = search(collection, queries, unlike=unlike or (), top=top, start=start, end=end, encoder=_load(model))
    typer.echo(_table(hits))
    if out is not None:
        from aasp_features.folder.formats import write_csv

        write_csv(out, [*COLUMNS, "row"], hits)  # type: ignore[arg-type]
    if labels is not None:
        labels.write_text(raven_table(hits), encoding="utf-8", errors="surrogateescape")
    if export is not None:
        export_hits(hits, export)


def export_hits(hits: Sequence[Hit], folder: Path) -> list[Path]:
    """Write each hit as a mono WAV file, at the rate of its sound.

    Raises:
        OptionError: a file that exists, or a folder that cannot be made.
        AudioError: a sound that is gone or cannot be read.
    """
    from aasp_features.audio.reading import audio_info, stream_audio

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be made ({error.strerror}).", option="export") from error
    files = [folder / f"{rank:03d}-{Path(hit.path).stem[:60]}.wav" for rank, hit in enumerate(hits, start=1)]
    for file in files:
        if os.path.lexists(file):
            raise OptionError(f"{file} exists; choose another folder.", option="export")
    for hit, file in zip(hits, files, strict=True):
        rate = audio_info(hit.path).rate
        _write_wav(file, stream_audio(hit.path, rate, start=hit.start or 0.0, end=hit.end), rate)
    return files


def raven_table(hits: Iterable[Hit]) -> str:
    """Return hits as a Raven selection table; hits of whole sounds end where the sound does."""
    from aasp_features.audio.reading import audio_info

    lines = ["\t".join(RAVEN_COLUMNS)]
    for number, hit in enumerate(hits, start=1):
        info = audio_info(hit.path)
        times = f"{hit.start or 0.0:.6f}\t{info.seconds if hit.end is None else hit.end:.6f}\t0\t{info.rate / 2:g}"
        lines.append(f"{number}\tSpectrogram 1\t1\t{times}\t{os.path.abspath(hit.path)}\t{hit.score:.6f}")
    return "\n".join(lines) + "\n"


def _check_new(out: Path | None, labels: Path | None) -> None:
    """Check that the files to be written have a known ending and do not exist."""
    for option, path, ending in (("out", out, ".csv"), ("labels", labels, ".txt")):
        if path is None:
            continue
        if path.suffix != ending:
            raise OptionError(f"must end in {ending}, got {path}.", option=option)
        if os.path.lexists(path) or not path.parent.is_dir():
            raise OptionError(f"{path} exists, or its folder does not; choose another file.", option=option)


def _load(model: str | None) -> AaSPEncoder | None:
    if model is None:
        return None
    from aasp_features.encoder import AaSPEncoder

    return AaSPEncoder.from_pretrained(model)


def _table(hits: Sequence[Hit]) -> str:
    """Return the hits as an aligned table; its times are left out where no hit has any."""
    from aasp_features.folder.formats import plain_text

    rows = [[f"{hit.score:+.3f}", plain_text(hit.path), _seconds(hit.start), _seconds(hit.end)] for hit in hits]
    timed = any(row[2] or row[3] for row in rows)
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [map(str.ljust, line, widths) for line in (COLUMNS, *rows)]
    return "\n".join("  ".join([*line][: 4 if timed else 2]).rstrip() for line in lines)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _write_wav(path: Path, blocks: Iterable[Any], rate: int) -> None:
    """Write a new file; what cannot be finished is removed."""
    import soundfile

    try:
        with soundfile.SoundFile(path, "x", rate, 1, "FLOAT", format="WAV") as file:
            for block in blocks:
                file.write(block)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def main() -> None:
    """Run the command."""
    sys.exit(app())


if __name__ == "__main__":
    main()
