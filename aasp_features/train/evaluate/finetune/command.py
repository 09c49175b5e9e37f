"""``aasp-train finetune``: which checkpoint, which tasks, by which recipe."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

Task = Annotated[
    list[str],
    typer.Option(help="As of linear: NAME:FOLDER, a .csv, or a folder; may be repeated."),
]
Fold = Annotated[list[str] | None, typer.Option(help="Run this fold alone; may be repeated; default: each.")]
RecipeName = Annotated[
    str | None,
    typer.Option(help="A .yaml, or a name from train/evaluate/finetune/recipes; default: the task's, or small."),
]


def finetune(
    checkpoint: Annotated[str, typer.Argument(help="Folder or Hub name of the encoder, or a bundled one's name.")],
    task: Task,
    out: Annotated[Path, typer.Option(help="Folder of the run, or of the runs; those found there go on.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value changes to the recipe.")] = None,
    recipe: RecipeName = None,
    fold: Fold = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; the GPU where there is one.")] = None,
    max_time: Annotated[float | None, typer.Option(help="Time budget of each run, minutes.")] = None,
) -> None:
    """Train an encoder with a linear layer on a task's labels; the result is a classifier. Prints what tests say."""
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.train.evaluate.command import readable, vector_cache
    from aasp_features.train.evaluate.finetune.recipes import load_recipe, load_task_recipe
    from aasp_features.train.evaluate.finetune.runs import chosen_splits
    from aasp_features.train.evaluate.finetune.runs import finetune as run
    from aasp_features.train.evaluate.finetune.summary import summary
    from aasp_features.train.evaluate.report import write_report
    from aasp_features.train.evaluate.tasks.registry import read_tasks
    from aasp_features.train.options import check_folder, checked_device, seconds_of
    from aasp_features.train.pretrain.stopping import ending_in_a_sentence

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    budget, place = seconds_of("--max-time", max_time, above_zero=True), checked_device(device)
    check_folder("--out", out)
    tasks = read_tasks(task)
    changes = settings or []
    recipes = [load_recipe(recipe, changes) if recipe else load_task_recipe(one.name, changes) for one in tasks]
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    tasks = [readable(one, vector_cache(None)) for one in tasks]
    splits = [chosen_splits(one, fold or []) for one in tasks]
    alone = sum(map(len, splits)) == 1
    found = []
    with ending_in_a_sentence():
        for one, chosen, own in zip(tasks, splits, recipes, strict=True):
            folders = [out if alone else out / one.name / split.name.replace(" ", "-") for split in chosen]
            runs = [
                run(encoder, one, split, own, folder, place, budget)
                for split, folder in zip(chosen, folders, strict=True)
            ]
            found.append((one, chosen, runs))
    text, numbers = summary(encoder.config.name, found)
    write_report(out, tasks, text, numbers)
    sys.stdout.write(text)
