"""Table, numbers and picture of steadiness."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from aasp_features.train.evaluate.stability.change import SHIFTS, SPEEDS, Change, Changes
from aasp_features.train.evaluate.stability.modulation import ModulationReading
from aasp_features.train.evaluate.stability.stability_report import Stability, as_json, draw, stability_report


def made(scale: float, frames: bool) -> Stability:
    """A distance of ``scale`` % a frame."""
    clips = {k: Change(1 - k / 100, scale * k / 100, (scale * k / 200, scale * k / 50)) for k in SHIFTS}
    changes = Changes(clips, clips if frames else {}, {speed: Change(0.9, 0.2, (0.1, 0.3)) for speed in SPEEDS})
    return Stability(changes, ModulationReading(0.5, {3.0: 60.0, 4.0: 80.0}, 70.0, (65.0, 75.0)))


def test_the_table_has_means_over_shifts() -> None:
    text = stability_report({"ours": made(1.0, True), "peer": made(2.0, False)}, 7, 4.0)
    assert "7 recordings, crops of 4 s" in text
    mean = np.mean(range(1, 16))
    moved = f"{mean:.1f} % ({mean / 2:.1f}–{2 * mean:.1f}), {1 - mean / 100:.4f}"
    patch = "16.0 % (8.0–32.0), 0.8400"
    assert f"| ours | {moved} | {patch} | {moved} | {patch} | 20.0 % (10.0–30.0), 0.9000 |" in text
    assert f"| peer | {2 * mean:.1f} %" in text
    assert "| – | – |" in text
    assert "| ours | 0.50 | 70.0 (65.0–75.0) |" in text


def test_numbers_survive_json_and_a_picture_is_drawn(tmp_path: Path) -> None:
    results = {"ours": made(1.0, True), "peer": made(2.0, False)}
    numbers = json.loads(json.dumps(as_json(results, 7, 4.0)))
    assert numbers["methods"]["ours"]["changes"]["clips"]["16"]["distance"] == 0.16
    assert numbers["methods"]["peer"]["modulation"]["told_apart"] == {"3.0": 60.0, "4.0": 80.0}
    draw(results, tmp_path / "three.png")
    draw({"only": Stability(None, results["ours"].modulation)}, tmp_path / "one.png")
    assert Image.open(tmp_path / "three.png").width > 2 * Image.open(tmp_path / "one.png").width
