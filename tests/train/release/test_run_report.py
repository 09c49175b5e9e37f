"""The page of a run: it holds what the run recorded, needs no other file, and works before the first saved state."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from loop_helpers import start
from typer.testing import CliRunner

from aasp_features.train.cli import app
from aasp_features.train.release.run_report import run_report
from aasp_features.train.run.state import read_tensors, under


class Tables(HTMLParser):
    """The rows of all tables, and the number of charts; every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.charts = 0
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.charts += tag == "svg"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps, resumed after the first with more steps."""
    folder = tmp_path_factory.mktemp("run")
    run = start(folder, run={"steps": 5})
    run.step()
    run.save()
    assert start(folder, optimizer={"hold": 0.25}).run()
    return folder


def test_the_page_holds_what_the_run_recorded(resumed: Path) -> None:
    page = run_report(resumed)
    rows = Tables(page).rows
    for row in (
        ["steps", "6"],
        ["1", "optimizer.hold", "0.0", "0.25"],
        ["1", "run.steps", "5", "6"],
        ["model.size", "tiny", "base"],  # the recipe "test" is no preset, so defaults are compared
        ["masking.views", "2", "16"],
        ["saved state", "step 6"],
        ["torch", torch.__version__],
    ):
        assert row in rows
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert "losses" in page
    assert Tables(page).charts == 8 + 3 * 2  # a curve panel each; three crops, two views


def test_a_preset_is_compared_with_itself(resumed: Path, tmp_path: Path, sound_folder: Path) -> None:
    settings = ["run.steps=1", "run.log_every=1", "model.dim=32", "model.depth=2", "model.heads=2"]
    settings += ["objective.target_layers=2", "objective.predictor_depth=1", "run.precision=float32"]
    command = ["pretrain", "--data", str(sound_folder), "--out", str(tmp_path), "--recipe", "tiny_cpu", *settings]
    assert CliRunner().invoke(app, command).exit_code == 0
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    changed = Tables(re.findall("Changed from the preset</h3>(.*?</table>)", text, re.DOTALL)[0]).rows
    assert ["run.steps", "1", "4000"] in changed
    assert {row[0] for row in changed[1:]} == {
        one.partition("=")[0].replace("model.", "model.changes.") for one in settings
    }
    again = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert again.exit_code == 0  # the page is not what is read
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    refused = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "metrics.jsonl")])
    assert "would replace" in refused.output


def test_masks_are_those_of_the_step(resumed: Path) -> None:
    """Redrawn from seed and step: of each view, the visible and the queried tokens."""
    run = start(resumed, optimizer={"hold": 0.25})
    batch, generator = run.crops.batch(5, lambda step: step / 6)
    masks = run.objective.draw_masks(batch, generator)
    shown = under("health.shown.", read_tensors(resumed))
    torch.testing.assert_close(shown["log_mel"].float(), batch.log_mel[:3], atol=0.01, rtol=0.01)
    for index, token_set in ((2, masks.visible), (1, masks.queried)):
        for row in range(6):
            expected = sorted(set(token_set.indices[row].tolist()))
            assert torch.where(shown["roles"][row // 2, row % 2] == index)[0].tolist() == expected


def test_a_run_that_goes_on(resumed: Path, tmp_path: Path) -> None:
    """Without a state there are curves; a torn last line is not read."""
    lines = (resumed / "metrics.jsonl").read_text().splitlines(keepends=True)[:3]
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"step": 4, "lo')
    page = run_report(tmp_path)
    assert "Settings follow with the first saved state" in page
    assert ["steps", "3"] in Tables(page).rows
    assert any(row[0] == "time left" for row in Tables(page).rows)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="is empty; wait for the run's first metrics"):
        run_report(tmp_path)


def test_names_cannot_break_the_page(resumed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "<b>&run"
    shutil.copytree(resumed, folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 7, "done": 1.0, "loss_<script>": 1.0}) + "\n")
    page = run_report(folder)
    assert "<script>" not in page
    assert "<b>&run" not in page
    assert "loss &lt;script&gt;" in page
