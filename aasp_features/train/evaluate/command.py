"""The commands ``aasp-train linear`` and ``knn``, and the options that evaluations share."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.train.options import DEVICE_HELP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from aasp_features.train.evaluate.classifier import Classifier
    from aasp_features.train.evaluate.methods import Method
    from aasp_features.train.evaluate.probe import ProbeResult
    from aasp_features.train.evaluate.task import Task

    Read = tuple[Sequence[str | None], Sequence[int | None], torch.device]  # poolings, last layers, device

Checkpoints = Annotated[
    list[str] | None, typer.Argument(help="Checkpoint folders or Hub names (default: the bundled one).")
]
Tasks = Annotated[
    list[str],
    typer.Option(
        metavar="TASK",
        help="NAME:FOLDER of a public task (see aasp-train tasks), a .csv, a folder with labels.csv or of such "
        "folders, or a folder with a subfolder of sounds for each class. Repeatable.",
    ),
]
Poolings = Annotated[
    list[str] | None,
    typer.Option(metavar="POOLING", help="Pooling of the tokens (default: the checkpoint's). Repeatable."),
]
LastLayers = Annotated[
    list[int] | None,
    typer.Option(metavar="K", help="Last blocks to average (default: the checkpoint's). Repeatable."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD",
        help="Method to compare: untrained (the same network, three seeds), log-mel (mean and std), a .py file whose "
        "load() returns a callable (waveform, rate) -> vector, or a teacher's .yaml. Repeatable.",
    ),
]
Graphs = Annotated[str, typer.Option(help="Folder of the teachers' files (default: beside their .yaml).")]
Device = Annotated[str | None, typer.Option(help=DEVICE_HELP)]
Selection = Annotated[bool, typer.Option("--selection", help="Hold back the last fold and the test part.")]
Out = Annotated[Path | None, typer.Option(help="Folder for report.html, .md, .json, and lists of skipped clips.")]
Cache = Annotated[Path | None, typer.Option(help="Folder of cached vectors (default: in the user's cache).")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not cache vectors.")]


def linear(
    task: Tasks,
    checkpoint: Checkpoints = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fit a logistic regression instead, which takes seconds.")
    ] = False,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    device: Device = None,
    selection: Selection = False,
    out: Out = None,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Fit a linear probe on frozen vectors. Print each task's metric with 95 % intervals."""
    from aasp_features.train.evaluate.linear import linear_layer
    from aasp_features.train.evaluate.logistic import logistic_regression
    from aasp_features.train.evaluate.tasks.reading import read_tasks

    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, device)
    kept = None if no_cache else vector_cache(cache)
    title, classifier = ("Logistic regression", logistic_regression) if quick else ("Linear layer", linear_layer)
    evaluate(title, {"": classifier}, read_tasks(task), methods, selection, out, kept)


def knn(
    task: Tasks,
    checkpoint: Checkpoints = None,
    k: Annotated[
        list[int] | None,
        typer.Option("--k", min=1, metavar="K", help="Number of neighbours (default: 20). Repeatable."),
    ] = None,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    device: Device = None,
    selection: Selection = False,
    out: Out = None,
    cache: Cache = None,
    no_cache: NoCache = False,
) -> None:
    """Classify clips by their nearest neighbours.

    Print each task's metric with 95 % intervals.
    The k nearest training clips vote with weight exp(cosine / 0.07), as in DINO's k-NN.
    """
    from functools import partial

    from aasp_features.train.evaluate.knn import NEIGHBOURS, nearest_neighbours
    from aasp_features.train.evaluate.tasks.reading import read_tasks

    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, device)
    kept = None if no_cache else vector_cache(cache)
    counts = list(dict.fromkeys(k or [NEIGHBOURS]))
    classifiers = {f", k = {one}" if counts[1:] else "": partial(nearest_neighbours, k=one) for one in counts}
    title = f"k-nearest neighbours (k = {', '.join(map(str, counts))})"
    evaluate(title, classifiers, read_tasks(task), methods, selection, out, kept)


