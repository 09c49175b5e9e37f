"""The commands ``aasp-train tasks`` and ``reproduce``: the public tasks, and the paper's table beside our results."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.errors import AaSPError
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.command import (
    Cache,
    Checkpoints,
    Device,
    LastLayers,
    NoCache,
    Out,
    Poolings,
    find_methods,
    measure,
    readable,
    vector_cache,
    with_progress,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from aasp_features.train.evaluate.benchmark import Found
    from aasp_features.train.evaluate.classifier import Classifier
    from aasp_features.train.evaluate.methods import Method
    from aasp_features.train.evaluate.probe import ProbeResult


def tasks() -> None:
    """List the public tasks with splits, metrics and folders. Their names are for --task NAME:FOLDER."""
    from aasp_features.train.evaluate.task import WHOLE
    from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS

    for task in PUBLIC_TASKS.values():
        length = "" if task.seconds is None else f", {task.seconds:g} s"
        typer.echo(f"{task.name}: {task.title}; {task.classes} classes{length}; {task.metric.name}; {task.splits}.")
        parts = [f"{part} {count:,}" for part, count in task.expected.items() if part.isalpha() and part != WHOLE]
        counts = f" ({', '.join(parts)})" if parts else ""
        typer.echo(f"    {sum(task.expected.values()):,} clips{counts}. {task.instructions}")
        if task.note:
            typer.echo(f"    {task.note}")


def reproduce(
    data_root: Annotated[Path, typer.Option(help="Folder of the benchmarks' folders.")],
    checkpoint: Checkpoints = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fit a logistic regression instead, which takes seconds.")
    ] = False,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    finetune: Annotated[
        Path | None,
        typer.Option(
            help="Run folder for fine-tuning on the tasks that the paper fine-tunes; runs found there continue."
        ),
    ] = None,
    device: Device = None,
    out: Out = None,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Run the paper's benchmarks. Print the paper's figures beside those of linear probes."""
    from aasp_features.train.evaluate.benchmark import benchmark_json, benchmark_report, find_benchmarks
    from aasp_features.train.evaluate.linear import linear_layer
    from aasp_features.train.evaluate.logistic import logistic_regression
    from aasp_features.train.evaluate.report import write_report
    from aasp_features.train.options import check_folder, checked_device

    check_folder("--out", out)
    torch_device = checked_device(device)
    found = find_benchmarks(data_root)
    methods = find_methods(checkpoint, pooling, last_layers, None, "", device)
    evaluation, classifier = ("Logistic regression", logistic_regression) if quick else ("Linear layer", linear_layer)
    kept = None if no_cache else vector_cache(cache)
    leave_out_unreadable(found, kept)
    results = run_benchmarks(found, methods, classifier, kept)
    tuned = {} if finetune is None else finetune_benchmarks(found, checkpoint or [""], finetune, torch_device)
    text = benchmark_report(found, results, evaluation, tuned)
    sys.stdout.write(text)
    if out is not None:
        write_report(out, list(found.tasks.values()), text, benchmark_json(found, results, evaluation, tuned))
    if failed := [name for name in found.folders if name in found.lacking]:
        raise TrainError(f"{', '.join(failed)}: found, but not evaluated; the report gives the reasons.")
    if not found.tasks:
        raise TrainError(
            f"--data-root {data_root} holds none of the paper's benchmarks; the report lists what it lacks."
        )


def leave_out_unreadable(found: Found, cache: Path | None) -> None:
    """Leave out unreadable clips; a task that loses a class goes to ``found.lacking``."""
    for name, task in found.tasks.items():
        try:
            found.tasks[name] = readable(task, cache)
        except AaSPError as error:
            found.lacking[name] = str(error)
            typer.echo(f"{name}: {error}", err=True)


def run_benchmarks(
    found: Found, methods: Iterator[Method], classifier: Classifier, cache: Path | None
) -> dict[str, dict[str, ProbeResult]]:
    """Evaluate every method on every task; failing tasks go to ``found.lacking``."""
    results: dict[str, dict[str, ProbeResult]] = {}
    if not found.tasks:
        return results
    for method in methods:
        results[method.name] = {}
        for name, task in found.tasks.items():
            if name in found.lacking:
                continue
            try:
                vectors = with_progress(method, name, task.files, cache)
                results[method.name][name] = measure(method.name, vectors, task, classifier, False)
            except AaSPError as error:
                found.lacking[name] = str(error)
                typer.echo(f"{method.name}: {name}: {error}", err=True)
    return results


def finetune_benchmarks(
    found: Found, checkpoints: Sequence[str], folder: Path, device: torch.device
) -> dict[str, dict[str, ProbeResult]]:
    """Fine-tune every checkpoint on the tasks of ``fine_tuned``; failing ones go to ``found.lacking``."""
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.train.evaluate.benchmark import fine_tuned
    from aasp_features.train.evaluate.finetune.folds import finetune_splits
    from aasp_features.train.evaluate.finetune.recipes import load_task_recipe
    from aasp_features.train.pretrain.stopping import StoppedError, ending_in_a_sentence

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    results: dict[str, dict[str, ProbeResult]] = {}
    for checkpoint in checkpoints if found.tasks else ():
        encoder = AaSPEncoder.from_pretrained(checkpoint or None)
        method = encoder.config.name
        results[method] = {}
        for name in fine_tuned(found):
            task, recipe = found.tasks[name], load_task_recipe(name, [])
            try:
                with ending_in_a_sentence():
                    results[method][name] = finetune_splits(encoder, task, recipe, folder / method / name, device)
            except StoppedError:
                raise
            except AaSPError as error:
                found.lacking[name] = str(error)
                typer.echo(f"{method}, fine-tuned: {name}: {error}", err=True)
    return results
