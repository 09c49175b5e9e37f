"""GTZAN: ten genres of music, 30 s; the fault-filtered split, which separates artists and omits broken clips.

Split: Kereliuk et al. 2015, arXiv 1507.04761, as in https://github.com/jongpillee/music_dataset_split; 930 of the 1,000
clips. Counts: README of nttcslab/eval-audio-repr.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import first_there, read_lines
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

CLASSES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
LISTS = {"train_filtered.txt": TRAIN, "valid_filtered.txt": VALIDATION, "test_filtered.txt": TEST}
LISTS_FROM = "https://github.com/jongpillee/music_dataset_split/tree/master/GTZAN_split"


def list_clips(folder: Path) -> Listing:
    """List the clips of the three lists (``blues/blues.00029.wav``), each its own group, as artists are unknown."""
    clips, rows = ClipFiles(), []
    genres = first_there(folder, ["genres", "genres_original", "Data/genres_original"])
    for name, part in LISTS.items():
        table = folder / name
        if not table.is_file():
            raise TrainError(f"{table} does not exist; download the three lists from {LISTS_FROM} into {folder}.")
        for line in read_lines(table):
            if line.count("/") != 1:
                raise TrainError(f"{table}: the line {line!r} must be like 'blues/blues.00029.wav'.")
            rows.append(Row(clips.find(genres / line), (line.split("/")[0],), line, part))
    return Listing(rows, CLASSES)


GTZAN = PublicTask(
    name="gtzan",
    title="GTZAN",
    classes=10,
    seconds=30.0,
    splits="fault-filtered train, validation, test lists",
    source=f"http://opihi.cs.uvic.ca/sound/genres.tar.gz, its lists from {LISTS_FROM}",
    hub="marsyas/gtzan",
    layout="genres (or genres_original) with a folder of .wav for each genre, train_filtered.txt, valid_filtered.txt "
    "and test_filtered.txt",
    expected={TRAIN: 443, VALIDATION: 197, TEST: 290},
    list_clips=list_clips,
)
