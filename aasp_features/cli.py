"""``aasp-embed``: sounds in, ``emb.npy`` and ``emb.csv`` out.

Only this file's own needs are imported at the top: help and usage errors come before torch is loaded.
"""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aasp_features import cli_options as opt
from aasp_features.audio import MOST_HOURS
from aasp_features.command_line import SentenceCommand
from aasp_features.errors import OptionError
from aasp_features.folder.options import RunOptions
from aasp_features.windows import COLUMN_SECONDS

if TYPE_CHECKING:
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.folder.run import Engine, RunResult
    from aasp_features.sounds.discovery import Discovery

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class EmbedCommand(SentenceCommand):
    """``aasp-embed``."""

    program = "aasp-embed"


@app.command(no_args_is_help=True, cls=EmbedCommand)
def embed(
    out: opt.Out,
    paths: opt.Paths = None,
    files: opt.Files = None,
    model: opt.Model = None,
    pooling: opt.Pooling = None,
    last_layers: opt.LastLayers = None,
    frames: opt.Frames = False,
    hop: opt.Hop = COLUMN_SECONDS,
    window: opt.Window = None,
    context: opt.Context = None,
    dtype: opt.Dtype = "float32",
    normalize: opt.Normalize = False,
    max_hours: opt.MaxHours = MOST_HOURS,
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
    columns = _columns("--window", window), _columns("--context", context)
    options = RunOptions(pooling, last_layers, batch_size, *columns, frames, hop, dtype, normalize, max_hours)
    found = _find(paths or [], files, out)
    if map_page is not None:
        _check_map(map_page, out, frames)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes fewer named arguments
        encoder = _load(model, precision, compiled)
        worker = _engine(encoder, engine, device, workers, replicas)
        result = _run(worker, found, out, options, overwrite, quiet)
    if map_page is not None:
        _draw_map(out, map_page)
    raise typer.Exit(1 if result.failures else 0)


def _find(paths: list[Path], files: str | None, out: Path) -> Discovery:
    from aasp_features.folder.formats import check_format
    from aasp_features.folder.output import check_apart, check_writable
    from aasp_features.sounds.discovery import Discovery, require_sounds
    from aasp_features.sounds.lists import read_list

    if not paths and files is None:
        raise OptionError("give files or folders, or --files LIST.")
    check_format(out)
    check_writable(out)
    found = Discovery()
    for path in paths:
        found.add_path(path)
    if files is not None:
        read_list(files, found)
        check_apart(out, Path(files))
    return require_sounds(found, ", ".join([*map(str, paths), *([files] if files else [])]))


def _run(engine: Engine, found: Discovery, out: Path, options: RunOptions, overwrite: bool, quiet: bool) -> RunResult:
    """Embed, and say how it went."""
    from aasp_features.folder.run import embed_sounds

    for name, reason in found.problems.items():
        typer.echo(f"aasp-embed: {name}: {reason}", err=True)
    with _progress(len(found.sounds), quiet) as on_sound:
        result = embed_sounds(engine, found, out, options, overwrite=overwrite, on_sound=on_sound)
    if not quiet:
        before = f", {result.resumed} sounds of an earlier run" if result.resumed else ""
        failed = f", {result.failures} failed (see {out.with_suffix('.errors.csv')})" if result.failures else ""
        typer.echo(f"{result.rows} vectors in {out}{before}{failed}{_passed_over(found)}", err=True)
    return result


def _passed_over(found: Discovery) -> str:
    """What folders and shards hold besides sounds, by ending, the most frequent first."""
    endings = [f"{count} {ending}" for ending, count in found.passed_over.most_common()]
    return f"; passed over: {', '.join(endings[:8])}{' …' if len(endings) > 8 else ''}" if endings else ""


def _check_map(page: Path, out: Path, frames: bool) -> None:
    from aasp_features.folder.map_page import check_map
    from aasp_features.folder.output import check_writable

    if frames or out.suffix != ".npy" or page.suffix != ".html":
        raise OptionError("--map needs a .html file, an --out that ends in .npy, and no --frames.")
    check_map()
    check_writable(page)


def _draw_map(out: Path, page: Path) -> None:
    from aasp_features.folder.map_page import map_run
    from aasp_features.folder.run import WriteError

    try:
        map_run(out, page)
    except (OSError, ValueError) as error:
        raise WriteError(f"--map {page}: the map could not be drawn ({error}); {out} is complete.") from error


def _load(model: str | None, precision: opt.Precision, compiled: bool) -> AaSPEncoder:
    from aasp_features.encoder import AaSPEncoder

    encoder = AaSPEncoder.from_pretrained(model, precision=precision)
    if compiled:
        encoder.compile()
    return encoder


def _engine(
    encoder: AaSPEncoder, name: opt.EngineName, device: str | None, workers: int | None, replicas: int | None
) -> Engine:
    """What does the work; the encoder itself goes to the first device."""
    import torch

    from aasp_features.folder.local_engine import LocalEngine
    from aasp_features.folder.ray_engine import RayEngine

    if workers is not None and workers < 1:
        raise OptionError(f"--workers must be at least 1, got {workers}.")
    if replicas is not None and name != "ray":
        raise OptionError("--replicas counts the encoders of --engine ray; for this machine give --device a,b.")
    devices = (device or ("cuda" if torch.cuda.is_available() else "cpu")).split(",")
    try:
        if name == "ray":
            return RayEngine(encoder, replicas, device)
        if len({torch.device(one).type for one in devices}) > 1:
            raise OptionError(f"--device: several devices must be of one kind, got {device}.")
        copies = [copy.deepcopy(encoder).to(other) for other in devices[1:]]
        chosen = LocalEngine([encoder.to(devices[0]), *copies], workers)
    except (RuntimeError, AssertionError) as error:  # torch's own, for a device that it does not know or have
        raise OptionError(f"--device {device}: {str(error).splitlines()[0]}") from error
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
        raise OptionError(f"--compile: torch.compile failed ({reason}); run without it.") from error


def _columns(name: str, seconds: float | None) -> int | None:
    """Seconds as columns of 160 ms."""
    if seconds is None:
        return None
    if not math.isfinite(seconds):
        raise OptionError(f"{name} must be a multiple of 0.16 seconds, got {seconds}.")
    columns = round(seconds / COLUMN_SECONDS)
    nearest = columns * COLUMN_SECONDS
    if abs(nearest - seconds) > 1e-6:
        raise OptionError(f"{name} must be a multiple of 0.16 seconds, got {seconds}; nearest is {nearest:.2f}.")
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


def main() -> None:
    """Entry point."""
    sys.exit(app())


if __name__ == "__main__":
    main()
