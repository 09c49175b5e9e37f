"""Trackers by name: all metrics reach them, and a name that is none is said."""

import json
from pathlib import Path

import pytest
from loop_helpers import start
from train_helpers import tiny_recipe

from aasp_features.train.pretrain.tracker import tracking

tracking_of_accelerate = pytest.importorskip("accelerate.tracking")


class Lines(tracking_of_accelerate.GeneralTracker):
    """A tracker of one's own, as accelerate documents them, which writes lines."""

    name = "lines"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: Path) -> None:
        super().__init__()
        self.path = Path(logging_dir) / f"{run_name}.lines"

    @property
    def tracker(self) -> Path:
        return self.path

    def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def store_init_configuration(self, values: dict) -> None:
        self.write(values)

    def log(self, values: dict, step: int | None = None, **_: object) -> None:
        self.write({**values, "at": step})

    def finish(self) -> None:
        self.write("finished")

    def write(self, value: object) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(value) + "\n")


def test_a_tracker_gets_settings_and_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tracking_of_accelerate.LOGGER_TYPE_TO_CLASS, "lines", Lines)
    folder = tmp_path / "run"
    with tracking(folder, tiny_recipe(run={"tracker": "lines"})) as track:
        start(folder, track=track, run={"tracker": "lines"}).run()
    settings, *lines, last = map(json.loads, (folder / "run.lines").read_text().splitlines())
    assert (settings["run.steps"], settings["model.size"], last) == (6, "tiny", "finished")
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line.pop("at") for line in lines] == [line["step"] for line in written] == [1, 2, 3, 4, 5, 6]
    for line, own in zip(lines, written, strict=True):
        assert line == pytest.approx(own, abs=1e-6)


def test_without_one_there_is_none(tmp_path: Path) -> None:
    with tracking(tmp_path, tiny_recipe()) as track:
        assert track is None
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"run.tracker must be one of .*tensorboard.*, got 'paper'"),
        tracking(tmp_path, tiny_recipe(run={"tracker": "paper"})),
    ):
        pass
