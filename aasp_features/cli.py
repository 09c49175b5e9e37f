"""``aasp-embed``: sounds in, ``emb.npy`` and ``emb.csv`` out.

Only this file's own needs are imported at the top: help and usage errors come before torch is loaded.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aasp_features import cli_options as opt
from aasp_features.audio.reading import MAX_HOURS
from aasp_features.command_line import SentenceCommand
from aasp_features.errors import OptionError
from aasp_features.folder.options import RunOptions
from aasp_features.windows import COLUMN_SECONDS

if TYPE_CHECKING:
    from aasp_features.classifier import AaSPClassifier
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.folder.run import Engine, RunResult
    from aasp_features.sounds.discovery import Discovery

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # typer's boxes leave 28 of 80 columns to the help, and name a type for flags
)


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
    max_hours: opt.MaxHours = MAX_HOURS,
    batch_size: opt.BatchSize = None,
    workers: opt.Workers = None,
    device: opt.Device = None,
    precision: opt.Precision = "float32",
    compiled: opt.Compiled = False,
    engine: opt.Engine = "local",
    replicas: opt.Replicas = None,
    map_page: opt.MapPage = None,
    classifier: opt.Classifier = None,
    threshold: opt.Threshold = None,
    overwrite: opt.Overwrite = False,
    no_lock: opt.NoLock = False,
    quiet: opt.Quiet = False,
    version: opt.Version = False,
) -> None:
    """Compute the vectors of sounds.

    OUT gets one row for each sound. Beside it are a table of the rows (.csv), a record of the settings (.json) and a
    list of the sounds that failed (.errors.csv). The same command continues a run that was stopped.

    Exit codes: 0 every sound is done, 1 some sounds or the writing failed, 2 nothing was done.
    """
    opt.check_options(frames, hop, last_layers, batch_size, workers)
    opt.check_engine(engine, replicas)
    columns = opt.columns("--window", window), opt.columns("--context", context)
    options = RunOptions(pooling, last_layers, batch_size, *columns, frames, hop, dtype, normalize, max_hours)
    opt.check_classifier(classifier, threshold, out, model, options)
    _check_results(out, map_page, classifier, frames, overwrite)
    found = _find(paths or [], files, out)
    _check_unread(found, out, map_page, files, model, classifier)
    with warnings.catch_warnings():
        warnings.showwarning = _tell  # type: ignore[assignment]  # it takes fewer named arguments
        devices = _devices(device, engine)
        encoder, named = _load(model, classifier, precision, compiled, options)
        opt.check_for(encoder.config, last_layers, window, context)
        worker = _engine(encoder, engine, devices, workers, replicas)
        result = _run(worker, found, out, options, overwrite, not no_lock, quiet)
    if named is not None:
        _predict(out, named, frames, threshold, overwrite, not no_lock, quiet)
    if map_page is not None:
        _draw_map(out, map_page)
    raise typer.Exit(1 if result.failures else 0)


def _check_results(out: Path, page: Path | None, classifier: str | None, frames: bool, overwrite: bool) -> None:
    """May what comes of the vectors be written where it is to go?"""
    from aasp_features.folder.predictions import check_replaceable

    if page is not None:
        _check_map(page, out, frames, overwrite)
    if classifier is not None:
        check_replaceable(out, overwrite)


def _check_unread(
    found: Discovery, out: Path, page: Path | None, files: str | None, model: str | None, classifier: str | None
) -> None:
    """Is nothing that is written a sound, the list, or a file of the checkpoint?"""
    from aasp_features.folder.output import check_apart
    from aasp_features.folder.predictions import prediction_places

    read = [*(sound.path for sound in found.sounds), *([Path(files)] if files else [])]
    if checkpoint := classifier or model:  # a folder, or a name that has no files here
        read.append(Path(checkpoint))
    written = [*([page] if page else []), *(prediction_places(out) if classifier else [])]
    check_apart(out, dict.fromkeys(read), written)


def _find(paths: list[Path], files: str | None, out: Path) -> Discovery:
    from aasp_features.folder.formats import check_format
    from aasp_features.folder.output import check_writable
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
    return require_sounds(found, ", ".join([*map(str, paths), *([files] if files else [])]))


def _run(
    engine: Engine, found: Discovery, out: Path, options: RunOptions, overwrite: bool, lock: bool, quiet: bool
) -> RunResult:
    """Embed, and say how it went."""
    from aasp_features.folder.run import embed_sounds

    for name, reason in found.problems.items():
        typer.echo(f"aasp-embed: {name}: {reason}", err=True)
    with _progress(found, quiet) as on_seconds:
        result = embed_sounds(
            engine, found, out, options, overwrite=overwrite, lock=lock, on_sound=_tell_failure, on_seconds=on_seconds
        )
    if not quiet:
        before = f", {result.resumed} sounds of an earlier run" if result.resumed else ""
        failed = f", {result.failures} failed (see {out.with_suffix('.errors.csv')})" if result.failures else ""
        typer.echo(f"{result.rows} vectors in {out}{before}{failed}{_passed_over(found)}", err=True)
    return result


def _passed_over(found: Discovery) -> str:
    """What folders and shards hold besides sounds, by ending, the most frequent first."""
    endings = [f"{count} {ending}" for ending, count in found.passed_over.most_common()]
    return f"; passed over: {', '.join(endings[:8])}{' …' if len(endings) > 8 else ''}" if endings else ""


def _check_map(page: Path, out: Path, frames: bool, overwrite: bool) -> None:
    from aasp_features.folder.map_page import check_map, is_map_of
    from aasp_features.folder.output import check_writable

    if frames or out.suffix != ".npy" or page.suffix != ".html":
        raise OptionError("--map needs a .html file, an --out that ends in .npy, and no --frames.")
    check_map()
    check_writable(page)
    if page.exists() and not overwrite and not is_map_of(page, out):
        raise OptionError(f"--map {page} exists and is no map of {out}; choose another, or give --overwrite.")


def _draw_map(out: Path, page: Path) -> None:
    from aasp_features.folder.map_page import map_run
    from aasp_features.folder.run import WriteError

    try:
        map_run(out, page)
    except (OSError, ValueError) as error:
        raise WriteError(f"--map {page}: the map could not be drawn ({error}); {out} is complete.") from error


def _predict(
    out: Path,
    classifier: AaSPClassifier,
    frames: bool,
    threshold: float | None,
    overwrite: bool,
    lock: bool,
    quiet: bool,
) -> None:
    """Write what the classifier says of the vectors, which are complete."""
    from aasp_features.events import THRESHOLD
    from aasp_features.folder.output import OutputError
    from aasp_features.folder.predictions import predict_run
    from aasp_features.folder.run import WriteError

    try:
        chosen = THRESHOLD if threshold is None else threshold
        places = predict_run(out, classifier, chosen, overwrite=overwrite, lock=lock)
    except OutputError as error:
        raise WriteError(str(error)) from error
    except OSError as error:
        raise WriteError(
            f"{out}: the predictions could not be written ({error.strerror or error}); the vectors are complete: "
            "run the same command again."
        ) from error
    if not quiet:
        more = f", events in {places.events}, label tracks in {places.tracks}" if frames else ""
        typer.echo(f"predictions in {places.table}{more}", err=True)


def _load(
    model: str | None, classifier: str | None, precision: opt.Precision, compiled: bool, options: RunOptions
) -> tuple[AaSPEncoder, AaSPClassifier | None]:
    """The encoder, and the classifier that it belongs to if one is given."""
    from aasp_features.encoder import AaSPEncoder

    named = None if classifier is None else _load_classifier(classifier, precision, options)
    encoder = AaSPEncoder.from_pretrained(model, precision=precision) if named is None else named.encoder
    if compiled:
        encoder.compile()
    return encoder, named


def _load_classifier(name: str, precision: opt.Precision, options: RunOptions) -> AaSPClassifier:
    """A classifier that can read the rows that are asked for."""
    from aasp_features.classifier import AaSPClassifier

    classifier = AaSPClassifier.from_pretrained(name, precision=precision)
    config = classifier.encoder.config
    if options.pooling not in (None, config.pooling) or options.last_layers not in (None, config.last_layers):
        blocks = "block" if config.last_layers == 1 else f"{config.last_layers} blocks"
        raise OptionError(
            f"--classifier {name} reads the pooling {config.pooling} of the last {blocks}; leave --pooling and "
            "--last-layers out."
        )
    if options.frames:
        classifier.check_frames()
    return classifier


def _devices(given: str | None, engine: opt.EngineName) -> list[str]:
    """What ``--device`` names, if torch has it here; of a cluster's devices only the kind is checked."""
    import torch

    if given is None:
        return [] if engine == "ray" else ["cuda" if torch.cuda.is_available() else "cpu"]
    names, accepted = given.split(","), "give cpu, cuda, cuda:1, mps or another that torch has here"
    try:
        kinds = {torch.device(name).type for name in names}
    except RuntimeError as error:
        raise OptionError(f"--device {given}: torch knows no such device; {accepted}.") from error
    if len(kinds) > 1:
        raise OptionError(f"--device: several devices must be of one kind, got {given}.")
    for name in [] if engine == "ray" else names:
        try:
            torch.zeros(1, device=name).item()
        except Exception as error:  # torch's own, of many kinds
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise OptionError(f"--device {given}: {name} cannot be used ({reason}); {accepted}.") from error
    return names


