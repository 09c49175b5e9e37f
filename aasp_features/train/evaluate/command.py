"""``aasp-train linear`` and ``knn``: which vectors, which tasks, one report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from aasp_features.train.evaluate.classifier import Classifier
    from aasp_features.train.evaluate.methods import Method
    from aasp_features.train.evaluate.probe import ProbeResult
    from aasp_features.train.evaluate.task import Task

Checkpoints = Annotated[
    list[str] | None, typer.Argument(help="Checkpoint folders or Hub names (default: the bundled one).")
]
Tasks = Annotated[
    list[str],
    typer.Option(
        metavar="TASK",
        help="NAME:FOLDER of a public task (see aasp-train tasks), a .csv, a folder with labels.csv or with several "
        "such folders, or a folder with a folder of sounds for each class. Repeatable.",
    ),
]
Poolings = Annotated[
    list[str] | None,
    typer.Option(metavar="POOLING", help="Pooling of the tokens (default: the checkpoint's). Repeatable."),
]
LastLayers = Annotated[
    list[int] | None,
    typer.Option(metavar="K", help="Number of last blocks that are averaged (default: the checkpoint's). Repeatable."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD",
        help="Another method to measure: untrained (the same network, three seeds), log-mel (mean and std), the .py "
        "of an encoder whose load() returns a callable (waveform, rate) -> vector, a teacher's .yaml. Repeatable.",
    ),
]
Graphs = Annotated[str, typer.Option(help="Folder of the teachers' files (default: beside their .yaml).")]
Selection = Annotated[bool, typer.Option("--selection", help="Leave the last fold and the test part out.")]
Out = Annotated[Path | None, typer.Option(help="Folder for report.html, .md, .json, and lists of missing clips.")]
Cache = Annotated[Path | None, typer.Option(help="Folder where vectors are kept (default: in the user's cache).")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no vectors.")]


def linear(
    task: Tasks,
    checkpoint: Checkpoints = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fit a logistic regression instead; it takes seconds.")
    ] = False,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    selection: Selection = False,
    out: Out = None,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Fit a linear probe on frozen vectors. Prints each task's metric with 95 % intervals."""
    from aasp_features.train.evaluate.linear import linear_layer
    from aasp_features.train.evaluate.logistic import logistic_regression
    from aasp_features.train.evaluate.tasks.registry import read_tasks

    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs)
    kept = None if no_cache else vector_cache(cache)
    if quick:
        evaluate("Logistic regression", logistic_regression, read_tasks(task), methods, selection, out, kept)
    else:
        evaluate("Linear layer", linear_layer, read_tasks(task), methods, selection, out, kept)


def knn(
    task: Tasks,
    checkpoint: Checkpoints = None,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    selection: Selection = False,
    out: Out = None,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Classify clips by the vote of their nearest neighbours. Prints each task's metric with 95 % intervals."""
    from aasp_features.train.evaluate.knn import nearest_neighbours
    from aasp_features.train.evaluate.tasks.registry import read_tasks

    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs)
    kept = None if no_cache else vector_cache(cache)
    evaluate("Five nearest neighbours", nearest_neighbours, read_tasks(task), methods, selection, out, kept)


def find_methods(
    checkpoints: list[str] | None,
    poolings: list[str] | None,
    last_layers: list[int] | None,
    beside: list[str] | None,
    graphs: str,
) -> Iterator[Method]:
    """The checkpoints, then what is measured beside them; each is loaded when it is its turn.

    Raises:
        OptionError: what cannot be measured beside them; the other errors come with their turns.
    """
    from aasp_features.train.evaluate.methods import check_beside

    check_beside(beside or [])
    return _in_turn(checkpoints or [""], poolings or [None], last_layers or [None], beside or [], graphs)


def _in_turn(
    models: list[str], poolings: Sequence[str | None], last_layers: Sequence[int | None], beside: list[str], graphs: str
) -> Iterator[Method]:
    from aasp_features.train.evaluate.methods import baseline_methods, encoder_methods, peer_method, teacher_methods

    read = poolings, last_layers
    yield from encoder_methods(models, *read)
    yield from baseline_methods(models, *read, untrained="untrained" in beside, log_mel="log-mel" in beside)
    places = [Path(one) for one in beside if one not in ("untrained", "log-mel")]
    yield from (peer_method(place) for place in places if place.suffix == ".py")
    yield from teacher_methods([place for place in places if place.suffix != ".py"], graphs)


def evaluate(
    evaluation: str,
    classifier: Classifier,
    tasks: list[Task],
    methods: Iterator[Method],
    selection: bool,
    out: Path | None,
    cache: Path | None,
) -> None:
    """Every method on every task, a line on stderr for each; the report on stdout and in ``out``."""
    from aasp_features.train.evaluate.report import as_json, report, write_report
    from aasp_features.train.evaluate.report_page import report_page

    results: dict[str, dict[str, ProbeResult]] = {}
    for method in methods:
        results[method.name] = {}
        for task in tasks:
            results[method.name][task.name] = measure(method, task, classifier, selection, cache)
    text = report(tasks, results, evaluation, selection)
    sys.stdout.write(text)
    if out is not None:
        write_report(out, tasks, text, as_json(tasks, results, evaluation, selection))
        page = report_page(tasks, results, evaluation, selection, out)
        (out / "report.html").write_text(page, encoding="utf-8")


def measure(method: Method, task: Task, classifier: Classifier, selection: bool, cache: Path | None) -> ProbeResult:
    """One method on one task, and a line on stderr."""
    from aasp_features.train.evaluate.probe import probe

    result = probe(with_progress(method, task.name, task.files, cache), task, classifier, selection)
    low, high = result.interval
    typer.echo(f"{method.name}: {task.name} {result.value:.1f} ({low:.1f}-{high:.1f})", err=True)
    return result


def with_progress(method: Method, name: str, files: Sequence[Path], cache: Path | None) -> NDArray[np.float32]:
    """Return the vectors of files; ``name`` names their progress on stderr, a bar or, outside a terminal, lines."""
    from rich.console import Console
    from rich.progress import Progress

    from aasp_features.folder.progress import ProgressLines
    from aasp_features.train.evaluate.vector_cache import task_vectors

    console = Console(stderr=True)
    if not console.is_terminal:

        def say(line: str) -> None:
            typer.echo(f"{method.name}: {name}: {line}", err=True)

        lines = ProgressLines(say, lambda: len(files), _files)
        lines(0)
        return task_vectors(method, files, cache, lines)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"{method.name}: {name}", total=len(files))
        return task_vectors(method, files, cache, lambda count: progress.advance(bar, count))


def _files(done: float, total: float, speed: float) -> str:
    return f"{done:.0f} of {total:.0f} files, {speed:.1f} a second"


def vector_cache(folder: Path | None) -> Path:
    """Where vectors are kept: the folder, or in the user's cache."""
    from aasp_features.train.evaluate.vector_cache import default_cache

    return folder or default_cache()
