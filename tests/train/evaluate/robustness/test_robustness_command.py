"""``aasp-train robustness`` from the command line."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from aasp_features.train.cli import app
from aasp_features.train.evaluate.robustness.conditions import CONDITIONS


@pytest.mark.parametrize("reader", [[], ["--knn"]])
def test_tables_and_numbers_without_warnings(reader: list[str], checkpoint: Path, tmp_path: Path) -> None:
    for number in range(10):
        name, hertz = (("low", 300), ("high", 3000))[number % 2]
        (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
        tone = 0.99 * np.sin(2 * np.pi * hertz * np.arange(3000 + number) / 16000)
        soundfile.write(tmp_path / "mine" / name / f"{number}.wav", tone, 16000)
    (tmp_path / "mine" / "low" / "broken.wav").write_bytes(b"no sound")
    options = ["--task", str(tmp_path / "mine"), "--no-cache", "--out", str(tmp_path / "out"), *reader]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?s).*full scale")
        result = CliRunner().invoke(app, ["robustness", str(checkpoint), *options])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert text in result.stdout
    assert text.startswith("k-nearest neighbours (k = 20)" if reader else "Logistic regression")
    assert "broken.wav,not a sound file" in (tmp_path / "out" / "unreadable-mine.csv").read_text()
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    (rows,) = numbers["methods"].values()
    assert list(rows) == ["whole and clean", *(condition.name for condition in CONDITIONS)]
    for name, row in rows.items():
        assert f"| {name} | {row['mine']['value']:.1f} (" in text


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["robustness", "--task", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "nowhere is no file or folder" in result.output
