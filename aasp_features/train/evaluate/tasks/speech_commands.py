"""Speech Commands V2: 35 words of about a second, split by speaker through two official lists.

Layout and counts: Warden 2018, arXiv 1804.03209, and nttcslab/eval-audio-repr (evar/utils/make_metadata.py). Unlisted
clips train. The speaker is the part of a file name before ``_nohash_``.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import read_lines
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

CLASSES = (
    *("backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy"),
    *("house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six"),
    *("stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero"),
)
LISTS = {"validation_list.txt": VALIDATION, "testing_list.txt": TEST}


def list_clips(folder: Path) -> Listing:
    """List the clips of the lists and of the classes' folders, without ``_background_noise_``."""
    clips = ClipFiles()
    listed = {clips.find(folder / line): part for name, part in LISTS.items() for line in read_lines(folder / name)}
    words = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]
    there = [file for word in words for file in clips.each(word)]
    files = dict.fromkeys([*there, *listed])
    rows = [Row(file, (file.parent.name,), _speaker(file), listed.get(file, TRAIN)) for file in files]
    return Listing(rows, CLASSES)


def _speaker(file: Path) -> str:
    return file.stem.split("_nohash_")[0]


SPEECH_COMMANDS_V2 = PublicTask(
    name="spcv2",
    title="Speech Commands V2",
    classes=35,
    seconds=1.0,
    splits="official validation and test lists, the rest trains; by speaker",
    source="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    hub="google/speech_commands",
    layout="validation_list.txt, testing_list.txt, and a folder of .wav for each of the 35 words",
    expected={TRAIN: 84_843, VALIDATION: 9_981, TEST: 11_005},
    list_clips=list_clips,
)