def find_methods(
    checkpoints: list[str] | None,
    poolings: list[str] | None,
    last_layers: list[int] | None,
    beside: list[str] | None,
    graphs: str,
    device: str | None,
) -> Iterator[Method]:
    """Yield the checkpoints, then the methods to compare, each loaded when it is used.

    Checkpoints and untrained networks run on the device; teachers, peers and log-mels choose their own.

    Raises:
        OptionError: A method to compare is unknown, or the device is not available; other errors come with the methods.
    """
    from aasp_features.train.evaluate.methods import check_beside
    from aasp_features.train.options import checked_device

    check_beside(beside or [])
    read: Read = (poolings or [None], last_layers or [None], checked_device(device))
    return _in_turn(checkpoints or [""], read, beside or [], graphs)


def _in_turn(models: list[str], read: Read, beside: list[str], graphs: str) -> Iterator[Method]:
    from aasp_features.train.evaluate.methods import baseline_methods, encoder_methods, peer_method, teacher_methods

    yield from encoder_methods(models, *read)
    yield from baseline_methods(models, *read, untrained="untrained" in beside, log_mel="log-mel" in beside)
    paths = [Path(one) for one in beside if one not in ("untrained", "log-mel")]
    yield from (peer_method(path) for path in paths if path.suffix == ".py")
    yield from teacher_methods([path for path in paths if path.suffix != ".py"], graphs)


def evaluate(
    evaluation: str,
    classifiers: Mapping[str, Classifier],
    tasks: list[Task],
    methods: Iterator[Method],
    selection: bool,
    out: Path | None,
    cache: Path | None,
) -> None:
    """Evaluate every method and classifier on every task, and write the report to stdout and ``out``.

    The keys of ``classifiers`` are suffixes of the method's name in the report.
    """
    from aasp_features.train.evaluate.report import as_json, probe_report, write_report
    from aasp_features.train.evaluate.report_page import report_page
    from aasp_features.train.options import check_folder

    check_folder("--out", out)
    methods = chain([next(methods)], methods)  # a missing first checkpoint fails before sounds are read
    tasks = [readable(task, cache) for task in tasks]
    results: dict[str, dict[str, ProbeResult]] = {}
    for method in methods:
        vectors = {task.name: with_progress(method, task.name, task.files, cache) for task in tasks}
        for suffix, classifier in classifiers.items():
            name = method.name + suffix
            results[name] = {
                task.name: measure(name, vectors[task.name], task, classifier, selection) for task in tasks
            }
    text = probe_report(tasks, results, evaluation, selection)
    sys.stdout.write(text)
    if out is not None:
        write_report(out, tasks, text, as_json(tasks, results, evaluation, selection))
        page = report_page(tasks, results, evaluation, selection, out)
        (out / "report.html").write_text(page, encoding="utf-8")


def measure(
    name: str, vectors: NDArray[np.float32], task: Task, classifier: Classifier, selection: bool
) -> ProbeResult:
    """Probe one task's vectors, and print a line on stderr."""
    from aasp_features.train.evaluate.probe import probe

    with telling_time(f"{name}: {task.name}: fitting"):
        result = probe(vectors, task, classifier, selection)
    low, high = result.interval
    typer.echo(f"{name}: {task.name} {result.value:.1f} ({low:.1f}-{high:.1f})", err=True)
    return result


@contextmanager
def telling_time(doing: str) -> Iterator[None]:
    """Print a line on stderr every ten seconds while work without countable steps runs."""
    from aasp_features.folder.progress import LINE_EVERY, clock

    done, begun = Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(LINE_EVERY):
            typer.echo(f"{doing} for {clock(time.monotonic() - begun)}", err=True)

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def with_progress(method: Method, name: str, files: Sequence[Path], cache: Path | None) -> NDArray[np.float32]:
    """Return the vectors of files, with progress on stderr: a bar, or lines outside a terminal."""
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


def readable(task: Task, cache: Path | None) -> Task:
    """Return a task without its unreadable clips, and print their number on stderr.

    Raises:
        TrainError: A class loses all its clips.
    """
    from aasp_features.train.evaluate.readable import describe_unreadable, reading, without_unreadable

    marks = with_progress(reading(), task.name, task.files, cache)
    found = without_unreadable(task, marks[:, 0] > 0)
    if found.unreadable:
        typer.echo(f"{task.name}: {describe_unreadable(found)}", err=True)
    return found


def vector_cache(folder: Path | None) -> Path:
    """Return the folder of cached vectors (default: in the user's cache)."""
    from aasp_features.train.evaluate.vector_cache import default_cache

    return folder or default_cache()
