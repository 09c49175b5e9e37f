"""The paper's benchmarks: published figures, their data, and a table beside ours.

The figures are from Yamamoto & Okusa, arXiv 2512.03637, as far as they are public. Their protocols are partly known:
the abstract names fine-tuning for AudioSet-20K, ESC-50 and NSynth, and linear evaluation for UrbanSound8K and NSynth;
the others are presumed to follow the field. Figures of different protocols are not comparable and have separate tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
import typer

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.train import markdown
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import Classifier
from aasp_features.train.evaluate.methods import Method
from aasp_features.train.evaluate.probe import ProbeResult, measure
from aasp_features.train.evaluate.readable import readable
from aasp_features.train.evaluate.report import LINEAR as LOGISTIC
from aasp_features.train.evaluate.report import Results, described, interval_remarks, remarks
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS, PublicTask
from aasp_features.train.evaluate.vector_cache import with_progress
from aasp_features.train.options import show_log
from aasp_features.train.run.stopping import StoppedError, ending_in_a_sentence

LINEAR, FINE_TUNING, EITHER = "linear evaluation", "fine-tuning", "fine-tuning or linear evaluation, not said which"
PRESUMED = ", presumably"
AUDIOSET = ("class_labels_indices.csv", "eval_segments.csv", "balanced_train_segments.csv")


class Benchmark(NamedTuple):
    """A figure of the paper.

    Attributes:
        task: Name of the public task.
        figure: Value in %, by the task's metric.
        protocol: Protocol, and whether it is only presumed.
        files: Files by which the task's folder is recognised.
    """

    task: str
    figure: float
    protocol: str
    files: tuple[str, ...]


BENCHMARKS = (
    Benchmark("as2m", 49.8, FINE_TUNING + PRESUMED, (*AUDIOSET, "unbalanced_train_segments.csv")),
    Benchmark("as20k", 41.9, FINE_TUNING, AUDIOSET),
    Benchmark("esc50", 97.5, FINE_TUNING, ("meta/esc50.csv",)),
    Benchmark("spcv2", 97.9, FINE_TUNING + PRESUMED, ("testing_list.txt", "backward")),  # V1 has no such word
    Benchmark("us8k", 89.7, LINEAR, ("metadata/UrbanSound8K.csv",)),
    Benchmark("cremad", 68.7, LINEAR + PRESUMED, ("AudioWAV",)),
    Benchmark("nsynth", 80.5, EITHER, ("nsynth-train/examples.json",)),
)


class Found(NamedTuple):
    """Benchmarks in a data root: tasks and folders, and for the others the reason they lack, by task name."""

    tasks: dict[str, Task]
    folders: dict[str, Path]
    lacking: dict[str, str]


def find_benchmarks(root: Path) -> Found:
    """Find each benchmark's data in a folder or its subfolders.

    Raises:
        TrainError: There is no such folder.
    """
    if not root.is_dir():
        raise TrainError(f"--data-root {root} does not exist; give a folder of benchmarks.")
    candidates = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = Found({}, {}, {})
    for benchmark in BENCHMARKS:
        task = PUBLIC_TASKS[benchmark.task]
        holding = [folder for folder in candidates if _holds(folder, benchmark, task)]
        if not holding:
            names = ", ".join(benchmark.files)
            found.lacking[task.name] = f"neither {root} nor a folder in it holds {names}. {task.instructions}"
            continue
        found.folders[task.name] = holding[0]
        try:
            found.tasks[task.name] = task.read(holding[0])
        except TrainError as error:
            found.lacking[task.name] = str(error)
    return found


def _holds(folder: Path, benchmark: Benchmark, task: PublicTask) -> bool:
    """Return whether a folder looks like a task's, or like the Hub's copy of it."""
    official = all((folder / name).exists() for name in benchmark.files)
    return official or (task.packed is not None and task.packed.is_in(folder))


@contextmanager
def _noted(found: Found, name: str, by: str = "") -> Iterator[None]:
    """Note why a task cannot be measured in ``found.lacking``, and print it."""
    try:
        yield
    except StoppedError:
        raise
    except AaSPError as error:
        found.lacking[name] = str(error)
        typer.echo(f"{by}{name}: {error}", err=True)


def probe_benchmarks(
    found: Found, methods: Iterator[Method], classifier: Classifier, cache: Path | None
) -> dict[str, dict[str, ProbeResult]]:
    """Evaluate every method on every task, without unreadable clips; failing tasks go to ``found.lacking``."""
    for name, task in found.tasks.items():
        with _noted(found, name):
            found.tasks[name] = readable(task, cache)
    results: dict[str, dict[str, ProbeResult]] = {}
    for method in methods if found.tasks else ():
        results[method.name] = {}
        for name in [name for name in found.tasks if name not in found.lacking]:
            with _noted(found, name, f"{method.name}: "):
                vectors = with_progress(method, name, found.tasks[name].files, cache)
                results[method.name][name] = measure(method.name, vectors, found.tasks[name], classifier)
    return results


def finetune_benchmarks(
    found: Found, checkpoints: Sequence[str], folder: Path, device: torch.device
) -> dict[str, dict[str, ProbeResult]]:
    """Fine-tune every checkpoint on the tasks whose figures are, or may be, by fine-tuning."""
    from aasp_features.train.evaluate.finetune.folds import finetune_splits
    from aasp_features.train.evaluate.finetune.recipes import load_task_recipe

    show_log()
    tuned = [benchmark.task for benchmark in BENCHMARKS if not benchmark.protocol.startswith(LINEAR)]
    results: dict[str, dict[str, ProbeResult]] = {}
    for checkpoint in checkpoints if found.tasks else ():
        encoder = AaSPEncoder.from_pretrained(checkpoint or None)
        method = encoder.config.name
        results[method] = {}
        for name in [name for name in tuned if name in found.tasks and name not in found.lacking]:
            task, recipe = found.tasks[name], load_task_recipe(name, [])
            with _noted(found, name, f"{method}, fine-tuned: "), ending_in_a_sentence():
                results[method][name] = finetune_splits(encoder, task, recipe, folder / method / name, device)
    return results


def benchmark_report(found: Found, results: Results, evaluation: str, tuned: Results) -> str:
    """Return Markdown tables of the paper's linear figures and of the others, and what is missing.

    Args:
        found: Data that was found.
        results: Results of every method on the tasks.
        evaluation: Name of the evaluation.
        tuned: Results of fine-tuned checkpoints; may be empty.
    """
    how = f"{evaluation.lower()} on frozen vectors" + (", and fine-tuning" if tuned else "")
    parts = [f"# The paper's benchmarks\n\nOurs: {how}; in %, 95 % intervals."]
    columns = {f"ours by {evaluation.lower()}, {method}": by_task for method, by_task in results.items()}
    tuned = {f"ours by fine-tuning, {method}": by_task for method, by_task in tuned.items()}
    linear = [benchmark for benchmark in BENCHMARKS if benchmark.protocol.startswith(LINEAR)]
    others = [benchmark for benchmark in BENCHMARKS if not benchmark.protocol.startswith(LINEAR)]
    parts += _section(
        "The paper's figures by linear evaluation",
        "The paper does not publish its pooling, layers and settings of the linear layer.",
        linear,
        found,
        columns,
    )
    parts += _section(
        "The paper's figures by other protocols",
        "They are not comparable with linear evaluation, which does not train the encoder. Our fine-tuning uses the "
        "recipe named like the task, or small.",
        others,
        found,
        {**columns, **tuned},
    )
    tasks = list(found.tasks.values())
    if found.folders:
        parts += ["## Data", *(f"{name}: {folder}." for name, folder in found.folders.items())]
        parts += interval_remarks(results, tuned) + remarks(tasks, logistic=evaluation == LOGISTIC)
    if found.lacking:
        parts.append("## Missing")
        parts += [f"{PUBLIC_TASKS[name].title} ({name}): {reason}" for name, reason in found.lacking.items()]
    return "\n\n".join(parts) + "\n"


def benchmark_json(found: Found, results: Results, evaluation: str, tuned: Results) -> dict[str, object]:
    """Return the report's content for other programs."""
    ours = {**results, **{f"{method}, fine-tuned": by_task for method, by_task in tuned.items()}}
    benchmarks = [
        {
            "task": benchmark.task,
            "paper": {"value": benchmark.figure, "protocol": benchmark.protocol},
            "ours": {
                method: {"value": by_task[benchmark.task].value, "interval": by_task[benchmark.task].interval}
                for method, by_task in ours.items()
                if benchmark.task in by_task
            },
            "folder": str(found.folders[benchmark.task]) if benchmark.task in found.folders else None,
            "lacking": found.lacking.get(benchmark.task),
        }
        for benchmark in BENCHMARKS
    ]
    tasks = {name: described(task) for name, task in found.tasks.items()}
    return {"evaluation": evaluation, "benchmarks": benchmarks, "tasks": tasks}


def _section(title: str, remark: str, benchmarks: Sequence[Benchmark], found: Found, columns: Results) -> list[str]:
    rows = [["benchmark", "metric", "clips", *columns, "the paper's", "its protocol"]]
    for benchmark in benchmarks:
        task = PUBLIC_TASKS[benchmark.task]
        clips = len(found.tasks[task.name].files) if task.name in found.tasks else 0
        cells = [task.title, task.metric.name, f"{clips:,} of {sum(task.expected.values()):,}"]
        cells += [by_task[task.name].cell if task.name in by_task else "–" for by_task in columns.values()]
        rows.append([*cells, f"{benchmark.figure:.1f}", benchmark.protocol])
    return [f"## {title}", remark, markdown.table(rows)]
