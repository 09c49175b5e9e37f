"""The command ``aasp-train robustness``."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from aasp_features.train.evaluate.command import (
    Beside,
    Cache,
    Checkpoints,
    Device,
    Graphs,
    LastLayers,
    NoCache,
    Poolings,
    Selection,
    Tasks,
    find_methods,
    readable,
    vector_cache,
    with_progress,
)


def robustness(
    task: Tasks,
    checkpoint: Checkpoints = None,
    knn: Annotated[bool, typer.Option("--knn", help="Use k-NN (k = 20) instead of a linear probe.")] = False,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    device: Device = None,
    selection: Selection = False,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, .json, and lists of skipped clips.")] = None,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Measure a probe on changed test sounds. They are cut, noisy, coded, loud or quiet."""
    from aasp_features.train.evaluate.knn import NEIGHBOURS, nearest_neighbours
    from aasp_features.train.evaluate.logistic import logistic_regression
    from aasp_features.train.evaluate.report import LINEAR, write_report
    from aasp_features.train.evaluate.robustness import under_conditions
    from aasp_features.train.evaluate.tasks.reading import read_tasks
    from aasp_features.train.options import check_folder

    check_folder("--out", out)
    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, device)
    kept = None if no_cache else vector_cache(cache)
    tasks = read_tasks(task)
    methods = chain([next(methods)], methods)  # a missing first checkpoint fails before sounds are read
    tasks = [readable(one, kept) for one in tasks]
    evaluation, classifier = (
        (f"k-nearest neighbours (k = {NEIGHBOURS})", nearest_neighbours) if knn else (LINEAR, logistic_regression)
    )
    results = {}
    for method in methods:
        results[method.name] = under_conditions.measure(
            method,
            tasks,
            classifier,
            lambda changed_method, one, files: with_progress(changed_method, one.name, files, kept),
            selection,
        )
        typer.echo(f"{method.name}: measured", err=True)
    text = under_conditions.robustness_report(tasks, results, evaluation, selection)
    sys.stdout.write(text)
    if out is not None:
        write_report(out, tasks, text, under_conditions.as_json(tasks, results, evaluation, selection))
