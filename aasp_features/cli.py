"""``aasp-embed``: sounds in, ``emb.npy`` and ``emb.csv`` out.

Only this file's own needs are imported at the top: help and usage errors come before torch is loaded.
"""

from __future__ import annotations

import copy
import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aasp_features import cli_options as opt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aasp_features.encoder import AaSPEncoder
    from aasp_features.folder.discovery import Discovery
    from aasp_features.folder.run import Engine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(no_args_is_help=True)
def embed(
    out: opt.Out,
    paths: opt.Paths = None,
    files: opt.Files = None,
    model: opt.Model = None,
    pooling: opt.Pooling = None,
    layers: opt.Layers = None,
    frames: opt.Frames = False,
    hop: opt.Hop = 0.16,
    window: opt.Window = None,
    context: opt.Context = None,
    dtype: opt.Dtype = "float32",
    normalize: opt.Normalize = False,
    batch_size: opt.BatchSize = None,
    workers: opt.Workers = None,
    device: opt.Device = None,
    precision: opt.Precision = "float32",
    compiled: opt.Compiled = False,
    engine: opt.Engine = "local",
    replicas: opt.Replicas = None,
    map_page: opt.MapPage = None,
    overwrite: opt.Overwrite = False,
    quiet: opt.Quiet = False,
    version: opt.Version = False,
) -> None:
    """Turn sounds into vectors.

    Writes OUT (one row for each sound), a table of the rows (.csv), a record of what made them (.json), and a list of
    what could not be read (.errors.csv). A run that was stopped goes on when it is called again.
    Exit codes: 0 all sounds, 1 some failed or writing did, 2 nothing done.
    """
    found = _find(paths or [], files, out, workers)
    if map_page is not None:
        _check_map(map_page, out, frames)
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes fewer named arguments
    encoder = _load(model, window, context, precision, compiled)
    chosen = _engine(encoder, engine, device, workers, replicas)
    choices = {"pooling": pooling, "layers": layers, "batch_size": batch_size, "frames": frames, "hop": hop}
    choices |= {"dtype": dtype, "normalize": normalize}
    code = _run(encoder, found, out, quiet, choices, {"engine": chosen, "overwrite": overwrite})
    if map_page is not None:
        _draw_map(out, map_page)
    raise typer.Exit(code)


def _find(paths: list[Path], files: str | None, out: Path, workers: int | None) -> Discovery:
    from aasp_features.folder.discovery import Discovery, NothingFoundError, require_sounds
    from aasp_features.folder.formats import FormatError, check_format
    from aasp_features.folder.lists import read_list
    from aasp_features.folder.output import OutputError, check_apart, check_writable

    found = Discovery()
    try:
        if workers is not None and workers < 1:
            raise NothingFoundError(f"--workers must be at least 1, got {workers}.")
        if not paths and files is None:
            raise NothingFoundError("give files or folders, or --files LIST.")
        for path in paths:
            found.add_path(path)
        if files is not None:
            read_list(files, found)
        require_sounds(found, ", ".join([*map(str, paths), *([files] if files else [])]))
        check_format(out)
        check_writable(out)
        if files is not None:
            check_apart(out, Path(files))
    except (NothingFoundError, FormatError, OutputError) as error:
        raise _stop(error, 2) from error
    return found


def _run(
    encoder: AaSPEncoder, found: Discovery, out: Path, quiet: bool, choices: dict[str, Any], options: dict[str, Any]
) -> int:
    """Embed, say how it went, and return the exit code."""
    from aasp_features.folder.options import RunOptions
    from aasp_features.folder.output import OutputError
    from aasp_features.folder.run import InterruptedRun, WriteError, embed_sounds
    from aasp_features.inputs import InputError

    for name, reason in found.problems.items():
        typer.echo(f"aasp-embed: {name}: {reason}", err=True)
    try:
        with _progress(len(found.sounds), quiet) as on_sound:
            result = embed_sounds(encoder, found, out, RunOptions(**choices), on_sound=on_sound, **options)
    except (OutputError, InputError) as error:
        raise _stop(error, 2) from error
    except WriteError as error:
        raise _stop(error, 1) from error
    except InterruptedRun as error:
        raise _stop(error, 130) from error
    if not quiet:
        before = f", {result.resumed} sounds of an earlier run" if result.resumed else ""
        failed = f", {result.failures} failed (see {out.with_suffix('.errors.csv')})" if result.failures else ""
        typer.echo(f"{result.rows} vectors in {out}{before}{failed}", err=True)
    return 1 if result.failures else 0


