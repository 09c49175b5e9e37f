"""``aasp-train probe``: which vectors, which tasks, one table."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from aasp_features.errors import OptionError


def probe(
    tasks: Annotated[Path, typer.Option(help="A task's folder (labels.csv and sounds), or a folder of these.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Checkpoint; may be repeated; default: the bundled one.")
    ] = None,
    pooling: Annotated[list[str] | None, typer.Option(help="May be repeated; default: the checkpoint's.")] = None,
    last_layers: Annotated[
        list[int] | None, typer.Option(help="Average of the last k blocks; may be repeated.")
    ] = None,
    untrained: Annotated[bool, typer.Option(help="Also the same network untrained, three seeds.")] = True,
    log_mel: Annotated[bool, typer.Option(help="Also mean and standard deviation of the log-mel.")] = True,
    teachers: Annotated[
        list[Path] | None, typer.Option(help="Also external teachers (.yaml, or a folder), each and side by side.")
    ] = None,
    graphs: Annotated[str, typer.Option(help="Folder of the teachers' files, if not beside their descriptions.")] = "",
    folds: Annotated[str, typer.Option(help="Folds in use; 1-4 for selections.")] = "1-5",
    classifier: Annotated[Literal["linear", "knn"], typer.Option(help="What reads the vectors.")] = "linear",
    out: Annotated[Path | None, typer.Option(help="Markdown file to write as well.")] = None,
) -> None:
    """Probe frozen vectors on labelled tasks; prints each task's metric in % with 95 % intervals."""
    from aasp_features.train.evaluate.features import encoder_methods, teacher_methods
    from aasp_features.train.evaluate.probe import CLASSIFIERS
    from aasp_features.train.evaluate.probe import probe as run_probe
    from aasp_features.train.evaluate.report import report
    from aasp_features.train.evaluate.tasks import FOLDS, read_tasks

    used, read = _parse_folds(folds), read_tasks(tasks)
    results = {}
    methods = chain(
        teacher_methods(teachers or [], graphs),
        encoder_methods(model or [""], pooling or [None], last_layers or [None], untrained, log_mel),
    )
    for name, vectoriser in methods:
        results[name] = {
            task.name: run_probe(vectoriser(task.files), task, CLASSIFIERS[classifier], used) for task in read
        }
        typer.echo(f"{name}: " + ", ".join(f"{k} {v.score:.1f}" for k, v in results[name].items()), err=True)
    text = report(read, results, classifier, folds, FOLDS[-1] in used)
    sys.stdout.write(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def _parse_folds(text: str) -> list[int]:
    from aasp_features.train.evaluate.tasks import FOLDS

    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and len(text) <= 9):
        raise OptionError(f"--folds is a range such as 1-4, got {text!r}.")
    chosen = list(range(int(first), int(last or first) + 1))
    if len(chosen) < 2 or not set(chosen) <= set(FOLDS):
        raise OptionError(f"--folds must name at least two of {FOLDS}, got {text!r}.")
    return chosen
