"""``aasp-embed``: embed sounds into ``emb.npy``, with a table of the rows in ``emb.csv``.

Torch is imported in functions, so help and usage errors appear at once.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aasp_features import config, embed_options
from aasp_features.audio.reading import MAX_HOURS
from aasp_features.command_line import SentenceCommand
from aasp_features.errors import OptionError
from aasp_features.events import EventOptions
from aasp_features.folder.options import RunOptions
from aasp_features.options import check_count, check_device
from aasp_features.windows import COLUMN_SECONDS

if TYPE_CHECKING:
    from aasp_features.classifier import AaSPClassifier
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.folder.run import Engine, RunResult
    from aasp_features.sounds.discovery import Discovery

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # typer's boxes leave 28 of 80 columns to the help, and name a type for flags
)


class EmbedCommand(SentenceCommand):
    """``aasp-embed``."""

    program = "aasp-embed"


@dataclass(frozen=True)
class Output:
    """The files that a call writes, and how."""

    vectors: Path
    page: Path | None  # of the map
    labels: Path | None
    classifier: str | None
    events: EventOptions
    other: bool
    overwrite: bool
    update: bool
    lock: bool
    quiet: bool


@dataclass(frozen=True)
class Machine:
    """Where a call computes."""

    device: str | None
    precision: config.Precision
    compiled: bool
    engine: embed_options.EngineName
    workers: int | None
    replicas: int | None


@app.command(
    no_args_is_help=True,
    cls=EmbedCommand,
    help=embed_options.HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def embed(
    out: embed_options.Out,
    paths: embed_options.Paths = None,
    files: embed_options.Files = None,
    max_hours: embed_options.MaxHours = MAX_HOURS,
    overwrite: embed_options.Overwrite = False,
    update: embed_options.Update = False,
    no_lock: embed_options.NoLock = False,
    model: embed_options.Model = None,
    pooling: embed_options.Pooling = None,
    last_layers: embed_options.LastLayers = None,
    window: embed_options.Window = None,
    context: embed_options.Context = None,
    dtype: embed_options.Dtype = "float32",
    normalize: embed_options.Normalize = False,
    segment: embed_options.Segment = None,
    overlap: embed_options.Overlap = 0.0,
    frames: embed_options.Frames = False,
    hop: embed_options.Hop = COLUMN_SECONDS,
    device: embed_options.Device = None,
    precision: embed_options.Precision = "float32",
    batch_size: embed_options.BatchSize = None,
    workers: embed_options.Workers = None,
    compiled: embed_options.Compiled = False,
    engine: embed_options.EngineOption = "local",
    replicas: embed_options.Replicas = None,
    map_page: embed_options.MapPage = None,
    labels: embed_options.Labels = None,
    classifier: embed_options.Classifier = None,
    threshold: embed_options.Threshold = None,
    smooth: embed_options.Smooth = None,
    min_duration: embed_options.MinDuration = None,
    merge_gap: embed_options.MergeGap = None,
    other: embed_options.Other = False,
    quiet: embed_options.Quiet = False,
    version: embed_options.Version = False,
) -> None:
    """Embed sounds; the help is ``embed_options.HELP``."""
    columns = embed_options.columns("window", window), embed_options.columns("context", context)
    vectors = (pooling, last_layers, batch_size, *columns)
    rows = RunOptions(*vectors, frames, hop, dtype, normalize, max_hours, segment, overlap)
    machine = Machine(device, precision, compiled, engine, workers, replicas)
    spans = {"threshold": threshold, "smooth": smooth, "min_duration": min_duration, "merge_gap": merge_gap}
    events = embed_options.event_options(spans, classifier is not None and frames)
    output = Output(out, map_page, labels, classifier, events, other, overwrite, update, not no_lock, quiet)
    _check_options(output, model, rows, machine)
    found = _find(paths or [], files, out)
    _check_found(found, output, rows, files, model)
    raise typer.Exit(_embed(found, model, rows, output, machine))


def _embed(found: Discovery, model: str | None, rows: RunOptions, output: Output, machine: Machine) -> int:
    """Embed, predict and draw, as asked for; return the exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = _tell  # type: ignore[assignment]  # it takes fewer named arguments
        devices = _devices(machine)
        encoder, named = _load(model, rows, output, machine)
        result = _run(_engine(encoder, devices, machine), found, output, rows)
    if named is not None:
        _predict(output, named, rows.frames)
    if output.page is not None:
        _draw_map(output, output.page)
    return 1 if result.failures else 0


