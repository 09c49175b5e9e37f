"""Fine-tuning runs, from a task's split to a classifier and its test scores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.train.distributed import rank
from aasp_features.train.evaluate.finetune.examples import TaskExamples
from aasp_features.train.evaluate.finetune.loop import Finetuning
from aasp_features.train.evaluate.finetune.recipe import FinetuneRecipe
from aasp_features.train.evaluate.finetune.scoring import classifier_of
from aasp_features.train.evaluate.finetune.start import vectors_of
from aasp_features.train.evaluate.finetune.summary import BEST, LAST, Finished
from aasp_features.train.evaluate.task import Split, Task
from aasp_features.train.run.folder import lock_run

MAX_NAME_LENGTH = 200


def chosen_splits(task: Task, folds: Sequence[str]) -> list[Split]:
    """Return a task's splits, or those of the named folds.

    Raises:
        OptionError: There is no such fold, or the task has no folds.
    """
    splits = task.splits()
    if not folds:
        return splits
    if not task.folds:
        raise OptionError(f"--fold needs a task with folds; {task.name} has train, validation and test parts.")
    if unknown := [fold for fold in folds if fold not in task.folds]:
        raise OptionError(f"--fold of {task.name} must be one of {', '.join(task.folds)}, got {unknown[0]!r}.")
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
    """Continue a run from its folder's state to the end, and save the classifier there.

    The test part is scored after training and affects nothing.

    Raises:
        TrainError, OptionError, AudioError: See ``Finetuning`` and ``TaskExamples``.
        StoppedError: Ctrl-C or SIGTERM ended the run.
        CheckpointError: The classifier cannot be written.
    """
    examples = TaskExamples(task, split, recipe, recipe.network.read_by(encoder.config))
    with ExitStack() as stack:
        if rank() == 0:
            stack.callback(lock_run(folder).release)
        stack.callback(examples.log_mels.close)
        run = Finetuning(encoder, examples, folder, device, max_seconds)
        run.run()
        return finish(run)


def finish(run: Finetuning) -> Finished:
    """Score the test part, if there is one, and save the classifier."""
    examples = run.examples
    weights = {LAST: {name: tensor.clone() for name, tensor in run.average.state_dict().items()}}
    if run.best:
        weights[BEST] = run.best
    saved = BEST if run.best and run.recipe.run.keep == "best" else LAST
    name, scores = f"{run.encoder.config.name}-{examples.task.name}"[:MAX_NAME_LENGTH], {}
    for which, tensors in weights.items():
        run.average.load_state_dict(tensors)
        classifier = classifier_of(run.average, examples.task.classes, examples.multi_label, name)
        if len(examples.test):
            vectors = vectors_of(run.average.network, examples, examples.test)
            scores[which] = classifier.classify_vectors(vectors).astype("float64")
        if which == saved and rank() == 0:
            classifier.save_pretrained(run.folder, card=card(run, name, saved))
    return Finished(scores, saved, run.judged)


def card(run: Finetuning, name: str, saved: str) -> str:
    """Return the classifier's README.md."""
    examples, recipe = run.examples, run.recipe
    classes, held = len(examples.task.classes), examples.split.name if len(examples.test) else "nothing"
    return (
        f"# {name}\n\n"
        f"{run.encoder.config.name} with a linear layer, fine-tuned by aasp-features on {examples.task.name} "
        f"({classes} classes; {held} held out). Recipe {recipe.name}, {run.progress.step} steps "
        f"of {recipe.run.batch} clips; weights of the {saved}.\n\n"
        "```python\nfrom aasp_features import AaSPClassifier\n\n"
        'AaSPClassifier.from_pretrained("this-folder").predict("a-sound.wav")\n```\n'
    )
