"""The paper's benchmarks: found or not, and what is said of them."""

from pathlib import Path

import pytest
from public_task_helpers import mini_audioset, mini_crema_d, mini_esc50, mini_spcv2, mini_us8k

from aasp_features.train.evaluate.benchmark import BENCHMARKS, benchmark_report, find_benchmarks
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS


def test_data_is_recognised_by_what_it_holds(tmp_path: Path) -> None:
    mini_esc50(tmp_path / "ESC-50-master")
    mini_audioset(tmp_path / "sounds of videos")
    mini_spcv2(tmp_path / "speech_commands_v0.02")
    mini_us8k(tmp_path / "UrbanSound8K")
    mini_spcv2(tmp_path / "speech_commands_v0.01")
    (tmp_path / "speech_commands_v0.01" / "backward").rename(tmp_path / "speech_commands_v0.01" / "bird")
    found = find_benchmarks(tmp_path)
    assert {name: folder.name for name, folder in found.folders.items()} == {
        "as2m": "sounds of videos",
        "as20k": "sounds of videos",
        "esc50": "ESC-50-master",
        "spcv2": "speech_commands_v0.02",
        "us8k": "UrbanSound8K",
    }
    assert list(found.tasks) == list(found.folders)
    assert list(found.lacking) == ["cremad", "nsynth"]
    assert found.lacking["cremad"].endswith(PUBLIC_TASKS["cremad"].instructions)


def test_a_single_task_may_be_the_root(tmp_path: Path) -> None:
    mini_crema_d(tmp_path)
    assert list(find_benchmarks(tmp_path).tasks) == ["cremad"]
    with pytest.raises(ValueError, match=r"--data-root .*gone does not exist"):
        find_benchmarks(tmp_path / "gone")


def test_data_that_is_not_whole_is_told(tmp_path: Path) -> None:
    mini_us8k(tmp_path / "UrbanSound8K")
    for clip in tmp_path.rglob("*.wav"):
        clip.unlink()
    found = find_benchmarks(tmp_path)
    assert (list(found.tasks), list(found.folders)) == ([], ["us8k"])
    assert found.lacking["us8k"].startswith("us8k: none of its 20 sound files exists")


def test_protocols_stand_apart(tmp_path: Path) -> None:
    """The public figures of arXiv 2512.03637, each once, fine-tuning never among linear evaluations."""
    text = benchmark_report(find_benchmarks(tmp_path), {}, "Linear layer", {})
    linear, others = (section.split("## ")[0] for section in text.split("## The paper's figures by ")[1:])
    figures = {"AudioSet-2M": 49.8, "AudioSet-20K": 41.9, "ESC-50": 97.5, "Speech Commands V2": 97.9}
    figures |= {"UrbanSound8K": 89.7, "CREMA-D": 68.7, "NSynth instrument family": 80.5}
    for title, figure in figures.items():
        section = linear if title in ("UrbanSound8K", "CREMA-D") else others
        (line,) = [line for line in text.split("\n") if line.startswith(f"| {title} |")]
        assert line in section
        assert f"| {figure:.1f} |" in line
        assert ("linear evaluation" if section is linear else "fine-tuning") in line
    assert len(BENCHMARKS) == len(figures)
    for benchmark in BENCHMARKS:
        assert f"({benchmark.task}): neither {tmp_path} nor a folder in it holds" in text