def _check_map(page: Path, out: Path, frames: bool) -> None:
    from aasp_features.folder.map_page import MapError, check_map
    from aasp_features.folder.output import OutputError, check_writable

    try:
        if frames or out.suffix != ".npy" or page.suffix != ".html":
            raise MapError("--map needs a .html file, an --out that ends in .npy, and no --frames.")
        check_map()
        check_writable(page)
    except (MapError, OutputError) as error:
        raise _stop(error, 2) from error


def _draw_map(out: Path, page: Path) -> None:
    from aasp_features.folder.map_page import map_run

    try:
        map_run(out, page)
    except (OSError, ValueError) as error:
        raise _stop(OSError(f"--map {page}: the map could not be drawn ({error}); {out} is complete."), 1) from error


def _load(
    model: str | None, window: float | None, context: float | None, precision: Any, compiled: bool
) -> AaSPEncoder:
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.hub import CheckpointError
    from aasp_features.inputs import InputError

    try:
        encoder = AaSPEncoder.from_pretrained(model, precision=precision)
        encoder = encoder.windowed(
            _columns("--window", window, encoder.config.window), _columns("--context", context, encoder.config.context)
        )
    except (CheckpointError, InputError) as error:
        raise _stop(error, 2) from error
    if compiled:
        encoder.compile()
    return encoder


def _engine(encoder: AaSPEncoder, name: str, device: str | None, workers: int | None, replicas: int | None) -> Engine:
    """What does the work; the encoder itself goes to the first device."""
    import torch

    from aasp_features.folder.local_engine import LocalEngine
    from aasp_features.folder.ray_engine import RayEngine
    from aasp_features.inputs import InputError

    try:
        if name == "ray":
            return RayEngine(encoder, replicas, device)
        if name != "local":
            raise InputError(f"--engine must be local or ray, got {name}.")
        if replicas is not None:
            raise InputError("--replicas counts the encoders of --engine ray; for this machine give --device a,b.")
        devices = (device or ("cuda" if torch.cuda.is_available() else "cpu")).split(",")
        if len({torch.device(one).type for one in devices}) > 1:
            raise InputError(f"--device: several devices must be of one kind, got {device}.")
        copies = [copy.deepcopy(encoder).to(other) for other in devices[1:]]
        chosen = LocalEngine([encoder.to(devices[0]), *copies], workers)
    except InputError as error:
        raise _stop(error, 2) from error
    except (RuntimeError, AssertionError) as error:  # torch's own, for a device that it does not know or have
        raise _stop(RuntimeError(f"--device {device}: {str(error).splitlines()[0]}"), 2) from error
    if encoder.compiled:
        _try_compiled(encoder)
    return chosen


def _try_compiled(encoder: AaSPEncoder) -> None:
    """The first call compiles; better that it fails here than in the middle of a run."""
    import numpy as np

    try:
        encoder.embed(np.zeros(encoder.config.sample_rate, np.float32))
    except Exception as error:  # of many kinds: no compiler, an unknown device, a bug
        reason = str(error).strip().splitlines()[0]
        raise _stop(RuntimeError(f"--compile: torch.compile failed ({reason}); run without it."), 2) from error


def _columns(name: str, seconds: float | None, default: int) -> int:
    from aasp_features.inputs import InputError

    if seconds is None:
        return default
    columns = round(seconds / 0.16)
    if abs(columns * 0.16 - seconds) > 1e-6:
        raise InputError(f"{name} must be a multiple of 0.16 seconds, got {seconds}; nearest is {columns * 0.16:.2f}.")
    return columns


@contextmanager
def _progress(sounds: int, quiet: bool) -> Iterator[Callable[[str, str | None], None]]:
    """A bar on stderr where it is a terminal; failures are printed either way."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    shown = console.is_terminal and not quiet
    bar = Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task("", total=sounds)

    def on_sound(name: str, error: str | None) -> None:
        bar.advance(task)
        if error is not None:
            typer.echo(f"aasp-embed: {name}: {error}", err=True)

    with bar if shown else nullcontext():
        yield on_sound


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