def _check_options(output: Output, model: str | None, rows: RunOptions, machine: Machine) -> None:
    """Check what options say of each other, before anything is read."""
    check_count("workers", machine.workers)
    check_count("replicas", machine.replicas)
    if machine.replicas is not None and machine.engine == "local":
        raise OptionError("counts the encoders of --engine ray; on this machine, use --device a,b.", option="replicas")
    if output.update and output.overwrite:
        raise OptionError("keeps rows, and --overwrite computes all anew; give one of them.", option="update")
    _check_classifier(output, model, rows)
    if output.labels is not None and output.page is None:
        raise OptionError("needs --map.", option="labels")
    if output.page is not None:
        from aasp_features.folder.map_page import check_page

        check_page(output.page, output.vectors, output.labels, output.overwrite)


def _check_classifier(output: Output, model: str | None, rows: RunOptions) -> None:
    if output.other and output.classifier is None:
        raise OptionError("needs --classifier.", option="other")
    if output.classifier is None:
        return
    if model not in (None, output.classifier):
        raise OptionError(f"{output.classifier} has its own encoder; remove --model {model}.", option="classifier")
    if output.vectors.suffix != ".npy":
        raise OptionError(f"needs an --out that ends in .npy, got {output.vectors}.", option="classifier")
    if rows.dtype != "float32" or rows.normalize:
        raise OptionError("reads the encoder's own vectors; remove --dtype and --normalize.", option="classifier")
    from aasp_features.folder.predictions import check_replaceable

    check_replaceable(output.vectors, output.overwrite)


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


def _check_found(found: Discovery, output: Output, rows: RunOptions, files: str | None, model: str | None) -> None:
    """Check that no sound, list or checkpoint would be replaced, and that frames can be drawn as a map."""
    from aasp_features.folder.output import check_apart

    checkpoint = output.classifier or model  # a folder, or a name that has no files here
    read = [
        *(sound.path for sound in found.sounds),
        *(Path(name) for name in (files, checkpoint, output.labels) if name),
    ]
    written = [output.page] if output.page else []
    if output.classifier is not None:
        from aasp_features.folder.predictions import prediction_files

        written += prediction_files(output.vectors)
    check_apart(output.vectors, dict.fromkeys(read), written)
    if output.page is not None and rows.frames:
        from aasp_features.folder.map_page import check_frames

        check_frames(found.sounds, rows.hop)


def _devices(machine: Machine) -> list[str]:
    """Return the devices to use; only the kind is checked of a cluster's."""
    import torch

    given, ray = machine.device, machine.engine == "ray"
    if given is None:
        return [] if ray else ["cuda" if torch.cuda.is_available() else "cpu"]
    names = given.split(",")
    for name in names:
        check_device(name, here=False)
    if len({torch.device(name).type for name in names}) > 1:
        raise OptionError(f"{given} names several kinds; name devices of one kind.", option="device")
    for name in [] if ray else names:
        check_device(name)
    return names


def _load(
    model: str | None, rows: RunOptions, output: Output, machine: Machine
) -> tuple[AaSPEncoder, AaSPClassifier | None]:
    """Return the encoder, and the classifier that it belongs to if one is named."""
    from aasp_features.classifier import AaSPClassifier
    from aasp_features.encoder import AaSPEncoder

    classifier = output.classifier
    if classifier is None:
        return AaSPEncoder.from_pretrained(model, precision=machine.precision), None
    named = AaSPClassifier.from_pretrained(classifier, precision=machine.precision)
    own = named.encoder.config
    if rows.pooling not in (None, own.pooling) or rows.last_layers not in (None, own.last_layers):
        blocks = "block" if own.last_layers == 1 else f"{own.last_layers} blocks"
        raise OptionError(
            f"{classifier} reads the pooling {own.pooling} of the last {blocks}; remove --pooling and --last-layers.",
            option="classifier",
        )
    if rows.frames:
        named.check_frames()
    if output.other:
        named.check_other()
    return named.encoder, named


def _engine(encoder: AaSPEncoder, devices: list[str], machine: Machine) -> Engine:
    """Return the engine of the run; the encoder itself moves to the first device."""
    from aasp_features.folder.local_engine import LocalEngine
    from aasp_features.folder.ray_engine import RayEngine

    if machine.compiled:
        encoder.compile()
    if machine.engine == "ray":
        return RayEngine(encoder, machine.replicas, devices[0] if devices else None)
    copies = [copy.deepcopy(encoder).to(other) for other in devices[1:]]
    chosen = LocalEngine([encoder.to(devices[0]), *copies], machine.workers)
    if encoder.compiled:
        _try_compiled(encoder)
    return chosen


