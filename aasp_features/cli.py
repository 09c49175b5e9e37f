"""``aasp-embed``: sounds in, ``emb.npy`` and ``emb.csv`` out.

Only this file's own needs are imported at the top: help and usage errors come before torch is loaded.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aasp_features.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aasp_features.encoder import AaSPEncoder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aasp-features {__version__}")
        raise typer.Exit


@app.command(no_args_is_help=True)
def embed(
    paths: Annotated[list[Path], typer.Argument(help="Sound files and folders (searched to any depth).")],
    out: Annotated[Path, typer.Option(help="Vectors to write (.npy); its table gets the ending .csv.")],
    model: Annotated[str | None, typer.Option(help="Folder or Hub name; the bundled one unless given.")] = None,
    pooling: Annotated[str | None, typer.Option(help="mean, cls, mean+cls or frequency.")] = None,
    layers: Annotated[int | None, typer.Option(help="Average the last k blocks.")] = None,
    batch_size: Annotated[int, typer.Option(help="Windows (10 s) that are encoded together.")] = 32,
    workers: Annotated[
        int | None, typer.Option(help="Decoding threads; one for each CPU, 8 at most, unless given.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps, …; a CUDA GPU where there is one.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Turn sounds into vectors.

    Writes OUT (one float32 row for each file), a table beside it (row, path, seconds, original rate, channels), and a
    list of the files that could not be read, which have no row. Exit codes: 0 all files, 1 some failed, 2 nothing done.
    """
    files = _find(paths, out, workers)
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes fewer named arguments
    encoder = _load(model, device, pooling, layers, batch_size)
    options = {"pooling": pooling, "layers": layers, "batch_size": batch_size, "workers": workers}
    raise typer.Exit(_run(encoder, files, out, quiet, options))


def _find(paths: list[Path], out: Path, workers: int | None) -> list[Path]:
    from aasp_features.folder.discovery import NothingFoundError, find_files
    from aasp_features.folder.writers import OutputError, check_writable

    try:
        if workers is not None and workers < 1:
            raise NothingFoundError(f"--workers must be at least 1, got {workers}.")
        files = find_files(paths)
        check_writable(out)
    except (NothingFoundError, OutputError) as error:
        raise _stop(error, 2) from error
    return files


def _run(encoder: AaSPEncoder, files: list[Path], out: Path, quiet: bool, options: dict[str, Any]) -> int:
    """Embed, say how it went, and return the exit code."""
    from aasp_features.folder.run import embed_files
    from aasp_features.folder.writers import OutputError

    try:
        with _progress(len(files), quiet) as on_file:
            result = embed_files(encoder, files, out, on_file=on_file, **options)
    except OutputError as error:
        raise _stop(error, 1) from error
    except KeyboardInterrupt as error:
        raise _stop(KeyboardInterrupt("interrupted; nothing was written."), 130) from error
    if not quiet:
        failed = f", {len(result.failures)} failed (see {out.with_suffix('.errors.csv')})" if result.failures else ""
        typer.echo(f"{result.rows} vectors in {out}{failed}", err=True)
    return 1 if result.failures else 0


def _load(
    model: str | None, device: str | None, pooling: str | None, layers: int | None, batch_size: int
) -> AaSPEncoder:
    import torch

    from aasp_features.encoder import AaSPEncoder
    from aasp_features.hub import CheckpointError
    from aasp_features.inputs import InputError

    try:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        encoder = AaSPEncoder.from_pretrained(model, device=device)
        encoder.check_options(pooling, layers, batch_size)
    except (CheckpointError, InputError) as error:
        raise _stop(error, 2) from error
    except RuntimeError as error:  # torch's own, for a device that it does not know or have
        raise _stop(RuntimeError(f"--device {device}: {str(error).splitlines()[0]}"), 2) from error
    return encoder


@contextmanager
def _progress(files: int, quiet: bool) -> Iterator[Callable[[Path, str | None], None]]:
    """A bar on stderr where it is a terminal; failures are printed either way."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    shown = console.is_terminal and not quiet
    bar = Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task("", total=files)

    def on_file(path: Path, error: str | None) -> None:
        bar.advance(task)
        if error is not None:
            typer.echo(f"aasp-embed: {path}: {error}", err=True)

    with bar if shown else nullcontext():
        yield on_file


def _show_warning(message: Warning | str, *_: object) -> None:
    """Warnings as sentences, without Python's place and line."""
    typer.echo(f"aasp-embed: {message}", err=True)


def _stop(error: BaseException, code: int) -> typer.Exit:
    typer.echo(f"aasp-embed: {error}", err=True)
    return typer.Exit(code)


def main() -> None:
    """Entry point."""
    sys.exit(app())


if __name__ == "__main__":
    main()
