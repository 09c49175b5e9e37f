"""A run's numbers, read and drawn."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from aasp_features import AaSPConfig
from aasp_features.train.release.run_charts import MAX_POINTS, curve, draw_curves, draw_roles, metric_charts
from aasp_features.train.run.folder import read_metrics


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


def test_long_curves_keep_their_mean_and_their_ends() -> None:
    lines = [{"step": step, "loss": float(step % 7)} for step in range(1, 10_001)]
    steps, values = curve(lines, "loss")
    assert len(steps) == len(values) == MAX_POINTS
    assert values.mean() == pytest.approx(np.mean([line["loss"] for line in lines]), abs=1e-3)
    assert steps[0] < 20
    assert steps[-1] > 9980
    assert [part.tolist() for part in curve(lines[:3], "loss")] == [[1, 2, 3], [1, 2, 3]]
    assert len(curve(lines, "gone")[0]) == 0


def test_rates_have_their_quantiles_or_mean_and_deviation() -> None:
    recent = {f"alpha_q{share}": share for share in (5, 25, 50, 75, 95)}
    older = {"alpha_mean": 10.0, "alpha_std": 4.0, "alpha_std_within_state": 2.0}
    for extra, shown, other in ((recent, "25–75 %", "mean ±"), ({}, "mean ± deviation", "25–75 %")):
        lines = [{"step": step, **older, **extra} for step in (1, 2, 3)]
        (chart,) = metric_charts(lines).values()
        assert shown in chart
        assert other not in chart
        assert not re.search("#0000[12]", chart)  # colours are the page's
        assert "var(--c1)" in chart


def test_masks_are_drawn_where_they_are() -> None:
    """A light patch is bright if it is visible, grey if it is queried, and dark otherwise."""
    roles = np.zeros(4 * 8, np.uint8)
    roles[8 * 1 + 2], roles[8 * 3 + 7] = 2, 1  # column 1, row 2; column 3, row 7
    axes = Figure().subplots()
    draw_roles(axes, np.zeros((60, 128)), roles, AaSPConfig.tiny())
    (image,) = axes.images
    assert (image.origin, image.get_extent()) == ("lower", [0, 0.6, 0, 128])
    picture = np.asarray(image.get_array())
    assert picture.shape == (128, 60, 3)
    visible, queried, rest = (picture[16 * row + 8, 16 * column + 8] for column, row in ((1, 2), (3, 7), (0, 0)))
    assert np.ptp(visible) > 0.1  # coloured
    assert np.ptp(queried) == np.ptp(rest) == 0
    assert queried.min() > 0.9
    assert rest.max() == pytest.approx(0.25, abs=0.01)