def _try_compiled(encoder: AaSPEncoder) -> None:
    """Compile by a first call, rather than fail in the middle of a run."""
    import numpy as np

    try:
        encoder.embed(np.zeros(encoder.config.sample_rate, np.float32))
    except Exception as error:  # of many kinds: no compiler, an unknown device, a bug
        reason = str(error).strip().splitlines()[0]
        raise OptionError(f"fails in torch.compile ({reason}); run without it.", option="compile") from error


def _run(engine: Engine, found: Discovery, output: Output, rows: RunOptions) -> RunResult:
    """Embed, and print a summary."""
    from aasp_features.folder.run import embed_sounds

    for name, reason in found.problems.items():
        _tell(f"{name}: {reason}")
    with _progress(found, output.quiet) as on_seconds:
        result = embed_sounds(
            engine,
            found,
            output.vectors,
            rows,
            overwrite=output.overwrite,
            update=output.update,
            lock=output.lock,
            on_sound=lambda name, error: _tell(f"{name}: {error}") if error else None,
            on_seconds=on_seconds,
        )
    if not output.quiet:
        typer.echo(f"{result.rows} vectors in {output.vectors}{_more(result, found, output.vectors)}", err=True)
    return result


def _more(result: RunResult, found: Discovery, out: Path) -> str:
    """Return what a summary adds: what was resumed, what failed, and the endings of files that are no sounds."""
    before = f", {result.resumed} sounds of an earlier run" if result.resumed else ""
    failed = f", {result.failures} failed (see {out.with_suffix('.errors.csv')})" if result.failures else ""
    endings = [f"{count} {ending}" for ending, count in found.passed_over.most_common(8)]
    rest = " …" if len(found.passed_over) > 8 else ""
    return f"{before}{failed}" + (f"; passed over: {', '.join(endings)}{rest}" if endings else "")


def _predict(output: Output, classifier: AaSPClassifier, frames: bool) -> None:
    """Write the classifier's predictions; the vectors are complete."""
    from aasp_features.folder.output import OutputError
    from aasp_features.folder.predictions import predict_run
    from aasp_features.folder.run import WriteError

    out = output.vectors
    try:
        how = {"other": output.other, "overwrite": output.overwrite, "lock": output.lock}
        predicted = predict_run(out, classifier, output.events, **how)
    except OutputError as error:
        raise WriteError(str(error)) from error
    except OSError as error:
        raise WriteError(
            f"{out}: the predictions could not be written ({error.strerror or error}); the vectors are complete: "
            "run the same command again."
        ) from error
    if not output.quiet:
        also = f", events in {predicted.events} and {predicted.selections}, label tracks in {predicted.tracks}"
        typer.echo(f"predictions in {predicted.table}{also if frames else ''}", err=True)


def _draw_map(output: Output, page: Path) -> None:
    from aasp_features.folder.map_page import map_run
    from aasp_features.folder.progress import ProgressLines
    from aasp_features.folder.run import WriteError

    out = output.vectors
    say = (lambda line: None) if output.quiet else _tell
    try:
        map_run(out, page, output.labels, lambda rows: ProgressLines(say, lambda: rows, _drawn))
    except (OSError, ValueError) as error:
        raise WriteError(f"--map {page}: the map could not be drawn ({error}); {out} is complete.") from error
    if not output.quiet:
        typer.echo(f"map in {page}", err=True)


def _drawn(done: float, total: float, speed: float | None) -> str:
    return f"{done:.0f} of {total:.0f} pictures of the map"


@contextmanager
def _progress(found: Discovery, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr, or lines if it is no terminal; yield the function that takes the seconds done."""
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


def _tell(message: Warning | str, *_: object) -> None:
    """Print a sentence on stderr; of a warning, neither file nor line."""
    typer.echo(f"aasp-embed: {message}", err=True)


def main() -> None:
    """Run the command; ``convert`` as the first argument is a command of its own."""
    if sys.argv[1:2] == ["convert"]:
        from aasp_features.folder.convert import app as convert

        sys.exit(convert(sys.argv[2:]))
    sys.exit(app())


if __name__ == "__main__":
    main()
