"""Surge (Pitch Audio Dataset): which of 88 pitches a synthesiser plays, split by tone as in EVAR.

Layout, split and counts: nttcslab/eval-audio-repr (evar/utils/make_metadata.py and
evar/predefined/dataset_surge_tone_splits.csv): 1,692, 195 and 197 tones, 88 files each, named by their pitches.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import known, read_rows
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

PARTS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
LIST = "dataset_surge_tone_splits.csv"
LIST_FROM = "https://github.com/nttcslab/eval-audio-repr (evar/predefined)"


def list_clips(folder: Path) -> Listing:
    """List every pitch of every listed tone."""
    table, clips = folder / LIST, ClipFiles()
    if not table.is_file():
        raise TrainError(f"{table} does not exist; download the list from {LIST_FROM} into {folder}.")
    rows = read_rows(table, ["tone", "split"])
    parts = {row["tone"]: known(row["split"], PARTS, table, row["tone"]) for row in rows}
    pitches = sorted(
        {file.stem for tone in parts for file in clips.each(folder / tone)}, key=lambda pitch: (len(pitch), pitch)
    )
    if not pitches:
        raise TrainError(f"{folder} has none of the {len(parts)} folders that {LIST} names.")
    return Listing(
        [
            Row(clips.find(folder / tone / f"{pitch}.ogg"), (pitch,), tone, part)
            for tone, part in parts.items()
            for pitch in pitches
        ],
        pitches,
    )


SURGE = PublicTask(
    name="surge",
    title="Pitch Audio Dataset (Surge synthesizer)",
    classes=88,
    seconds=4.0,
    splits="by tone, as EVAR",
    source=f"https://zenodo.org/record/4677097, its list from {LIST_FROM}",
    layout=f"a folder for each tone with a file for each pitch (TONE/PITCH.ogg), and {LIST}",
    expected={TRAIN: 148_896, VALIDATION: 17_160, TEST: 17_336},
    list_clips=list_clips,
)
