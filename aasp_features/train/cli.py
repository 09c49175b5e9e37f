"""``aasp-train``: pre-train, export, evaluate."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.train.evaluate.command import probe
from aasp_features.train.release import command as release

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pre-train and evaluate AaSP encoders.",
)


class TrainCommand(SentenceCommand):
    """One of ``aasp-train``."""

    program = "aasp-train"


for command in (probe, release.export, release.card, release.info, release.curves, release.export_onnx):
    app.command(cls=TrainCommand)(command)


@app.command(cls=TrainCommand)
def pretrain(
    data: Annotated[Path, typer.Option(help="Folder of audio files or .tar shards (KEY.opus, KEY.flac, …).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run found there goes on.")],
    recipe: Annotated[str, typer.Option(help="Preset; see aasp_features/train/recipes.")] = "base",
    settings: Annotated[list[str] | None, typer.Argument(help="key=value changes to the recipe.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; the GPU where there is one.")] = None,
    max_time: Annotated[float | None, typer.Option(help="Time budget of the run, minutes.")] = None,
    start_from: Annotated[str | None, typer.Option(help="Checkpoint whose weights a new run starts with.")] = None,
    stop_after: Annotated[float | None, typer.Option(help="Leave after so many minutes; resumes later.")] = None,
) -> None:
    """Pre-train an encoder; metrics go to OUT/metrics.jsonl, the state to OUT/state.safetensors."""
    import torch

    from aasp_features.train.pretrain.crop_source import open_crops
    from aasp_features.train.pretrain.loop import Pretraining
    from aasp_features.train.recipes import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    chosen = load_recipe(recipe, settings or [])
    with open_crops(chosen, data, out, place, start_from) as crops:
        run = Pretraining(crops, out, place, None if max_time is None else 60 * max_time, start_from)
        complete = run.run(None if stop_after is None else 60 * stop_after)
    typer.echo(f"{'complete' if complete else 'paused'} at step {run.progress.step}; state in {out}", err=True)


@app.command(cls=TrainCommand)
def teacher_features(
    data: Annotated[Path, typer.Option(help="Folder of audio files or .tar shards.")],
    out: Annotated[Path, typer.Option(help="Folder of the features; what is there is kept.")],
    recipe: Annotated[str, typer.Option(help="Preset; see aasp_features/train/recipes.")] = "tiny_distilled",
    settings: Annotated[list[str] | None, typer.Argument(help="key=value changes to the recipe.")] = None,
) -> None:
    """Make crops of a corpus and keep what external teachers say of them, for pretrain distillation.features=OUT."""
    from aasp_features.train.pretrain.crop_source import open_features, start_makers
    from aasp_features.train.recipes import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = load_recipe(recipe, [*(settings or []), f"distillation.features={out}"])
    makers = start_makers(chosen, open_features(chosen, data, out))
    try:
        makers.wait()
    finally:
        makers.stop()
    typer.echo(f"{makers.crops} crops heard; features in {out}", err=True)


def main() -> None:
    """Entry point."""
    sys.exit(app())
