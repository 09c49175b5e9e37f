"""The command ``aasp-train``: pre-train, export, evaluate and fine-tune encoders."""

from __future__ import annotations

import errno
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aasp_features.command_line import SentenceCommand
from aasp_features.errors import OptionError
from aasp_features.train.evaluate.classify_command import classify
from aasp_features.train.evaluate.command import knn, linear, reproduce, robustness, stability, tasks
from aasp_features.train.evaluate.finetune.command import finetune
from aasp_features.train.options import Device, show_log
from aasp_features.train.release import command as release

RecipeName = Annotated[str, typer.Option(help="Preset in aasp_features/train/recipes, or a .yaml.")]
Settings = Annotated[list[str] | None, typer.Argument(help="Recipe settings to change, as KEY=VALUE.")]
app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # as aasp-embed
    help="Pre-train, evaluate and fine-tune AaSP encoders.",
)


class TrainCommand(SentenceCommand):
    """A subcommand of ``aasp-train``."""

    program = "aasp-train"

    def invoke(self, ctx: Any) -> Any:
        """Run the command and report an error of the operating system, such as a full disk, in one sentence."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of the output has gone
                raise
            prefix = f"{error.filename}: " if error.filename else ""
            typer.echo(f"{self.program}: {prefix}{(error.strerror or str(error)).rstrip('.')}.", err=True)
            raise typer.Exit(2) from error


EVALUATION = (linear, knn, classify, finetune, stability, robustness, reproduce, tasks)
RELEASE = (release.export, release.card, release.info, release.report, release.export_onnx)
for command in (*EVALUATION, *RELEASE):
    app.command(cls=TrainCommand)(command)


@app.command(cls=TrainCommand)
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of sounds, .tar shards or .parquet tables, one of these, a list of paths (.txt, .csv, .jsonl "
            "or .parquet), or a data set on the Hub."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Corpus folder; a begun one continues (default: print the report of SOURCE).")
    ] = None,
    shard_hours: Annotated[float, typer.Option(help="Hours of sound in a shard.")] = 2.0,
    subset: Annotated[str | None, typer.Option(help="Subset of a data set on the Hub.")] = None,
    split: Annotated[str, typer.Option(help="Split of a data set on the Hub.")] = "train",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one per CPU).")] = None,
) -> None:
    """Prepare a corpus larger than memory.

    Writes shards of 16 kHz FLAC with an index to OUT, and prints a report of the sounds.
    """
    from aasp_features.train.data.prepare import prepare as work
    from aasp_features.train.data.prepare import read_corpus_facts
    from aasp_features.train.data.prepare_report import report_table
    from aasp_features.train.data.sources import open_source
    from aasp_features.train.run.stopping import ending_in_a_sentence

    show_log()
    if not 0 < shard_hours < math.inf:
        raise OptionError(f"must be above 0, got {shard_hours}.", option="shard_hours")
    with ending_in_a_sentence():
        if out is None:
            corpus = read_corpus_facts(Path(source))
        elif out.resolve().is_relative_to(Path(source).resolve()):
            raise OptionError(f"must be outside SOURCE, got {out}.", option="out")
        else:
            corpus = work(open_source(source, subset, split), out, 3600 * shard_hours, workers)
    sys.stdout.write(report_table(corpus))


@app.command(cls=TrainCommand)
def pretrain(
    data: Annotated[Path, typer.Option(help="Folder of sounds or .tar shards, or a prepared corpus.")],
    out: Annotated[Path, typer.Option(help="Run folder; a run found there continues.")],
    recipe: RecipeName = "base",
    settings: Settings = None,
    device: Device = None,
    max_time: Annotated[
        float | None, typer.Option(help="Training time of the whole run, in minutes (default: no limit).")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Checkpoint that initialises a new run (default: random weights).")
    ] = None,
    stop_after: Annotated[
        float | None, typer.Option(help="Pause after this many minutes; the same command continues (default: never).")
    ] = None,
) -> None:
    """Pre-train an encoder. Writes the run's state and metrics.jsonl to OUT."""
    from aasp_features.train.distributed import joined_processes, rank
    from aasp_features.train.evaluate.online_probe import read_probe
    from aasp_features.train.options import seconds_of
    from aasp_features.train.pretrain.crop_source import open_crops
    from aasp_features.train.pretrain.loop import Pretraining
    from aasp_features.train.pretrain.tracker import tracking
    from aasp_features.train.recipes import load_recipe
    from aasp_features.train.run.stopping import ending_in_a_sentence

    show_log()
    with joined_processes(device) as own_device, ending_in_a_sentence():
        chosen = load_recipe(recipe, settings or [])
        budget, pause = seconds_of("--max-time", max_time, above_zero=True), seconds_of("--stop-after", stop_after)
        probe = read_probe(chosen.run.probe, own_device) if chosen.run.probe and rank() == 0 else None
        with open_crops(chosen, data, out, own_device, start_from) as crops, tracking(out, chosen) as track:
            run = Pretraining(crops, out, own_device, budget, start_from, probe, track)
            run.log_cost()
            complete = run.run(pause)
        if rank() == 0:
            typer.echo(f"{'complete' if complete else 'paused'} at step {run.progress.step}; state in {out}", err=True)


@app.command(cls=TrainCommand)
def teacher_features(
    data: Annotated[Path, typer.Option(help="Folder of audio files, or of .tar shards that hold them.")],
    out: Annotated[Path, typer.Option(help="Feature folder; features found there are kept.")],
    recipe: RecipeName = "tiny_distilled",
    settings: Settings = None,
) -> None:
    """Compute the features of a corpus by external teachers.

    pretrain reads them with distillation.features=OUT.
    """
    from aasp_features.train.pretrain.crop_source import open_features, start_makers
    from aasp_features.train.recipes import load_recipe
    from aasp_features.train.run.stopping import ending_in_a_sentence

    show_log()
    chosen = load_recipe(recipe, [*(settings or []), f"distillation.features={out}"])
    with ending_in_a_sentence():
        makers = start_makers(chosen, open_features(chosen, data, out))
        try:
            makers.wait()
        finally:
            makers.stop()
    typer.echo(f"features of {makers.crops} crops are in {out}", err=True)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
