"""NSynth: the instrument family of single notes of 4 s, in official parts.

Layout, families and counts: https://magenta.tensorflow.org/datasets/nsynth. Training instruments are in no other part;
validation and test share some.
"""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, Row
from aasp_features.train.evaluate.tasks.clip_files import ClipFiles
from aasp_features.train.evaluate.tasks.official_lists import read_json
from aasp_features.train.evaluate.tasks.public_task import Listing, PublicTask

CLASSES = (
    *("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal"),
)
PARTS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}


def list_clips(folder: Path) -> Listing:
    """List the clips of each part's examples.json; an instrument is a group."""
    clips, rows = ClipFiles(), []
    for name, part in PARTS.items():
        part_folder = folder / f"nsynth-{name}"
        for note, said in read_json(part_folder / "examples.json").items():
            try:
                family, instrument = said["instrument_family_str"], said["instrument_str"]
            except (KeyError, TypeError):
                raise TrainError(
                    f"{part_folder / 'examples.json'}: {note} has no instrument_family_str and instrument_str."
                ) from None
            rows.append(Row(clips.find(part_folder / "audio" / f"{note}.wav"), (family,), instrument, part))
    return Listing(rows, CLASSES)


NSYNTH = PublicTask(
    name="nsynth",
    title="NSynth instrument family",
    classes=11,
    seconds=4.0,
    splits="official train, validation, test",
    source="https://magenta.tensorflow.org/datasets/nsynth",
    hub="jg583/NSynth",
    layout="nsynth-train, nsynth-valid and nsynth-test, each with examples.json and audio/*.wav",
    expected={TRAIN: 289_205, VALIDATION: 12_678, TEST: 4_096},
    list_clips=list_clips,
)
