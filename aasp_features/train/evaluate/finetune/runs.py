"""Fine-tuning of one checkpoint on tasks, fold by fold: runs in folders, classifiers beside them, one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.train.evaluate.finetune.examples import TaskExamples
from aasp_features.train.evaluate.finetune.loop import Finetuning
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.evaluate.finetune.scoring import classifier_of
from aasp_features.train.evaluate.finetune.start import vectors_of
from aasp_features.train.evaluate.metrics import Scores
from aasp_features.train.evaluate.probe import judged
from aasp_features.train.evaluate.report import table
from aasp_features.train.evaluate.task import Split, Task
from aasp_features.train.pretrain.distributed import rank
from aasp_features.train.pretrain.run_folder import lock_run
from aasp_features.train.whole_file import write_atomically

BEST, LAST = "best on validation", "last epoch"
LONGEST_NAME = 200


class Finished(NamedTuple):
    """What a run came to.

    Attributes:
        scores: of the split's test part, by the last epoch and, where there is a validation part, by the epoch that
            this liked best.
        saved: which of them the classifier is.
        validation: the best value on the validation part, in %, and its epoch; None where there is none.
    """

    scores: dict[str, Scores]
    saved: str
    validation: dict[str, float] | None


def chosen_splits(task: Task, folds: Sequence[str]) -> list[Split]:
    """A task's splits; of its folds only those named.

    Raises:
        OptionError: it has no such fold, or none at all.
    """
    splits = task.splits()
    if not folds:
        return splits
    if not task.folds:
        raise OptionError(f"--fold: the task {task.name} has no folds, but train, validation and test.")
    if unknown := [fold for fold in folds if fold not in task.folds]:
        raise OptionError(f"--fold: the task {task.name} has {', '.join(task.folds)}, got {unknown[0]!r}.")
    return [split for split in splits if split.name.removeprefix("fold ") in folds]


def finetune(
    encoder: AaSPEncoder,
    task: Task,
    split: Split,
    recipe: FinetuneRecipe,
    folder: Path,
    device: torch.device,
    max_seconds: float | None = None,
) -> Finished:
    """One run from where its folder stands to its end; the classifier is saved in that folder.

    The test part is scored once training is over, and decides nothing.

    Raises:
        TrainError, OptionError, AudioError: see ``Finetuning`` and ``TaskExamples``.
        StoppedError: Ctrl-C or SIGTERM ended it.
        CheckpointError: the classifier cannot be written.
    """
    lock = lock_run(folder) if rank() == 0 else None
    examples = TaskExamples(task, split, recipe, recipe.network.read_by(encoder.config))
    try:
        run = Finetuning(encoder, examples, folder, device, max_seconds)
        run.run()
        return finish(run)
    finally:
        examples.log_mels.close()
        if lock is not None:
            lock.release()


def finish(run: Finetuning) -> Finished:
    """Score the test part by what the run keeps, and save the classifier."""
    examples = run.examples
    weights = {LAST: {name: tensor.clone() for name, tensor in run.average.state_dict().items()}}
    if run.best:
        weights[BEST] = run.best
    saved = BEST if run.best and run.recipe.run.keep == "best" else LAST
    name, scores = f"{run.encoder.config.name}-{examples.task.name}"[:LONGEST_NAME], {}
    for which, tensors in weights.items():
        run.average.load_state_dict(tensors)
        classifier = classifier_of(run.average, examples.task.classes, examples.several, name)
        vectors = vectors_of(run.average.network, examples, examples.test)
        scores[which] = classifier.classify_vectors(vectors).astype("float64")
        if which == saved and rank() == 0:
            classifier.save_pretrained(run.folder, card=card(run, name, saved))
    return Finished(scores, saved, run.judged)


def card(run: Finetuning, name: str, saved: str) -> str:
    """README.md of the classifier."""
    examples, recipe = run.examples, run.recipe
    classes = len(examples.task.classes)
    return (
        f"# {name}\n\n"
        f"{run.encoder.config.name} and a linear layer, fine-tuned by aasp-features on {examples.task.name} "
        f"({classes} classes; {examples.split.name} held out) by the recipe {recipe.name}, {run.progress.step} steps "
        f"of {recipe.run.batch} clips; weights of the {saved}.\n\n"
        "```python\nfrom aasp_features import AaSPClassifier\n\n"
        'AaSPClassifier.from_pretrained("this-folder").predict("a-sound.wav")\n```\n'
    )


def summary(checkpoint: str, found: Sequence[tuple[Task, Sequence[Split], Sequence[Finished]]]) -> tuple[str, Any]:
    """The report in Markdown, and its numbers.

    Args:
        checkpoint: its name.
        found: of each task, the splits that were run and what each came to.
    """
    whichs = [LAST] if any(BEST not in one.scores for _, _, runs in found for one in runs) else [BEST, LAST]
    results = {
        f"{checkpoint} fine-tuned, {which}": {
            task.name: judged(task, splits, [[one.scores[which]] for one in runs]) for task, splits, runs in found
        }
        for which in whichs
    }
    tasks = [task for task, _, _ in found]
    told = ", ".join(f"{task.name} ({task.metric.name}; {_names(splits)})" for task, splits, _ in found)
    lines = ["| | tested on | validation, its best epoch | saved | " + " | ".join(whichs) + " |"]
    lines.append("|---" * (4 + len(whichs)) + "|")
    rows = []
    for task, splits, runs in found:
        for split, one in zip(splits, runs, strict=True):
            values = {which: task.value(split.test, one.scores[which]) for which in whichs}
            best = "" if one.validation is None else f"{one.validation['value']:.1f}, {one.validation['epoch']}"
            cells = [task.name, split.name, best, one.saved, *(f"{value:.1f}" for value in values.values())]
            lines.append("| " + " | ".join(cells) + " |")
            rows.append({"task": task.name, "split": split.name, "saved": one.saved, "validation": one.validation})
            rows[-1] |= {"test": values}
    text = f"Fine-tuning; in %, 95 % intervals: {told}.\n\n{table(tasks, results)}\n\n" + "\n".join(lines) + "\n"
    summed = {
        method: {
            name: {"value": one.value, "interval": one.interval, "splits": one.splits} for name, one in row.items()
        }
        for method, row in results.items()
    }
    return text, {"results": summed, "runs": rows}


def write_report(out: Path, text: str, numbers: Any) -> None:
    """As ``report.md`` and ``report.json``."""
    write_atomically(out / "report.md", text)
    write_atomically(out / "report.json", json.dumps(numbers, indent=1) + "\n")


def _names(splits: Sequence[Split]) -> str:
    names = [split.name for split in splits]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}, {len(names)} splits"
