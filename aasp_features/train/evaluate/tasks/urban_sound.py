"""UrbanSound8K: excerpts of up to 4 s of field recordings, ten official folds.

Layout, classes and folds: https://urbansounddataset.weebly.com/urbansound8k.html; clips of one Freesound recording
(``fsID``) are in one fold.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.evaluate.task import Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy
from aasp_features.train.evaluate.tasks.official_lists import known, read_rows
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

CLASSES = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling", "engine_idling", "gun_shot"),
    *("jackhammer", "siren", "street_music"),
)
EXPECTED = dict(zip(map(str, range(1, 11)), (873, 888, 925, 990, 936, 823, 838, 806, 816, 837), strict=True))
HUB_COPY = HubCopy(
    tables="data/*.parquet",
    clip="audio/fold{fold}/{slice_file_name}",
    columns=("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"),
    listing="metadata/UrbanSound8K.csv",
)
FOLDS = {fold: fold for fold in EXPECTED}


def list_clips(folder: Path) -> Listing:
    """List the clips of metadata/UrbanSound8K.csv."""
    HUB_COPY.unpack(folder)
    table, clips = folder / "metadata" / "UrbanSound8K.csv", ClipFiles()
    rows = [
        Row(
            clips.find(folder / "audio" / f"fold{row['fold']}" / row["slice_file_name"]),
            (row["class"],),
            row["fsID"],
            known(row["fold"], FOLDS, table, row["slice_file_name"]),
        )
        for row in read_rows(table, ["slice_file_name", "fsID", "fold", "class"])
    ]
    return Listing(rows, CLASSES)


URBAN_SOUND_8K = PublicTask(
    name="us8k",
    title="UrbanSound8K",
    classes=10,
    seconds=4.0,
    splits="10 official folds",
    source="https://urbansounddataset.weebly.com/urbansound8k.html",
    hub="danavery/urbansound8K",
    packed=HUB_COPY,
    layout="metadata/UrbanSound8K.csv (slice_file_name, fsID, fold, class) and audio/fold1 … audio/fold10",
    expected=EXPECTED,
    list_clips=list_clips,
)
