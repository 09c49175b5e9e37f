"""ESC-50 and its subset ESC-10: environmental sounds of 5 s in five official folds.

Layout, folds and counts: https://github.com/karolpiczak/ESC-50 (README). Clips of one Freesound recording
(``src_file``) are in one fold.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.evaluate.task import Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy
from aasp_features.train.evaluate.tasks.official_lists import known, read_rows
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

FOLDS = {fold: fold for fold in "12345"}
CLASSES = (
    *("airplane", "breathing", "brushing_teeth", "can_opening", "car_horn", "cat", "chainsaw", "chirping_birds"),
    *("church_bells", "clapping", "clock_alarm", "clock_tick", "coughing", "cow", "crackling_fire", "crickets"),
    *("crow", "crying_baby", "dog", "door_wood_creaks", "door_wood_knock", "drinking_sipping", "engine", "fireworks"),
    *("footsteps", "frog", "glass_breaking", "hand_saw", "helicopter", "hen", "insects", "keyboard_typing"),
    *("laughing", "mouse_click", "pig", "pouring_water", "rain", "rooster", "sea_waves", "sheep", "siren"),
    *("sneezing", "snoring", "thunderstorm", "toilet_flush", "train", "vacuum_cleaner", "washing_machine"),
    *("water_drops", "wind"),
)
CLASSES_10 = (
    *("chainsaw", "clock_tick", "crackling_fire", "crying_baby", "dog", "helicopter", "rain", "rooster"),
    *("sea_waves", "sneezing"),
)
LAYOUT = "meta/esc50.csv (filename, fold, category, esc10, src_file) and audio/*.wav"
SOURCE = "https://github.com/karolpiczak/ESC-50"
HUB = "ashraq/esc50"
HUB_COPY = HubCopy(
    tables="data/*.parquet",
    clip="audio/{filename}",
    columns=("filename", "fold", "target", "category", "esc10", "src_file", "take"),
    listing="meta/esc50.csv",
)
SPLITS = "5 official folds"


def list_esc50(folder: Path) -> Listing:
    """List all 2,000 clips."""
    return Listing(_rows(folder, only_esc10=False), CLASSES)


def list_esc10(folder: Path) -> Listing:
    """List the 400 clips that ESC-50's list marks ``esc10``."""
    return Listing(_rows(folder, only_esc10=True), CLASSES_10)


def _rows(folder: Path, only_esc10: bool) -> list[Row]:
    HUB_COPY.unpack(folder)
    table, clips = folder / "meta" / "esc50.csv", ClipFiles()
    return [
        Row(
            clips.find(folder / "audio" / row["filename"]),
            (row["category"],),
            row["src_file"],
            known(row["fold"], FOLDS, table, row["filename"]),
        )
        for row in read_rows(table, ["filename", "fold", "category", "esc10", "src_file"])
        if not only_esc10 or row["esc10"] == "True"
    ]


ESC50 = PublicTask(
    name="esc50",
    title="ESC-50",
    classes=50,
    seconds=5.0,
    splits=SPLITS,
    source=SOURCE,
    hub=HUB,
    packed=HUB_COPY,
    layout=LAYOUT,
    expected=dict.fromkeys(FOLDS, 400),
    list_clips=list_esc50,
)
ESC10 = PublicTask(
    name="esc10",
    title="ESC-10",
    classes=10,
    seconds=5.0,
    splits=SPLITS,
    source=SOURCE,
    hub=HUB,
    packed=HUB_COPY,
    layout=LAYOUT,
    expected=dict.fromkeys(FOLDS, 80),
    list_clips=list_esc10,
)
