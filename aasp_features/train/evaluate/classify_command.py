"""The command ``aasp-train classify``: train a classifier on a folder of labelled sounds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.config import Pooling
from aasp_features.train.evaluate.command import Cache, NoCache, kept_vectors
from aasp_features.train.options import DEVICE_HELP, show_log

if TYPE_CHECKING:
    import torch

    from aasp_features.classifier import AaSPClassifier
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
    from aasp_features.train.evaluate.probe import ProbeResult
    from aasp_features.train.evaluate.task import Task

    Learnt = tuple[str, ProbeResult, AaSPClassifier]  # method, held-out result, classifier


Folder = Annotated[
    str,
    typer.Argument(
        help="Folder with a subfolder of sounds for each class, a .csv, a folder with labels.csv, or NAME:FOLDER "
        "of a public task."
    ),
]
Out = Annotated[Path, typer.Option(help="Classifier folder to write.")]
Settings = Annotated[list[str] | None, typer.Argument(help="With --finetune: recipe settings to change, as KEY=VALUE.")]
Model = Annotated[str | None, typer.Option(help="Checkpoint folder or Hub name (default: the bundled checkpoint).")]
OnePooling = Annotated[
    Pooling | None,
    typer.Option(help="Pooling; predictions along time need mean or frequency (default: the checkpoint's)."),
]
LastLayers = Annotated[int | None, typer.Option(help="Last blocks to average (default: the checkpoint's).")]
Finetune = Annotated[
    bool, typer.Option("--finetune", help="Also train the encoder, once for each fold and once on all clips.")
]
Recipe = Annotated[str | None, typer.Option(help="With --finetune: recipe name, or a .yaml file (default: small).")]
Device = Annotated[str | None, typer.Option(help=f"With --finetune: {DEVICE_HELP}")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")]


def classify(
    folder: Folder,
    out: Out,
    settings: Settings = None,
    model: Model = None,
    pooling: OnePooling = None,
    last_layers: LastLayers = None,
    finetune: Finetune = False,
    recipe: Recipe = None,
    device: Device = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a classifier on a folder of sounds.

    Print its held-out score and confusions. aasp-embed --classifier and AaSPClassifier.from_pretrained read OUT.
    """
    from aasp_features.folder.output import check_unread
    from aasp_features.train.evaluate import classify as work
    from aasp_features.train.evaluate.readable import readable
    from aasp_features.train.evaluate.tasks.reading import TABLE

    task = work.read_task(folder)
    work.check_free(out, overwrite, finetune)
    table = [Path(folder) / TABLE if Path(folder).is_dir() else Path(folder)]
    check_unread(work.results(out), [*table, *task.files, *([Path(model)] if model else [])])
    encoder, encoder_folder = work.load_encoder(model, pooling, last_layers)
    tuning = _tuning(finetune, recipe, settings or [], device)
    kept = kept_vectors(cache, no_cache)
    task = readable(task, kept)
    learnt = _finetuned(task, encoder, out, *tuning) if tuning is not None else _linear(task, encoder, kept)
    _report(task, learnt, out, encoder_folder, work.FINE_TUNED if finetune else work.LINEAR)


def _report(task: Task, learnt: Learnt, out: Path, encoder_folder: Path, learning: str) -> None:
    """Choose the thresholds of a classifier, print its report, and save it."""
    from aasp_features.train.evaluate import classify as work
    from aasp_features.train.evaluate.held_out import class_thresholds, least_probability

    method, result, classifier = learnt
    classifier.thresholds = class_thresholds(task, result, classifier.labels)
    classifier.min_probability = least_probability(task, result)
    text = work.classifier_report(task, method, result, classifier, learning)
    sys.stdout.write(text)
    numbers = work.classifier_json(task, method, result, classifier, learning)
    work.save(classifier, out, text, numbers, encoder_folder)
    typer.echo(f"wrote {out}", err=True)


def _tuning(
    finetune: bool, recipe: str | None, settings: list[str], device: str | None
) -> tuple[FinetuneRecipe, torch.device] | None:
    """Check and return the options of fine-tuning; None without fine-tuning."""
    from aasp_features.errors import OptionError
    from aasp_features.train.evaluate.finetune.recipes import DEFAULT, load_recipe
    from aasp_features.train.options import checked_device

    if finetune:
        return load_recipe(recipe or DEFAULT, settings), checked_device(device)
    given = [repr(settings[0])] if settings else []
    given += [f"{name} {value}" for name, value in (("--recipe", recipe), ("--device", device)) if value]
    if given:
        raise OptionError(f"{given[0]} needs --finetune.")
    return None


def _linear(task: Task, encoder: AaSPEncoder, cache: Path | None) -> Learnt:
    from aasp_features.train.evaluate.classifier import logistic_regression
    from aasp_features.train.evaluate.classify import linear_classifier
    from aasp_features.train.evaluate.methods import encoder_method
    from aasp_features.train.evaluate.probe import probe, telling_time
    from aasp_features.train.evaluate.vector_cache import with_progress

    method = encoder_method(encoder, encoder.config.name, None, None)
    vectors = with_progress(method, task.name, task.files, cache)
    with telling_time(f"{task.name}: fitting"):
        return method.name, probe(vectors, task, logistic_regression), linear_classifier(encoder, vectors, task)


def _finetuned(task: Task, encoder: AaSPEncoder, out: Path, recipe: FinetuneRecipe, device: torch.device) -> Learnt:
    from aasp_features.train.evaluate.classify import RUNS
    from aasp_features.train.evaluate.finetune.folds import finetune_folds
    from aasp_features.train.run.stopping import ending_in_a_sentence

    show_log()
    with ending_in_a_sentence():
        result, classifier = finetune_folds(encoder, task, recipe, out / RUNS, device)
    return f"{encoder.config.name} by the recipe {recipe.name}", result, classifier
