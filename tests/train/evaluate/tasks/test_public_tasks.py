"""The table of public tasks, and what all of them have in common."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_task_helpers import MINIATURES, mini_crema_d, mini_esc50, mini_voxforge

from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS
from aasp_features.train.evaluate.tasks.reading import read_tasks


@pytest.mark.parametrize("name", PUBLIC_TASKS)
def test_miniatures_are_read_and_split(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    (task,) = read_tasks([f"{name}:{tmp_path}"])
    assert task.name == name
    assert task.expected
    for split in task.splits():
        places = [*split.train.tolist(), *split.validation.tolist(), *split.test.tolist()]
        assert len(set(places)) == len(places)
        assert len(split.test)
    assert_groups_are_whole(task)


def test_counts_and_classes_of_the_official_distributions() -> None:
    clips = {name: sum(task.expected.values()) for name, task in PUBLIC_TASKS.items()}
    assert clips == {
        **{"as2m": 22_160 + 2_041_789 + 20_371, "as20k": 42_531, "fsd50k": 51_197, "esc50": 2000, "esc10": 400},
        **{"us8k": 8732, "spcv2": 105_829, "vc1": 153_516, "voxforge": 176_428, "cremad": 7442, "gtzan": 930},
        **{"nsynth": 305_979, "surge": 88 * (1692 + 195 + 197)},
    }
    for task in PUBLIC_TASKS.values():
        names = task.class_names.split()
        assert len(set(names)) == len(names)
        assert len(names) in (0, task.classes)


@pytest.mark.parametrize("name", PUBLIC_TASKS)
def test_another_folder_is_a_sentence(name: str, tmp_path: Path) -> None:
    public = PUBLIC_TASKS[name]
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ValueError, match=f"^{name}: .* Its folder holds .* It comes from http") as raised:
            public.read(folder)
        assert public.layout in str(raised.value)


@pytest.mark.parametrize("name", PUBLIC_TASKS)
def test_flac_stands_for_wav(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    before = PUBLIC_TASKS[name].read(tmp_path)
    for clip in sorted(tmp_path.rglob("*.wav")):
        clip.rename(clip.with_suffix(".flac"))
    after = PUBLIC_TASKS[name].read(tmp_path)
    assert [file.with_suffix("") for file in after.files] == [file.with_suffix("") for file in before.files]
    assert after.labels.tolist() == before.labels.tolist()
    assert after.parts.tolist() == before.parts.tolist()


@pytest.mark.parametrize("name", PUBLIC_TASKS)
def test_no_clip_at_all_is_a_sentence(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    for clip in (path for ending in ("wav", "flac") for path in tmp_path.rglob(f"*.{ending}")):
        clip.unlink()
    with pytest.raises(ValueError, match=f"^{name}: .*(none of its|has no folder|has none)"):
        PUBLIC_TASKS[name].read(tmp_path)


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 40)), st.sampled_from(["esc50", "cremad", "voxforge"]))
def test_no_group_is_on_both_sides(gone: set[int], name: str) -> None:
    """Whichever clips are missing; and the others stay where they were."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        {"esc50": mini_esc50, "cremad": mini_crema_d, "voxforge": mini_voxforge}[name](folder)
        whole = PUBLIC_TASKS[name].read(folder)
        kept = [file for index, file in enumerate(whole.files) if index not in gone]
        for file in set(whole.files) - set(kept):
            file.unlink()
        if not kept:
            return
        task = PUBLIC_TASKS[name].read(folder)
        assert_groups_are_whole(task)
        parts = dict(zip(whole.files, whole.parts, strict=True))
        assert [parts[file] for file in task.files] == task.parts.tolist()


def assert_groups_are_whole(task: Task) -> None:
    for group in set(task.groups):
        assert len(set(task.parts[task.groups == group])) == 1
