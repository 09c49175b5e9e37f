"""The command ``aasp-train finetune``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.errors import OptionError
from aasp_features.train.evaluate.command import Tasks
from aasp_features.train.options import Device, show_log

if TYPE_CHECKING:
    import torch

Fold = Annotated[list[str] | None, typer.Option(metavar="FOLD", help="Fold to run (default: all folds). Repeatable.")]
RecipeName = Annotated[
    str | None,
    typer.Option(help="Name from train/evaluate/finetune/recipes, or a .yaml (default: the task's, or small)."),
]


def finetune(
    task: Tasks,
    out: Annotated[Path, typer.Option(help="Folder of the runs; runs found there continue.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [KEY=VALUE]...",
            help="Checkpoint folder, Hub name or bundled name (default: the default one); recipe settings to change.",
        ),
    ] = None,
    recipe: RecipeName = None,
    fold: Fold = None,
    device: Device = None,
    max_time: Annotated[float | None, typer.Option(help="Time limit of each run, in minutes (default: none).")] = None,
) -> None:
    """Fine-tune an encoder on a task's labels. The result is a classifier."""
    from aasp_features.train.distributed import joined_processes

    show_log()
    with joined_processes(device) as own_device:
        finetune_tasks(task, out, arguments or [], recipe, fold or [], own_device, max_time)


def finetune_tasks(
    task: list[str],
    out: Path,
    arguments: list[str],
    recipe: str | None,
    fold: list[str],
    device: torch.device,
    max_time: float | None,
) -> None:
    """Run every task's splits, and report them; arguments as for ``finetune``."""
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.train.distributed import rank
    from aasp_features.train.evaluate.finetune.recipes import load_recipe, load_task_recipe
    from aasp_features.train.evaluate.finetune.runs import chosen_splits
    from aasp_features.train.evaluate.finetune.runs import finetune as run
    from aasp_features.train.evaluate.finetune.summary import summary
    from aasp_features.train.evaluate.readable import readable
    from aasp_features.train.evaluate.report import write_report
    from aasp_features.train.evaluate.tasks.reading import read_tasks
    from aasp_features.train.evaluate.vector_cache import vector_cache
    from aasp_features.train.options import check_folder, seconds_of
    from aasp_features.train.run.stopping import ending_in_a_sentence

    budget = seconds_of("--max-time", max_time, above_zero=True)
    checkpoint, changes = checkpoint_and_settings(arguments)
    if rank() == 0:  # others would see its probe come and go
        check_folder("--out", out)
    tasks = read_tasks(task)
    recipes = [load_recipe(recipe, changes) if recipe else load_task_recipe(one.name, changes) for one in tasks]
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    tasks = [readable(one, vector_cache(None)) for one in tasks]
    splits = [chosen_splits(one, fold) for one in tasks]
    alone = sum(map(len, splits)) == 1
    found = []
    with ending_in_a_sentence():
        for one, chosen, own in zip(tasks, splits, recipes, strict=True):
            folders = [out if alone else out / one.name / split.name.replace(" ", "-") for split in chosen]
            runs = [
                run(encoder, one, split, own, folder, device, budget)
                for split, folder in zip(chosen, folders, strict=True)
            ]
            found.append((one, chosen, runs))
    text, numbers = summary(encoder.config.name, found)
    if rank() == 0:
        write_report(out, tasks, text, numbers)
        sys.stdout.write(text)


def checkpoint_and_settings(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Divide arguments into the checkpoint, if there is one, and settings; folders are not settings.

    Raises:
        OptionError: There are two checkpoints.
    """
    settings = [one for one in arguments if "=" in one and not Path(one).is_dir()]
    checkpoints = [one for one in arguments if one not in settings]
    if len(checkpoints) > 1:
        raise OptionError(
            f"finetune takes one checkpoint and key=value settings, got {checkpoints[0]!r} and {checkpoints[1]!r}."
        )
    return checkpoints[0] if checkpoints else None, settings
