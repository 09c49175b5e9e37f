"""CREMA-D in miniature."""

from collections import Counter
from pathlib import Path

import pytest
from public_task_helpers import CREMA_D_SPEAKERS, mini_crema_d, said, write_clip, write_text

from aasp_features.train.evaluate.tasks.crema_d import CREMA_D, SPEAKERS, part_of_speaker


def test_speakers_are_kept_whole(tmp_path: Path) -> None:
    mini_crema_d(tmp_path)
    task = CREMA_D.read(tmp_path)
    assert said(task, tmp_path) == {
        f"AudioWAV/{speaker}_{sentence}_{emotion}_XX.wav": (emotion, str(speaker), part)
        for speaker, part in CREMA_D_SPEAKERS.items()
        for sentence in ("DFA", "IEO")
        for emotion in ("ANG", "SAD")
    }
    assert (task.classes, task.found) == (("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"), {"whole": 16})
    assert task.missing == ()


def test_the_split_has_evars_speakers() -> None:
    """63, 9 and 19, as evar/utils/download_cremad.py says."""
    assert Counter(map(part_of_speaker, SPEAKERS)) == {"train": 63, "validation": 9, "test": 19}


def test_the_list_tells_what_is_missing(tmp_path: Path) -> None:
    mini_crema_d(tmp_path)
    names = [path.stem for path in sorted((tmp_path / "AudioWAV").iterdir())]
    rows = [f'{number},"{name}"' for number, name in enumerate([*names, "1091_WSI_SAD_XX"], start=1)]
    write_text(tmp_path / "SentenceFilenames.csv", ['"Stimulus_Number","Filename"', *rows])
    task = CREMA_D.read(tmp_path)
    assert len(task.files) == 16
    assert task.missing == (tmp_path / "AudioWAV" / "1091_WSI_SAD_XX.wav",)


def test_other_files_and_folders_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cremad: .*AudioWAV is not a folder\. Its folder holds AudioWAV"):
        CREMA_D.read(tmp_path)
    for name in ("hello", "2001_DFA_ANG_XX"):
        write_clip(tmp_path / "AudioWAV" / f"{name}.wav")
        with pytest.raises(ValueError, match=rf"{name}\.wav must be named like 1001_DFA_ANG_XX\.wav"):
            CREMA_D.read(tmp_path)
        (tmp_path / "AudioWAV" / f"{name}.wav").unlink()
