"""A run's numbers, read and drawn."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from aasp_features import AaSPConfig
from aasp_features.train.release.run_charts import MAX_POINTS, curve, draw_roles, metric_charts
from aasp_features.train.run.folder import read_metrics


def test_read_and_drawn(runs: dict[str, Path]) -> None:
    lines = read_metrics(runs["aape"])
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"losses", "RankMe of clip vectors", "gradient norm"} <= metric_charts(lines).keys()


def test_only_what_a_run_has_is_drawn() -> None:
    charts = metric_charts([{"step": step, "loss_ears": 1 / step} for step in (1, 2)])
    assert [*charts] == ["losses"]
    assert "loss ears" in charts["losses"]


def test_no_metrics(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no metrics.jsonl; give a run folder"):
        read_metrics(tmp_path)


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
