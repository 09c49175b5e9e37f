"""The arguments and options of ``aasp-embed``, in the groups of its help."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from aasp_features import config
from aasp_features.errors import OptionError
from aasp_features.events import MERGE_GAP, MIN_DURATION, SMOOTH, EventOptions
from aasp_features.folder import options
from aasp_features.version import __version__
from aasp_features.windows import COLUMN_SECONDS


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aasp-features {__version__}")
        raise typer.Exit


HELP = """Embed sounds.

OUT gets one row for each sound. A table of the rows (.csv), a record of the settings (.json) and lists of the sounds
(.sounds.jsonl) and of those that failed (.errors.csv) are written beside it. The same command continues a run that was
stopped.

\b
Examples:
  aasp-embed sounds/ -o emb.npy
  aasp-embed sounds/ -o emb.npy --update
  aasp-embed recordings/ -o parts.parquet --segment 3 --overlap 1
  aasp-embed convert emb.npy emb.parquet

Exit codes: 0 every sound is done, 1 some sounds or the writing failed, 2 nothing was done.
"""

_files = partial(typer.Option, rich_help_panel="Input and output")
_vectors = partial(typer.Option, rich_help_panel="Vectors")
_frames = partial(typer.Option, rich_help_panel="Frames")
_machine = partial(typer.Option, rich_help_panel="Machine")
_extras = partial(typer.Option, rich_help_panel="Extras")

EngineName = Literal["local", "ray"]
Paths = Annotated[list[Path] | None, typer.Argument(help="Audio files, folders, patterns ('a/**/*.wav'), .tar shards.")]
Out = Annotated[
    Path, _files("--out", "-o", help="Vectors: .npy, .npz, .parquet, .safetensors, .h5, .jsonl or .lance (LanceDB).")
]
Files = Annotated[str | None, _files(help="List of paths (- reads stdin), or .csv of path, start, end (seconds).")]
MaxHours = Annotated[float, _files(help="Longest sound that is accepted, hours.")]
Overwrite = Annotated[bool, _files("--overwrite", help="Replace earlier results, but never a file that is read.")]
Update = Annotated[
    bool, _files("--update", help="Embed new and changed sounds, drop rows of deleted ones, keep the others.")
]
NoLock = Annotated[
    bool, _files("--no-lock", help="Take no lock, where there are none; let no other process write OUT.")
]
Model = Annotated[str | None, _vectors(help="Checkpoint folder or Hub name (default: the bundled checkpoint).")]
Pooling = Annotated[config.Pooling | None, _vectors(help="Pooling of tokens (default: the checkpoint's).")]
LastLayers = Annotated[int | None, _vectors(help="Number of last blocks averaged (default: the checkpoint's).")]
Window = Annotated[float | None, _vectors(help="Length of the windows of long audio, seconds (default: as trained).")]
Context = Annotated[float | None, _vectors(help="Context on each side of a window, seconds (default: as trained).")]
Dtype = Annotated[options.Dtype, _vectors(help="Number format of the vectors.")]
Normalize = Annotated[bool, _vectors("--normalize", help="Scale each vector to length 1.")]
Segment = Annotated[float | None, _vectors(help="Write a row for each piece of so many seconds of a sound.")]
Overlap = Annotated[float, _vectors(help="Overlap of one segment with the next, seconds.")]
Frames = Annotated[bool, _frames("--frames", help="Write vectors along time, one row for each frame.")]
Hop = Annotated[float, _frames(help="Time between frames, seconds: 0.16, 0.08, 0.04, 0.02 or 0.01.")]
Device = Annotated[str | None, _machine(help="cpu, cuda, mps, or cuda:0,cuda:1 (default: cuda if present, else cpu).")]
Precision = Annotated[config.Precision, _machine(help="Matrix-multiply precision. bfloat16 changes vectors by < 1 %.")]
BatchSize = Annotated[int | None, _machine(help="Full windows in a batch (default: 8; on CUDA, 8 to 256 by memory).")]
Workers = Annotated[int | None, _machine(help="Decoding threads (default: one for each CPU, at most 8).")]
Compiled = Annotated[bool, _machine("--compile", help="Compile the network with torch.compile first.")]
EngineOption = Annotated[EngineName, _machine(help="Run in this process or on a Ray cluster (RAY_ADDRESS).")]
Replicas = Annotated[int | None, _machine(help="Encoders of the ray engine (default: by its GPUs, else its CPUs).")]
MapPage = Annotated[
    Path | None, _extras("--map", help="Page (.html) with a map of the sounds, to see, play and label.")
]
Labels = Annotated[Path | None, _extras(help="With --map: .csv of file and label, to colour the points by.")]
Classifier = Annotated[str | None, _extras(help="Folder or Hub name; writes OUT.predictions.csv. Needs OUT.npy.")]
Threshold = Annotated[
    float | None, _frames(help="Least probability of an event (default: the classifier's, by class).")
]
Smooth = Annotated[
    float | None, _frames(help=f"Average frames over this time for events, seconds (default: {SMOOTH:g}).")
]
MinDuration = Annotated[float | None, _frames(help=f"Drop shorter events, seconds (default: {MIN_DURATION:g}).")]
MergeGap = Annotated[float | None, _frames(help=f"Merge events this close, seconds (default: {MERGE_GAP:g}).")]
Other = Annotated[bool, _extras("--other", help="With --classifier, label sounds 'other' if no class is likely.")]
Quiet = Annotated[bool, _extras("--quiet", help="Print neither progress nor summary.")]
Version = Annotated[bool, _extras("--version", callback=_print_version, is_eager=True, help="Print the version.")]


def columns(option: str, seconds: float | None) -> int | None:
    """Return seconds as a number of columns of 160 ms."""
    if seconds is None:
        return None
    nearest = round(seconds / COLUMN_SECONDS) if math.isfinite(seconds) else 0
    if not abs(nearest * COLUMN_SECONDS - seconds) <= 1e-6:
        advice = f"; nearest is {nearest * COLUMN_SECONDS:.2f}" if math.isfinite(seconds) else ""
        raise OptionError(f"must be a multiple of {COLUMN_SECONDS} seconds, got {seconds}{advice}.", option=option)
    return nearest


def event_options(given: dict[str, float | None], wanted: bool) -> EventOptions:
    """Return the options of events, checked; ``wanted`` says whether there are events."""
    named = {name: value for name, value in given.items() if value is not None}
    if named and not wanted:
        raise OptionError("is for events: it needs --classifier and --frames.", option=next(iter(named)))
    return EventOptions(**named).check()
