"""``aasp-train classify``: a folder of sounds, sorted or labelled -> a classifier."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from aasp_features.config import Pooling
from aasp_features.train.evaluate.command import Cache, NoCache, vector_cache

RARE_CLASSES = (
    "The least populated class",
    r"Label (not )?\d+ is present",
)  # scikit-learn's; the report has a sentence


def classify(
    folder: Annotated[
        str,
        typer.Argument(
            help="A folder with a folder of sounds for each class, a .csv or a folder with labels.csv, or NAME:FOLDER "
            "of a public task."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    model: Annotated[str | None, typer.Option(help="Checkpoint; the bundled one unless given.")] = None,
    pooling: Annotated[
        Pooling | None, typer.Option(help="That the head reads; frames need mean or frequency. The checkpoint's.")
    ] = None,
    last_layers: Annotated[int | None, typer.Option(help="Average of the last k blocks; the checkpoint's.")] = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write to a folder that holds something.")] = False,
) -> None:
    """Learn the classes of a folder of sounds: a held-out score, a confusion matrix, a classifier in OUT.

    OUT is read by aasp-embed --classifier and by AaSPClassifier.from_pretrained.
    """
    with warnings.catch_warnings():
        for message in RARE_CLASSES:
            warnings.filterwarnings("ignore", message)
        _classify(folder, out, model, pooling, last_layers, None if no_cache else vector_cache(cache), overwrite)


def _classify(
    folder: str,
    out: Path,
    model: str | None,
    pooling: Pooling | None,
    last_layers: int | None,
    cache: Path | None,
    overwrite: bool,
) -> None:
    from aasp_features.train.evaluate import classify as work
    from aasp_features.train.evaluate.command import with_progress
    from aasp_features.train.evaluate.logistic import logistic_regression
    from aasp_features.train.evaluate.methods import encoder_method
    from aasp_features.train.evaluate.probe import probe

    task = work.read_task(folder)
    work.check_free(out, overwrite)
    encoder, encoder_folder = work.load_encoder(model, pooling, last_layers)
    method = encoder_method(encoder, encoder.config.name, None, None)
    vectors = with_progress(method, task, cache)
    result = probe(vectors, task, logistic_regression)
    classifier = work.linear_classifier(encoder, vectors, task)
    text = work.report(task, method.name, result, classifier.labels)
    sys.stdout.write(text)
    work.save(classifier, out, text, work.as_numbers(task, method.name, result, classifier.labels), encoder_folder)
    typer.echo(f"wrote {out}", err=True)
