"""``aasp-train stability`` from the command line."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from aasp_features.train.cli import app
from aasp_features.train.evaluate.stability import modulation

PEER = """
import numpy as np


class Mean:
    sample_rate = 8000

    def __call__(self, waveform, rate):
        return [np.abs(waveform).mean(), waveform.std()]

    def frames(self, waveform, rate):
        return np.abs(waveform[: len(waveform) // 10 * 10]).reshape(10, -1).mean(axis=1, keepdims=True)


load = Mean
"""


@pytest.fixture(autouse=True)
def few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modulation.read_modulation, "__defaults__", (4, 4))
    monkeypatch.setattr(modulation, "RATES", modulation.RATES[::6])


def test_report_numbers_and_picture(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "mean.py").write_text(PEER)
    options = ["--sounds", str(sounds), "--recordings", "4", "--seconds", "0.5", "--out", str(tmp_path / "out")]
    beside = ["--beside", str(tmp_path / "mean.py"), "--beside", "log-mel"]
    result = CliRunner().invoke(app, ["stability", str(checkpoint), *options, *beside])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "stability.md").read_text()
    assert text in result.stdout
    numbers = json.loads((tmp_path / "out" / "stability.json").read_text())
    names = list(numbers["methods"])
    assert [name.split(",")[0] for name in names] == [
        "aasp-test-random-1",
        "log-mel mean and std (1024 points)",
        "mean",
    ]
    assert [len(numbers["methods"][name]["changes"]["frames"]) for name in names] == [16, 0, 16]
    assert all(name in text for name in names)
    assert Image.open(tmp_path / "out" / "stability.png").width > 1000


def test_without_sounds_only_modulation_is_read(checkpoint: Path) -> None:
    result = CliRunner().invoke(app, ["stability", str(checkpoint)])
    assert result.exit_code == 0, result.output
    assert "R² of the rate" in result.stdout
    assert "moved" not in result.stdout
