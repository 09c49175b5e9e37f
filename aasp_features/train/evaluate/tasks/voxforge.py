"""VoxForge: which of six languages is spoken, in archives of utterances that volunteers uploaded.

EVAR (nttcslab/eval-audio-repr) splits 176,428 clips by archive, 70/15/15, at random, by its list
evar/metadata/voxforge.csv. The split here is by a hash of the uploader and needs no list.
"""

from __future__ import annotations

import re
from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import WHOLE, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.held_out_groups import part_of_group
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

CLASSES = ("de", "en", "es", "fr", "it", "ru")
SOUNDS = ("wav", "flac")  # folders of utterances in an archive
ARCHIVE = re.compile(r"(?P<uploader>.+)-\d{8}(-\w+)?")
ANONYMOUS = "anonymous"


def list_clips(folder: Path) -> Listing:
    """List the clips in LANGUAGE/…/ARCHIVE/wav (or flac); an archive is named UPLOADER-DATE-LETTERS."""
    clips, rows = ClipFiles(), []
    for language in CLASSES:
        for sounds in sorted(path for name in SOUNDS for path in (folder / language).glob(f"**/{name}")):
            group = uploader(sounds.parent.name)
            rows += [Row(file, (language,), group, part_of_group(group)) for file in clips.each(sounds)]
    if not rows:
        raise TrainError(f"{folder} has no folder {' or '.join(CLASSES)} with archives in it.")
    return Listing(rows, CLASSES)


def uploader(archive: str) -> str:
    """Return the uploader of an archive; anonymous archives are groups of their own."""
    found = ARCHIVE.fullmatch(archive)
    return archive if found is None or found["uploader"].lower() == ANONYMOUS else found["uploader"]


VOXFORGE = PublicTask(
    name="voxforge",
    title="VoxForge language identification",
    classes=6,
    seconds=5.8,
    splits="70/15/15 by uploader, made here by a hash of the name",
    source="http://www.voxforge.org (the archives: "
    "https://storage.googleapis.com/tfds-data/downloads/voxforge/voxforge_urls.txt)",
    layout="de, en, es, fr, it and ru, in each the unpacked archives: ARCHIVE/wav/*.wav or ARCHIVE/flac/*.flac",
    expected={WHOLE: 176_428},
    list_clips=list_clips,
    note="The split is by a hash of the uploader; EVAR uses its own list, so its results are for another split.",
)
