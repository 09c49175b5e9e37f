"""CREMA-D: six emotions acted by 91 speakers, split by speaker as in EVAR.

Layout: https://github.com/CheyneyComputerScience/CREMA-D. Split: evar/metadata/cremad.csv of nttcslab/eval-audio-repr,
63, 9 and 19 speakers (5,155, 732 and 1,551 of its 7,438 clips; the official distribution has 7,442).
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, WHOLE, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import read_rows
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

CLASSES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
SPEAKERS = range(1001, 1092)
VALIDATION_SPEAKERS = {1009, 1011, 1022, 1034, 1039, 1047, 1066, 1070, 1082}
TEST_SPEAKERS = (
    {1001, 1004, 1017, 1019, 1020, 1025, 1026, 1029, 1033, 1035}
    | {1042, 1044, 1050, 1053, 1056, 1058, 1060, 1069, 1083}
)  # fmt: skip
AUDIO, LIST = "AudioWAV", "SentenceFilenames.csv"


def list_clips(folder: Path) -> Listing:
    """List the clips of AudioWAV (``1001_DFA_ANG_XX.wav``) and, if it exists, of SentenceFilenames.csv."""
    clips, table = ClipFiles(), folder / LIST
    if not (folder / AUDIO).is_dir():
        raise TrainError(f"{folder / AUDIO} is not a folder.")
    listed = [row["Filename"] for row in read_rows(table, ["Filename"])] if table.is_file() else []
    files = [*clips.each(folder / AUDIO), *(clips.find(folder / AUDIO / f"{Path(name).stem}.wav") for name in listed)]
    return Listing([_row(file) for file in dict.fromkeys(files)], CLASSES)


def _row(file: Path) -> Row:
    fields = file.stem.split("_")
    if len(fields) != 4 or fields[0] not in map(str, SPEAKERS):
        raise TrainError(f"{file} must be named like 1001_DFA_ANG_XX.wav, with a speaker of 1001 to 1091.")
    speaker, _, emotion, _ = fields
    return Row(file, (emotion,), speaker, part_of_speaker(int(speaker)))


def part_of_speaker(speaker: int) -> str:
    """Return EVAR's part of a speaker, 1001 to 1091."""
    if speaker in TEST_SPEAKERS:
        return TEST
    return VALIDATION if speaker in VALIDATION_SPEAKERS else TRAIN


CREMA_D = PublicTask(
    name="cremad",
    title="CREMA-D",
    classes=6,
    seconds=2.5,
    splits="by speaker, 63/9/19, as EVAR",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/*.wav (1001_DFA_ANG_XX.wav) and, to know what is missing, SentenceFilenames.csv",
    expected={WHOLE: 7_442},
    list_clips=list_clips,
)
