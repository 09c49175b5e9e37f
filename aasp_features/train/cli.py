"""``aasp-train``: pre-train, export, evaluate."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from aasp_features.train.evaluate.command import probe

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pre-train and evaluate AaSP encoders.",
)


app.command()(probe)


@app.command()
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

    from aasp_features.hub import CheckpointError
    from aasp_features.train.pretrain.crop_source import open_crops
    from aasp_features.train.pretrain.health import CollapseError
    from aasp_features.train.pretrain.loop import Pretraining
    from aasp_features.train.recipes import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        chosen = load_recipe(recipe, settings or [])
        with open_crops(chosen, data, out, place, start_from) as crops:
            run = Pretraining(crops, out, place, None if max_time is None else 60 * max_time, start_from)
            complete = run.run(None if stop_after is None else 60 * stop_after)
    except (ValueError, CollapseError, CheckpointError) as error:
        raise _stop(error) from error
    typer.echo(f"{'complete' if complete else 'paused'} at step {run.progress.step}; state in {out}", err=True)


@app.command("teacher-features")
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
    try:
        chosen = load_recipe(recipe, [*(settings or []), f"distillation.features={out}"])
        makers = start_makers(chosen, open_features(chosen, data, out))
        try:
            makers.wait()
        finally:
            makers.stop()
    except ValueError as error:
        raise _stop(error) from error
    typer.echo(f"{makers.crops} crops heard; features in {out}", err=True)


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(help="Folder of a run; the mean of several.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    name: Annotated[str, typer.Option(help="Name of the checkpoint, aasp-<size>-<corpus>-<n>.")],
    which: Annotated[
        str, typer.Option(help="teacher (the running average of the student's weights) or student (its last weights).")
    ] = "teacher",
    pooling: Annotated[
        str | None, typer.Option(help="Default pooling of the checkpoint; what the teachers' heads read, or frequency.")
    ] = None,
    layers: Annotated[
        int | None, typer.Option(help="Default number of last blocks to average; what the heads read, or 1.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Markdown file to become the card.")] = None,
) -> None:
    """Write a run's encoder as a checkpoint folder (float16)."""
    from aasp_features.hub import CheckpointError
    from aasp_features.train.export import PREFIXES, export_encoder

    if which not in PREFIXES:
        raise _stop(ValueError(f"--which must be teacher or student, got {which!r}."))
    text = card.read_text(encoding="utf-8") if card else None
    try:
        folder = export_encoder(
            runs,
            out,
            name=name,
            which=which,  # type: ignore[arg-type]
            pooling=pooling,  # type: ignore[arg-type]
            layers=layers,
            card=text,
        )
    except (ValueError, CheckpointError) as error:
        raise _stop(error) from error
    typer.echo(f"wrote {folder}", err=True)


@app.command()
def info(
    model: Annotated[str | None, typer.Argument(help="Folder or Hub name; the bundled one unless given.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Print its card, too.")] = False,
) -> None:
    """Say what a checkpoint is, and how fast it runs here."""
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.hub import CheckpointError, read_card
    from aasp_features.train.info import describe

    try:
        facts = describe(AaSPEncoder.from_pretrained(model))
        text = read_card(model) if card else ""
    except CheckpointError as error:
        raise _stop(error) from error
    width = max(map(len, facts))
    typer.echo(
        "\n".join([*(f"{name:{width}}  {fact}" for name, fact in facts.items()), *([f"\n{text}"] if card else [])])
    )


@app.command("export-onnx")
def export_onnx(
    out: Annotated[Path, typer.Option(help="Graph to write (.onnx).")],
    model: Annotated[str | None, typer.Option(help="Folder or Hub name; the bundled one unless given.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise the matrices' weights.")] = False,
) -> None:
    """Write an encoder as one ONNX graph, from waveform to vectors; OnnxEncoder runs it without torch."""
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.hub import CheckpointError
    from aasp_features.train.export_onnx import ExportError
    from aasp_features.train.export_onnx import export_onnx as write

    try:
        write(AaSPEncoder.from_pretrained(model), out, int8=int8)
    except (CheckpointError, ExportError) as error:
        raise _stop(error) from error
    typer.echo(f"wrote {out}", err=True)


@app.command()
def curves(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("curves.png"),
) -> None:
    """Draw a run's losses and health metrics."""
    from aasp_features.train.curves import draw_curves

    try:
        draw_curves(run, out)
    except ValueError as error:
        raise _stop(error) from error


@app.command()
def card(
    runs: Annotated[list[Path], typer.Argument(help="Folders of the runs that were exported.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder that the card describes; README.md goes there.")],
    results: Annotated[Path, typer.Option(help="Markdown file with the probe's tables and their command.")],
    data: Annotated[Path | None, typer.Option(help="Corpus with manifest.csv, for ATTRIBUTION.md.")] = None,
    earlier: Annotated[
        list[Path] | None, typer.Option(help="Folders of the runs before them, whose weights they started from.")
    ] = None,
) -> None:
    """Write a checkpoint's card, and the attribution of its training audio."""
    from aasp_features.config import AaSPConfig
    from aasp_features.train.attribution import write_attribution
    from aasp_features.train.card import write_card

    try:
        config = AaSPConfig.from_json((checkpoint / "config.json").read_text(encoding="utf-8"))
        write_card(runs, config, results.read_text(encoding="utf-8"), checkpoint / "README.md", earlier or [])
        if data is not None:
            write_attribution(data, checkpoint / "ATTRIBUTION.md")
    except (ValueError, OSError) as error:
        raise _stop(error) from error


def _stop(error: Exception) -> typer.Exit:
    typer.echo(f"aasp-train: {error}", err=True)
    return typer.Exit(2)


def main() -> None:
    """Entry point."""
    sys.exit(app())
