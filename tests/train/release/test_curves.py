"""A run's numbers, read and drawn."""

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from aasp_features.train.pretrain.run_folder import read_metrics
from aasp_features.train.release.curves import draw_curves


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
    with pytest.raises(ValueError, match=r"holds no metrics.jsonl; give the folder of a run"):
        read_metrics(tmp_path)
