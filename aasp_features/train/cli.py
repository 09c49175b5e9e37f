"""``aasp-train``: pre-train, export, evaluate, fine-tune."""

from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.train.evaluate.benchmark_command import reproduce, tasks
from aasp_features.train.evaluate.classify_command import classify
from aasp_features.train.evaluate.command import knn, linear
from aasp_features.train.evaluate.finetune.command import finetune
from aasp_features.train.evaluate.robustness.robustness_command import robustness
from aasp_features.train.evaluate.stability.stability_command import stability
from aasp_features.train.options import DEVICE_HELP
from aasp_features.train.release import command as release

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # as aasp-embed
    help="Pre-train, evaluate and fine-tune AaSP encoders.",
)


class TrainCommand(SentenceCommand):
    """One of ``aasp-train``."""

    program = "aasp-train"

    def invoke(self, ctx: Any) -> Any:
        """Run it; what the system refuses (a full disk, a folder that is no folder) is a sentence, too."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads the output has gone, and needs no sentence
                raise
            place = f"{error.filename}: " if error.filename else ""
            typer.echo(f"{self.program}: {place}{(error.strerror or str(error)).rstrip('.')}.", err=True)
            raise typer.Exit(2) from error


EVALUATION = (linear, knn, classify, finetune, stability, robustness, reproduce, tasks)
RELEASE = (release.export, release.card, release.info, release.curves, release.export_onnx)
for command in (*EVALUATION, *RELEASE):
    app.command(cls=TrainCommand)(command)


@app.command(cls=TrainCommand)
def pretrain(
    data: Annotated[Path, typer.Option(help="Folder of audio files or .tar shards (KEY.opus, KEY.flac, …).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run found there continues.")],
    recipe: Annotated[str, typer.Option(help="Name of a preset in aasp_features/train/recipes.")] = "base",
    settings: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: key=value.")] = None,
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP)] = None,
    max_time: Annotated[float | None, typer.Option(help="Time budget of the run, minutes.")] = None,
    start_from: Annotated[str | None, typer.Option(help="Checkpoint whose weights a new run starts from.")] = None,
    stop_after: Annotated[
        float | None, typer.Option(help="Time of this call, minutes; the next one continues.")
    ] = None,
) -> None:
    """Pre-train an encoder. OUT gets metrics.jsonl and the state."""
    from aasp_features.train.options import checked_device, seconds_of
    from aasp_features.train.pretrain.crop_source import open_crops
    from aasp_features.train.pretrain.loop import Pretraining
    from aasp_features.train.pretrain.stopping import ending_in_a_sentence
    from aasp_features.train.recipes import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = load_recipe(recipe, settings or [])
    budget, pause = seconds_of("--max-time", max_time, above_zero=True), seconds_of("--stop-after", stop_after)
    place = checked_device(device)
    with ending_in_a_sentence(), open_crops(chosen, data, out, place, start_from) as crops:
        run = Pretraining(crops, out, place, budget, start_from)
        complete = run.run(pause)
    typer.echo(f"{'complete' if complete else 'paused'} at step {run.progress.step}; state in {out}", err=True)


@app.command(cls=TrainCommand)
def teacher_features(
    data: Annotated[Path, typer.Option(help="Folder of audio files or .tar shards.")],
    out: Annotated[Path, typer.Option(help="Folder of the features; those found there are kept.")],
    recipe: Annotated[str, typer.Option(help="Name of a preset in aasp_features/train/recipes.")] = "tiny_distilled",
    settings: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: key=value.")] = None,
) -> None:
    """Compute external teachers' features of a corpus.

    pretrain distillation.features=OUT reads them.
    """
    from aasp_features.train.pretrain.crop_source import open_features, start_makers
    from aasp_features.train.pretrain.stopping import ending_in_a_sentence
    from aasp_features.train.recipes import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = load_recipe(recipe, [*(settings or []), f"distillation.features={out}"])
    with ending_in_a_sentence():
        makers = start_makers(chosen, open_features(chosen, data, out))
        try:
            makers.wait()
        finally:
            makers.stop()
    typer.echo(f"{makers.crops} crops heard; features in {out}", err=True)


def main() -> None:
    """Entry point."""
    sys.exit(app())
