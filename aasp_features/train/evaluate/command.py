"""The commands ``aasp-train linear``, ``knn``, ``robustness``, ``stability``, ``reproduce`` and ``tasks``.

Torch is imported in functions, so help and usage errors appear at once.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.train.errors import TrainError
from aasp_features.train.options import Device, check_folder, checked_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import torch

    from aasp_features.sounds.sound import Sound
    from aasp_features.train.evaluate.classifier import Classifier
    from aasp_features.train.evaluate.methods import Method
    from aasp_features.train.evaluate.probe import ProbeResult
    from aasp_features.train.evaluate.stability import Recordings, Stability
    from aasp_features.train.evaluate.task import Task

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
Quick = Annotated[bool, typer.Option("--quick", help="Fit a logistic regression instead, which takes seconds.")]
Selection = Annotated[bool, typer.Option("--selection", help="Hold back the last fold and the test part.")]
Out = Annotated[Path | None, typer.Option(help="Folder for report.html, .md, .json, and lists of skipped clips.")]
Cache = Annotated[Path | None, typer.Option(help="Folder of cached vectors (default: in the user's cache).")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not cache vectors.")]


def linear(
    task: Tasks,
    checkpoint: Checkpoints = None,
    quick: Quick = False,
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
    from aasp_features.train.evaluate.methods import find_methods

    title, classifier = _linear_probe(quick, torch_device := checked_device(device))
    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, torch_device)
    evaluate(title, {"": classifier}, task, methods, selection, out, kept_vectors(cache, no_cache))


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
    from aasp_features.train.evaluate.classifier import NEIGHBOURS, nearest_neighbours
    from aasp_features.train.evaluate.methods import find_methods

    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, checked_device(device))
    counts = list(dict.fromkeys(k or [NEIGHBOURS]))
    classifiers = {f", k = {one}" if counts[1:] else "": partial(nearest_neighbours, k=one) for one in counts}
    title = f"k-nearest neighbours (k = {', '.join(map(str, counts))})"
    evaluate(title, classifiers, task, methods, selection, out, kept_vectors(cache, no_cache))


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
    from aasp_features.train.evaluate import robustness as work
    from aasp_features.train.evaluate.classifier import NEIGHBOURS, logistic_regression, nearest_neighbours
    from aasp_features.train.evaluate.methods import find_methods
    from aasp_features.train.evaluate.report import LINEAR, write_report
    from aasp_features.train.evaluate.vector_cache import with_progress

    kept = kept_vectors(cache, no_cache)
    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, checked_device(device))
    tasks, methods = _prepared(task, methods, out, kept)
    title, classifier = LINEAR, logistic_regression
    if knn:
        title, classifier = f"k-nearest neighbours (k = {NEIGHBOURS})", nearest_neighbours
    results = {}
    for method in methods:
        results[method.name] = work.measure(
            method,
            tasks,
            classifier,
            lambda changed_method, one, files: with_progress(changed_method, one.name, files, kept),
            selection,
        )
        typer.echo(f"{method.name}: measured", err=True)
    text = work.robustness_report(tasks, results, title, selection)
    sys.stdout.write(text)
    if out is not None:
        write_report(out, tasks, text, work.as_json(tasks, results, title, selection))


def stability(
    checkpoint: Checkpoints = None,
    sounds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="File, folder, shard or pattern of sounds (default: measure modulation only). Repeatable.",
        ),
    ] = None,
    recordings: Annotated[int, typer.Option(min=2, help="Largest number of sounds to use.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.5, max=10.0, help="Crop length, in seconds.")] = 4.0,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    device: Device = None,
    out: Annotated[Path | None, typer.Option(help="Folder for stability.md, .json and .png.")] = None,
) -> None:
    """Measure how stable vectors are in time and speed.

    Prints their changes when a sound shifts in time or speed, and whether they distinguish a modulation from its alias.
    """
    from aasp_features.sounds.discovery import find_sounds
    from aasp_features.train.evaluate.methods import find_methods
    from aasp_features.train.evaluate.stability import as_json, draw, stability_report
    from aasp_features.train.whole_file import write_whole

    check_folder("--out", out)
    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, checked_device(device))
    found = find_sounds(sounds).sounds if sounds else []
    results, count = _stability(methods, found, recordings, seconds)
    text = stability_report(results, count, seconds)
    sys.stdout.write(text)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "stability.md", text)
        write_whole(out / "stability.json", json.dumps(as_json(results, count, seconds), indent=1) + "\n")
        draw(results, out / "stability.png")


def _stability(
    methods: Iterable[Method], sounds: Sequence[Sound], limit: int, seconds: float
) -> tuple[dict[str, Stability], int]:
    """Return each method's results and the number of recordings, and print a line on stderr for each."""
    from aasp_features.train.data.reading import SAMPLE_RATE
    from aasp_features.train.evaluate.stability import Stability, changes, read_modulation, read_recordings

    results: dict[str, Stability] = {}
    read: dict[int, Recordings] = {}
    for method in methods:
        rate = method.sample_rate or SAMPLE_RATE
        if sounds and rate not in read:
            read[rate] = read_recordings(sounds, rate, seconds, limit)
            if read[rate].too_short:
                typer.echo(f"{read[rate].too_short} sounds are too short for such crops and are skipped", err=True)
            for name, reason in read[rate].unreadable.items():
                typer.echo(f"{name}: {reason}", err=True)
        moved = changes(method, read[rate].waveforms, rate, seconds) if sounds else None
        results[method.name] = Stability(moved, read_modulation(method.embed, rate))
        typer.echo(f"{method.name}: measured", err=True)
    return results, max((len(one.waveforms) for one in read.values()), default=0)


