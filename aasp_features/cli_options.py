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
Out = Annotated[Path, typer.Option(help="File of the vectors: .npy, .npz, .parquet, .safetensors, .h5 or .jsonl.")]
Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Audio files, folders (any depth), patterns such as 'a/**/*.wav', .tar shards."),
]
Files = Annotated[
    str | None,
    typer.Option(help="List of sounds: a path a line (- reads stdin), or a .csv with path, start, end (seconds)."),
]
Model = Annotated[str | None, typer.Option(help="Checkpoint folder or Hub name (default: the bundled checkpoint).")]
Pooling = Annotated[
    config.Pooling | None, typer.Option(help="Pooling of the tokens into a vector (default: the checkpoint's).")
]
LastLayers = Annotated[
    int | None, typer.Option(help="Number of last blocks that are averaged (default: the checkpoint's).")
]
Frames = Annotated[bool, typer.Option("--frames", help="Write vectors along time, a row for each frame.")]
Hop = Annotated[float, typer.Option(help="Distance of the frames, seconds: 0.16, 0.08, 0.04, 0.02 or 0.01.")]
Window = Annotated[
    float | None, typer.Option(help="Length of the windows of long audio, seconds (default: the checkpoint's).")
]
Context = Annotated[
    float | None,
    typer.Option(
        help="Overlap on each side of a window, used as context and then discarded, seconds (default: the "
        "checkpoint's)."
    ),
]
Dtype = Annotated[options.Dtype, typer.Option(help="Number format of the written vectors.")]
Normalize = Annotated[bool, typer.Option("--normalize", help="Scale each vector to length 1.")]
MaxHours = Annotated[float, typer.Option(help="Longest sound that is accepted, hours.")]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Full windows in a batch (default: 8; on a CUDA GPU 8 to 256, by its memory)."),
]
Workers = Annotated[int | None, typer.Option(help="Decoding threads (default: one a CPU, at most 8).")]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, mps, or several: cuda:0,cuda:1 (default: the CUDA GPU if there is one, else cpu)."),
]
Precision = Annotated[
    config.Precision, typer.Option(help="Matrix-multiply precision. bfloat16 changes vectors by less than 1 %.")
]
Compiled = Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile first.")]
Engine = Annotated[
    EngineName, typer.Option(help="Where the encoder runs: in this process, or on a Ray cluster (RAY_ADDRESS).")
]
Replicas = Annotated[
    int | None, typer.Option(help="Encoders of the ray engine (default: one a GPU, or as many as its CPUs serve).")
]
MapPage = Annotated[Path | None, typer.Option("--map", help="Page (.html) with a map of the sounds; needs OUT.npy.")]
Classifier = Annotated[
    str | None,
    typer.Option(
        help="Folder or Hub name of a classifier, which is run on its own encoder's vectors. Writes "
        "OUT.predictions.csv; with --frames also OUT.events.csv and label tracks for Audacity. Needs OUT.npy."
    ),
]
Threshold = Annotated[float | None, typer.Option(help="Least probability of an event (default: 0.5).")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Start again and replace earlier results, never a file that is read."),
]
NoLock = Annotated[
    bool, typer.Option("--no-lock", help="Take no lock, for file systems without; let no other process write to OUT.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print neither progress nor summary.")]
Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
]


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
