"""VoxCeleb1, identification: which of 1,251 speakers speaks; the official split by utterance.

Layout and split: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ (meta/iden_split.txt), as in nttcslab/eval-audio-repr.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import known, read_lines
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

PARTS = {"1": TRAIN, "2": VALIDATION, "3": TEST}


def list_clips(folder: Path) -> Listing:
    """List the clips of iden_split.txt, ``1 id10001/VIDEO/00001.wav``; a video is a group."""
    table, clips, rows = folder / "iden_split.txt", ClipFiles(), []
    for line in read_lines(table):
        part, _, name = line.partition(" ")
        if name.count("/") != 2:
            raise TrainError(f"{table}: the line {line!r} must be like '1 id10001/VIDEO/00001.wav'.")
        speaker, video, _ = name.split("/")
        file = clips.find(folder / "wav" / name)
        rows.append(Row(file, (speaker,), f"{speaker}/{video}", known(part, PARTS, table, name)))
    return Listing(rows, sorted({row.labels[0] for row in rows}))


VOXCELEB1 = PublicTask(
    name="vc1",
    title="VoxCeleb1 identification",
    classes=1251,
    seconds=8.2,
    splits="official train, validation, test (iden_split.txt)",
    source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html (the list: meta/iden_split.txt there)",
    hub="ProgramComputer/voxceleb",
    layout="iden_split.txt and wav/SPEAKER/VIDEO/*.wav, the archives dev and test merged",
    expected={TRAIN: 138_361, VALIDATION: 6_904, TEST: 8_251},
    list_clips=list_clips,
)