def tasks() -> None:
    """List the public tasks with splits, metrics and folders. Their names are for --task NAME:FOLDER."""
    from aasp_features.train.evaluate.task import WHOLE
    from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS

    for task in PUBLIC_TASKS.values():
        classes = f"{task.classes} classes, {task.seconds:g} s"
        typer.echo(f"{task.name}: {task.title}; {classes}; {task.metric.name}; {task.splits}.")
        parts = [f"{part} {count:,}" for part, count in task.expected.items() if part.isalpha() and part != WHOLE]
        counts = f" ({', '.join(parts)})" if parts else ""
        typer.echo(f"    {sum(task.expected.values()):,} clips{counts}. {task.instructions}")
        if task.note:
            typer.echo(f"    {task.note}")


def reproduce(
    data_root: Annotated[Path, typer.Option(help="Folder of the benchmarks' folders.")],
    checkpoint: Checkpoints = None,
    quick: Quick = False,
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
    from aasp_features.train.evaluate import benchmark as work
    from aasp_features.train.evaluate.methods import find_methods
    from aasp_features.train.evaluate.report import write_report

    check_folder("--out", out)
    title, classifier = _linear_probe(quick, torch_device := checked_device(device))
    found = work.find_benchmarks(data_root)
    methods = find_methods(checkpoint, pooling, last_layers, None, "", torch_device)
    results = work.probe_benchmarks(found, methods, classifier, kept_vectors(cache, no_cache))
    tuned = {} if finetune is None else work.finetune_benchmarks(found, checkpoint or [""], finetune, torch_device)
    text = work.benchmark_report(found, results, title, tuned)
    sys.stdout.write(text)
    if out is not None:
        write_report(out, list(found.tasks.values()), text, work.benchmark_json(found, results, title, tuned))
    if failed := [name for name in found.folders if name in found.lacking]:
        raise TrainError(f"{', '.join(failed)}: found, but not evaluated; the report gives the reasons.")
    if not found.tasks:
        raise TrainError(
            f"--data-root {data_root} holds none of the paper's benchmarks; the report lists what it lacks."
        )


def _linear_probe(quick: bool, device: torch.device) -> tuple[str, Classifier]:
    """Return the name of a linear evaluation, and its classifier."""
    from aasp_features.train.evaluate.classifier import logistic_regression
    from aasp_features.train.evaluate.linear import linear_layer
    from aasp_features.train.evaluate.report import LINEAR

    return (LINEAR, logistic_regression) if quick else ("Linear layer", partial(linear_layer, device=device))


def kept_vectors(cache: Path | None, no_cache: bool) -> Path | None:
    """Return the folder of cached vectors; None does not cache."""
    from aasp_features.train.evaluate.vector_cache import vector_cache

    return None if no_cache else vector_cache(cache)


def _prepared(
    wanted: list[str], methods: Iterator[Method], out: Path | None, cache: Path | None
) -> tuple[list[Task], Iterator[Method]]:
    """Read tasks without unreadable clips, after what may fail at once."""
    from aasp_features.train.evaluate.readable import readable
    from aasp_features.train.evaluate.tasks.reading import read_tasks

    check_folder("--out", out)
    tasks = read_tasks(wanted)
    methods = chain([next(methods)], methods)  # a missing first checkpoint fails before sounds are read
    return [readable(task, cache) for task in tasks], methods


def evaluate(
    evaluation: str,
    classifiers: Mapping[str, Classifier],
    wanted: list[str],
    methods: Iterator[Method],
    selection: bool,
    out: Path | None,
    cache: Path | None,
) -> None:
    """Evaluate every method and classifier on every task, and write the report to stdout and ``out``.

    The keys of ``classifiers`` are suffixes of the method's name in the report.
    """
    from aasp_features.train.evaluate.probe import measure
    from aasp_features.train.evaluate.report import as_json, probe_report, write_report
    from aasp_features.train.evaluate.report_page import report_page
    from aasp_features.train.evaluate.vector_cache import with_progress
    from aasp_features.train.whole_file import write_whole

    tasks, methods = _prepared(wanted, methods, out, cache)
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
        write_whole(out / "report.html", report_page(tasks, results, evaluation, selection, out))