def _engine(
    encoder: AaSPEncoder, name: opt.EngineName, devices: list[str], workers: int | None, replicas: int | None
) -> Engine:
    """What does the work; the encoder itself goes to the first device."""
    from aasp_features.folder.local_engine import LocalEngine
    from aasp_features.folder.ray_engine import RayEngine

    if name == "ray":
        return RayEngine(encoder, replicas, devices[0] if devices else None)
    copies = [copy.deepcopy(encoder).to(other) for other in devices[1:]]
    chosen = LocalEngine([encoder.to(devices[0]), *copies], workers)
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


@contextmanager
def _progress(found: Discovery, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, or lines where it is no terminal; gives what is called with the seconds that were done."""
    from rich.console import Console

    from aasp_features.folder.progress import ProgressLines, estimated_seconds, progress_bar

    console = Console(stderr=True)
    if quiet:
        yield lambda seconds: None
    elif not console.is_terminal:
        yield ProgressLines(_tell, lambda: estimated_seconds(found.sounds))
    else:
        with progress_bar(console, estimated_seconds(found.sounds)) as on_seconds:
            yield on_seconds


def _tell_failure(name: str, error: str | None) -> None:
    if error is not None:
        _tell(f"{name}: {error}")


def _tell(message: Warning | str, *_: object) -> None:
    """Print a line on stderr; warnings are sentences, without Python's place and line."""
    typer.echo(f"aasp-embed: {message}", err=True)


def main() -> None:
    """Entry point."""
    sys.exit(app())


if __name__ == "__main__":
    main()
