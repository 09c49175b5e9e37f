"""The options of ``aasp-embed``, with what its help says of them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from aasp_features import config
from aasp_features.folder import options
from aasp_features.version import __version__


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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start again, whatever OUT holds.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]
Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)]
