"""``aasp-train probe``: which vectors, which tasks, one table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aasp_features.train.evaluate.features import Vectoriser
    from aasp_features.train.evaluate.report import Results
    from aasp_features.train.evaluate.tasks import Task

UNTRAINED_SEEDS = (0, 1, 2)


def probe(
    tasks: Annotated[Path, typer.Option(help="A task's folder (labels.csv and sounds), or a folder of these.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Checkpoint; may be repeated; default: the bundled one.")
    ] = None,
    pooling: Annotated[list[str] | None, typer.Option(help="May be repeated; default: the checkpoint's.")] = None,
    layers: Annotated[list[int] | None, typer.Option(help="Average of the last k blocks; may be repeated.")] = None,
    untrained: Annotated[bool, typer.Option(help="Also the same network untrained, three seeds.")] = True,
    log_mel: Annotated[bool, typer.Option(help="Also mean and standard deviation of the log-mel.")] = True,
    teachers: Annotated[
        list[Path] | None, typer.Option(help="Also external teachers (.yaml, or a folder), each and side by side.")
    ] = None,
    graphs: Annotated[str, typer.Option(help="Folder of the teachers' files, if not beside their descriptions.")] = "",
    folds: Annotated[str, typer.Option(help="Folds in use; 1-4 for selections.")] = "1-5",
    classifier: Annotated[str, typer.Option(help="linear or knn.")] = "linear",
    out: Annotated[Path | None, typer.Option(help="Markdown file to write as well.")] = None,
) -> None:
    """Probe frozen vectors on labelled tasks; prints balanced accuracy in % with 95 % intervals."""
    from aasp_features.hub import CheckpointError
    from aasp_features.inputs import InputError
    from aasp_features.train.evaluate.linear import CLASSIFIERS
    from aasp_features.train.evaluate.linear import probe as run_probe
    from aasp_features.train.evaluate.tasks import FOLDS, read_tasks

    try:
        chosen = CLASSIFIERS.get(classifier)
        if chosen is None:
            raise ValueError(f"--classifier must be one of {', '.join(CLASSIFIERS)}, got {classifier!r}.")
        used = _parse_folds(folds)
        read = read_tasks(tasks)
        results = {}
        methods = chain(
            _teachers(teachers or [], graphs),
            _methods(model or [""], pooling or [None], layers or [None], untrained, log_mel),
        )
        for name, vectoriser in methods:
            results[name] = {task.name: run_probe(vectoriser(task.files), task, chosen, used) for task in read}
            typer.echo(f"{name}: " + ", ".join(f"{k} {v.score:.1f}" for k, v in results[name].items()), err=True)
    except (ValueError, CheckpointError, InputError) as error:
        typer.echo(f"aasp-train: {error}", err=True)
        raise typer.Exit(2) from error
    text = _report(read, results, classifier, folds, FOLDS[-1] in used)
    sys.stdout.write(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def _report(tasks: list[Task], results: Results, classifier: str, folds: str, last_fold: bool) -> str:
    from aasp_features.train.evaluate.report import differences, fold_table, table
    from aasp_features.train.evaluate.tasks import FOLDS

    parts = [f"Balanced accuracy (%), {classifier} probe, folds {folds}:", table(results)]
    if last_fold:
        parts += [f"Fold {FOLDS[-1]} alone, which selections leave out:", fold_table(results, -1)]
    if len(results) > 1:
        parts += ["Differences, paired clip by clip:", differences(tasks, results, list(results)[-1])]
    return "\n\n".join(parts) + "\n"


def _teachers(places: Sequence[Path], graphs: str) -> Iterator[tuple[str, Vectoriser]]:
    if not places:
        return
    from aasp_features.train.evaluate.features import teacher_vectors
    from aasp_features.train.pretrain.external_teachers import ExternalTeacher, read_descriptions

    found = [ExternalTeacher(description) for description in read_descriptions(places, graphs)]
    for teacher in found:
        yield f"teacher {teacher.description.name}", teacher_vectors([teacher])
    if len(found) > 1:
        names = ", ".join(teacher.description.name for teacher in found)
        yield f"teachers {names} side by side", teacher_vectors(found)


def _methods(
    models: Sequence[str], poolings: Sequence[str | None], layers: Sequence[int | None], untrained: bool, log_mel: bool
) -> Iterator[tuple[str, Vectoriser]]:
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.train.evaluate.features import encoder_vectors, log_mel_statistics, untrained_encoder

    encoders = [AaSPEncoder.from_pretrained(name or None) for name in models]
    if log_mel:
        for fft_length in sorted({encoder.config.fft_length for encoder in encoders}):
            yield f"log-mel mean and std ({fft_length} points)", log_mel_statistics(fft_length)
    for encoder in encoders:
        for pooling in poolings:
            for count in layers:
                options = encoder.check_options(pooling, count)[:2]
                label = f"`{options[0]}`" + (f", last {options[1]} blocks" if options[1] > 1 else "")
                for seed in UNTRAINED_SEEDS if untrained else ():
                    other = untrained_encoder(encoder.config, seed)
                    yield f"untrained, seed {seed}, {label}", encoder_vectors(other, *options)
                yield f"{encoder.config.name}, {label}", encoder_vectors(encoder, *options)


def _parse_folds(text: str) -> list[int]:
    from aasp_features.train.evaluate.tasks import FOLDS

    first, _, last = text.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        raise ValueError(f"--folds is a range such as 1-4, got {text!r}.")
    chosen = list(range(int(first), int(last or first) + 1))
    if len(chosen) < 2 or not set(chosen) <= set(FOLDS):
        raise ValueError(f"--folds must name at least two of {FOLDS}, got {text!r}.")
    return chosen
