"""The paper's benchmarks: published figures, their data, and a table beside ours.

The figures are from Yamamoto & Okusa, arXiv 2512.03637, as far as they are public. Their protocols are partly known:
the abstract names fine-tuning for AudioSet-20K, ESC-50 and NSynth, and linear evaluation for UrbanSound8K and NSynth;
the others are presumed to follow the field. Figures of different protocols are not comparable and have separate tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.report import LINEAR as LOGISTIC
from aasp_features.train.evaluate.report import Results, described, interval_remarks, remarks
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS, PublicTask

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


def fine_tuned(found: Found) -> list[str]:
    """Return the found tasks whose figures are, or may be, by fine-tuning."""
    names = [benchmark.task for benchmark in BENCHMARKS if not benchmark.protocol.startswith(LINEAR)]
    return [name for name in names if name in found.tasks and name not in found.lacking]


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
    head = ["benchmark", "metric", "clips", *columns, "the paper's", "its protocol"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for benchmark in benchmarks:
        task = PUBLIC_TASKS[benchmark.task]
        clips = len(found.tasks[task.name].files) if task.name in found.tasks else 0
        cells = [task.title, task.metric.name, f"{clips:,} of {sum(task.expected.values()):,}"]
        cells += [_cell(by_task, task.name) for by_task in columns.values()]
        lines.append("| " + " | ".join([*cells, f"{benchmark.figure:.1f}", benchmark.protocol]) + " |")
    return [f"## {title}", remark, "\n".join(lines)]


def _cell(by_task: Mapping[str, ProbeResult], name: str) -> str:
    result = by_task.get(name)
    if result is None:
        return "–"
    low, high = result.interval
    return f"{result.value:.1f} ({low:.1f}–{high:.1f})"
