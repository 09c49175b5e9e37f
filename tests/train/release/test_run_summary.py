"""What is taken from a run's record, and its numbers, read and drawn."""

import json
import math
from pathlib import Path

import pytest
from matplotlib.image import imread

from aasp_features.train.release.run_summary import describe, draw_curves, recipe_from_record
from aasp_features.train.run.folder import read_metrics


def test_summary(runs: dict[str, Path]) -> None:
    run = describe([runs["lowpass"]])
    assert (run.config.patch_embed, run.config.lowpass_taps, run.config.pooling) == ("lowpass", 49, "frequency")
    # 5 steps of 4 sounds, one of 3, two crops of each; 1011 frames of 10 ms
    assert run.paragraph.startswith("Recipe `test`, 6 steps, 46 crops, 0 minutes in float32 on cpu with torch ")
    assert run.paragraph.endswith(" (10.1 seconds).")
    assert run.longest == pytest.approx(8 * 0.16)
    assert run.contrast_chance == pytest.approx(math.log(1 + 3 * 4))  # views of the three other sounds
    assert (run.learns_masked, run.teachers, run.start_from) == (True, [], None)
    assert "The weights are the mean of 2 such runs" in describe([runs["conv"], runs["lowpass"]]).paragraph


def test_another_version(runs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="another package version wrote the run's recipe"):
        recipe_from_record({"recipe": {"colour": 1}})
    with pytest.raises(ValueError, match="holds no run"):
        describe([runs["conv"].parent])


def test_read_and_drawn(runs: dict[str, Path], tmp_path: Path) -> None:
    lines = read_metrics(runs["aape"])
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    draw_curves(runs["aape"], tmp_path / "curves.png")
    picture = imread(tmp_path / "curves.png")
    assert picture.shape[:2] == (715, 1320)  # 6.5 x 12 inches of 110 dots
    assert picture.min() < 0.5


def test_only_what_a_run_has_is_drawn(tmp_path: Path) -> None:
    lines = [{"step": step, "loss_ears": 1 / step} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    draw_curves(tmp_path, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "loss ears" in drawn
    assert "RankMe" not in drawn


def test_no_metrics(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no metrics.jsonl; give a run folder"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is empty"),
        (b'{"step": 1, "lo', "is empty"),
        (b'{"step": 1}\n{"loss_a": 2}\n{"step": 3}\n', "line 2 is damaged"),
        (b'{"step": 1, "loss_a": "x"}\n{"step": 3}\n', "line 1 is damaged"),
        (b"\xff\xfe\n\xff\n", "line 1 is damaged"),
    ],
)
def test_metrics_that_are_damaged(tmp_path: Path, text: bytes, sentence: str) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=sentence):
        draw_curves(tmp_path, tmp_path / "curves.png")


def test_a_torn_line_and_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss_a": 1.0}\n{"step": 2, "loss_a": 0.5}\n{"step": 3, "lo')
    draw_curves(tmp_path, tmp_path / "curves.png")
    assert imread(tmp_path / "curves.png").shape[1] == 1320
    for out in ("gone/curves.png", "curves.xyz"):
        with pytest.raises(ValueError, match="cannot be written"):
            draw_curves(tmp_path, tmp_path / out)
