"""FSD50K: multi-label sound events from Freesound, in official parts.

Layout, columns and counts: https://zenodo.org/record/4060432 (FSD50K.doc/README.md); labels are propagated to the root
of the ontology.
"""

from __future__ import annotations

import csv
from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import first_there, known, read_lines, read_rows
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

PARTS = {"train": TRAIN, "val": VALIDATION}


def list_clips(folder: Path) -> Listing:
    """List the clips of dev.csv and eval.csv, in the layout of Zenodo or of the copy on the Hub."""
    lists, clips, rows = first_there(folder, ["FSD50K.ground_truth", "labels"]), ClipFiles(), []
    for table, columns in (("dev.csv", ["fname", "labels", "split"]), ("eval.csv", ["fname", "labels"])):
        audio = first_there(folder, [f"FSD50K.{table[:-4]}_audio", f"clips/{table[:-4]}"])
        for row in read_rows(lists / table, columns):
            name, labels = row["fname"], tuple(row["labels"].split(","))
            part = TEST if table == "eval.csv" else known(row["split"], PARTS, lists / table, name)
            rows.append(Row(clips.find(audio / f"{name}.wav"), labels, name, part))
    vocabulary = list(csv.reader(read_lines(lists / "vocabulary.csv")))  # index, label, mid, without a header
    if any(len(row) < 2 for row in vocabulary):
        raise TrainError(
            f"{lists / 'vocabulary.csv'}: every row must be like '0,Accelerating_and_revving_and_vroom,/m/07q2z82'."
        )
    return Listing(rows, [row[1] for row in vocabulary])


FSD50K = PublicTask(
    name="fsd50k",
    title="FSD50K",
    classes=200,
    seconds=7.6,
    splits="official train, validation, evaluation",
    source="https://zenodo.org/record/4060432",
    hub="Fhrozen/FSD50k",
    layout="FSD50K.ground_truth with dev.csv, eval.csv and vocabulary.csv, FSD50K.dev_audio and FSD50K.eval_audio",
    expected={TRAIN: 36_796, VALIDATION: 4_170, TEST: 10_231},
    list_clips=list_clips,
    metric=MEAN_AVERAGE_PRECISION,
)
