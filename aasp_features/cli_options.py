"""The options of ``aasp-embed``: what its help says of them, and what is accepted, by the names that are typed."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from aasp_features import config
from aasp_features.errors import OptionError
from aasp_features.events import check_threshold
from aasp_features.folder import options
from aasp_features.version import __version__
from aasp_features.windows import COLUMN_SECONDS, HOPS


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aasp-features {__version__}")
        raise typer.Exit


EngineName = Literal["local", "ray"]
Out = Annotated[Path, typer.Option(help="Vectors: .npy, .npz, .parquet, .safetensors, .h5 or .jsonl.")]
Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files, folders (any depth), 'patterns/**/*.wav', .tar shards.")
]
Files = Annotated[
    str | None, typer.Option(help="List: a path a line (- is stdin), or .csv with path, start, end (seconds).")
]
Model = Annotated[str | None, typer.Option(help="Folder or Hub name; the bundled one unless given.")]
Pooling = Annotated[config.Pooling | None, typer.Option(help="How tokens become a vector; the checkpoint's.")]
LastLayers = Annotated[int | None, typer.Option(help="Average the last k blocks.")]
Frames = Annotated[bool, typer.Option("--frames", help="Vectors along time, a row each, with their times.")]
Hop = Annotated[float, typer.Option(help="Seconds between frames: 0.16, 0.08, 0.04, 0.02 or 0.01.")]
Window = Annotated[float | None, typer.Option(help="Seconds of long audio that the encoder sees at once.")]
Context = Annotated[float | None, typer.Option(help="Seconds of each window's ends that only inform.")]
Dtype = Annotated[options.Dtype, typer.Option(help="As written.")]
Normalize = Annotated[bool, typer.Option("--normalize", help="Scale vectors to length 1.")]
MaxHours = Annotated[float, typer.Option(help="Longer sounds are errors.")]
BatchSize = Annotated[
    int | None, typer.Option(help="Windows of 10 s, or more shorter ones, encoded together; by the device.")
]
Workers = Annotated[int | None, typer.Option(help="Decoding threads; one a CPU, 8 at most, unless given.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, mps …, or several: cuda:0,cuda:1; a CUDA GPU where there is one.")
]
Precision = Annotated[config.Precision, typer.Option(help="Of the matrix products; bfloat16: vectors within 1 %.")]
Compiled = Annotated[bool, typer.Option("--compile", help="Compile the network first, by torch.compile.")]
Engine = Annotated[EngineName, typer.Option(help="ray: a cluster (RAY_ADDRESS), or this machine as one.")]
Replicas = Annotated[int | None, typer.Option(help="Encoders of the ray engine; one a GPU unless given.")]
MapPage = Annotated[
    Path | None, typer.Option("--map", help="Page (.html) to draw a map of the sounds on; OUT is then .npy.")
]
Classifier = Annotated[
    str | None,
    typer.Option(
        help="Folder or Hub name of a classifier: its encoder makes the vectors, and what it says goes to "
        "OUT.predictions.csv; with --frames also OUT.events.csv and label tracks for Audacity. OUT is then .npy."
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Probability from which on a class is an event; 0.5 unless given.")
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Start again, and replace whatever is there, but never a file that is read."),
]
NoLock = Annotated[
    bool, typer.Option("--no-lock", help="For file systems without locks; keep other processes away yourself.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]
Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)]


def check_options(
    frames: bool, hop: float, last_layers: int | None, batch_size: int | None, workers: int | None
) -> None:
    """What can be checked before a checkpoint is loaded.

    Raises:
        OptionError: a value that is not accepted.
    """
    if hop not in HOPS:
        raise OptionError(f"--hop must be one of {', '.join(map(str, HOPS))} seconds, got {hop}.")
    if hop != COLUMN_SECONDS and not frames:
        raise OptionError("--hop is the distance of frames: it needs --frames.")
    counts = {"--last-layers": last_layers, "--batch-size": batch_size, "--workers": workers}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise OptionError(f"{name} must be at least 1, got {count}.")


def check_classifier(
    classifier: str | None, threshold: float | None, out: Path, model: str | None, rows: options.RunOptions
) -> None:
    """What a classifier's run must have.

    Raises:
        OptionError: a threshold without events, or rows that a classifier does not read.
    """
    if threshold is not None:
        if classifier is None or not rows.frames:
            raise OptionError("--threshold is of events: it needs --classifier and --frames.")
        check_threshold(threshold)
    if classifier is None:
        return
    if model is not None and model != classifier:
        raise OptionError(f"--classifier {classifier} has its own encoder; leave --model {model} out.")
    if out.suffix != ".npy":
        raise OptionError(f"--classifier needs an --out that ends in .npy, got {out}.")
    if rows.dtype != "float32" or rows.normalize:
        raise OptionError("--classifier reads vectors as the encoder gives them; leave --dtype and --normalize out.")


def check_engine(engine: EngineName, replicas: int | None) -> None:
    """Does the engine have replicas, and how many?

    Raises:
        OptionError: it has none, or a number that is not accepted.
    """
    if replicas is not None and engine != "ray":
        raise OptionError("--replicas counts the encoders of --engine ray; for this machine give --device a,b.")
    if replicas is not None and replicas < 1:
        raise OptionError(f"--replicas must be at least 1, got {replicas}.")


def columns(name: str, seconds: float | None) -> int | None:
    """Seconds as columns of 160 ms.

    Raises:
        OptionError: not a whole number of them.
    """
    if seconds is None:
        return None
    whole = round(seconds / COLUMN_SECONDS) if math.isfinite(seconds) else 0
    if not abs(whole * COLUMN_SECONDS - seconds) <= 1e-6:
        nearest = f"; nearest is {whole * COLUMN_SECONDS:.2f}" if math.isfinite(seconds) else ""
        raise OptionError(f"{name} must be a multiple of {COLUMN_SECONDS} seconds, got {seconds}{nearest}.")
    least = 1 if name == "--window" else 0
    if whole < least:
        raise OptionError(f"{name} must be at least {least * COLUMN_SECONDS} seconds, got {seconds}.")
    return whole


def check_for(encoder: config.AaSPConfig, last_layers: int | None, window: float | None, context: float | None) -> None:
    """What depends on the checkpoint's config.

    Raises:
        OptionError: a value that this encoder does not accept.
    """
    if last_layers is not None and last_layers > encoder.depth:
        raise OptionError(f"--last-layers must be 1 to {encoder.depth} (the last k blocks), got {last_layers}.")
    longest = encoder.window * COLUMN_SECONDS
    if window is not None and window > longest + 1e-6:
        raise OptionError(f"--window must be {COLUMN_SECONDS} to {longest:.2f} seconds, as trained, got {window}.")
    seen = longest if window is None else window
    informs = encoder.context * COLUMN_SECONDS if context is None else context
    if 2 * informs > seen - 1e-6:
        raise OptionError(
            f"--context must be less than half of the window, got {informs:.2f} seconds on each side of {seen:.2f}; "
            "give another --context or --window."
        )
