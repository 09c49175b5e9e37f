"""The online probe: its figures are those of the exported checkpoint, and a run is the same with and without it."""

import itertools
import json
import logging
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loop_helpers import CPU, start
from train_helpers import metrics
from typer.testing import CliRunner

from aasp_features.train.cli import app
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.online_probe import OnlineProbe, read_probe
from aasp_features.train.pretrain import loop
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.release.export import export_encoder
from aasp_features.train.run.state import read_record
from aasp_features.train.run.stopping import StoppedError

pytestmark = pytest.mark.usefixtures("one_penalty")
PROBED = {"probe": "labelled", "probe_every": 2}


@pytest.fixture
def probe(task_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnlineProbe:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_probe(str(task_folder), CPU)


def figures(line: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name.startswith("probe_")}


def test_figures_are_those_of_the_exported_checkpoint(probe: OnlineProbe, task_folder: Path, tmp_path: Path) -> None:
    assert start(tmp_path / "run", probe=probe, run=PROBED).run()
    expected = {}
    for which in ("average", "last"):
        folder = export_encoder([tmp_path / "run"], tmp_path / which, name=f"aasp-tiny-{which}-1", which=which)
        for kind, options in (("knn", []), ("linear", ["--quick"])):
            command = [kind, str(folder), "--task", str(task_folder), "--selection", "--no-cache", *options]
            done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "report")])
            assert done.exit_code == 0, done.output
            (measured,) = json.loads((tmp_path / "report" / "report.json").read_text())["results"].values()
            expected[f"probe_{kind}_{which}"] = measured["tones"]["value"]
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines if figures(line)] == [2, 4, 6]
    assert figures(lines[-1]) == pytest.approx(expected, abs=1e-5)


def state(run: Pretraining) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.objective.state_dict().values()])


def test_a_run_is_the_same_with_and_without_it(probe: OnlineProbe, tmp_path: Path) -> None:
    """Bit for bit; also when it is resumed after a probe. Nor does the probe draw any random number."""
    plain, probed = start(tmp_path / "plain"), start(tmp_path / "probed", probe=probe, run=PROBED)
    plain.run()
    for _ in range(3):
        probed.step()
    probed.save()
    resumed = start(tmp_path / "probed", probe=probe, run=PROBED)
    resumed.run()
    assert torch.equal(state(plain), state(resumed))
    whole = start(tmp_path / "whole", probe=probe, run=PROBED)
    whole.run()
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "probed")
    unprobed = [{k: v for k, v in line.items() if not k.startswith("probe_")} for line in metrics(tmp_path / "whole")]
    assert unprobed == metrics(tmp_path / "plain")

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    whole._probe()
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def scripted(values: list[float], clock: list[float] | None = None) -> loop.Probe:
    """A probe whose figures are given, and which takes an hour."""
    coming = iter(values)

    def figures(networks: object, config: object) -> dict[str, float]:
        if clock:
            clock[0] += 3600.0
        return {"probe_linear_average": next(coming)}

    return figures


def test_its_time_is_no_training_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ticks = [0.0], itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0] + 0.01 * next(ticks)))
    run = start(tmp_path, max_seconds=60.0, probe=scripted([1.0] * 3, clock), run=PROBED)
    run.run()
    assert clock[0] == 3 * 3600
    assert run.progress.step == 6
    assert run.progress.seconds < 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(line["crops_per_second"] > 1 for line in lines)


def test_the_best_state_is_kept(tmp_path: Path) -> None:
    """Of equals the first; a resumed run knows the best of before, and keeps it if it was killed before it could."""
    best, settings = tmp_path / "kept" / "best", {**PROBED, "probe_every": 1, "keep_best": True, "keep_states": 1}
    run = start(tmp_path, probe=scripted([50.0, 70.0, 70.0, 60.0]), run=settings)
    for step, kept in ((1, 1), (2, 2), (3, 2), (4, 2)):
        run.step()
        assert read_record(best)[0].step == kept
        assert read_record(tmp_path)[0].step == step
    resumed = start(tmp_path, probe=scripted([69.0, 80.0]), run=settings)
    resumed.step()
    assert read_record(best)[0].step == 2
    resumed.step()
    (best / "state.safetensors").unlink()
    start(tmp_path, run=settings)
    assert read_record(best)[0].step == 6
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["00000006", "best"]
    assert export_encoder([best], tmp_path / "ck", name="aasp-tiny-test-1").is_dir()


def test_a_probe_that_fails_is_told_and_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def failing(networks: object, config: object) -> dict[str, float]:
        raise TrainError("a clip has gone.")

    with caplog.at_level(logging.WARNING):
        assert start(tmp_path, probe=failing, run=PROBED).run()
    assert "step 2: no figures of the online probe: a clip has gone." in caplog.text
    assert not any(figures(line) for line in metrics(tmp_path))


def test_a_second_request_to_stop_ends_a_probe(tmp_path: Path) -> None:
    def interrupted(networks: object, config: object) -> dict[str, float]:
        raise StoppedError("stopped at once.", 2)

    with pytest.raises(StoppedError):
        start(tmp_path, probe=interrupted, run=PROBED).run()


def test_sentences(task_folder: Path, tmp_path: Path) -> None:
    def pretrain(*settings: str) -> str:
        command = ["pretrain", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--recipe", "tiny_cpu"]
        done = CliRunner().invoke(app, [*command, *settings])
        assert done.exit_code == 2
        return done.output

    assert "run.keep_best needs an online probe; give run.probe=FOLDER" in pretrain("run.keep_best=true")
    assert "probe_every must be at least 1" in pretrain("run.probe_every=0")
    assert "gone is no file or folder" in pretrain("run.probe=gone")
    table = task_folder / "labels.csv"
    split = [line.replace("group", "split").rpartition(",")[0] + ",train" for line in table.read_text().splitlines()]
    table.write_text("\n".join(["file,label,split", *split[1:-2], split[-1].replace("train", "test")]))
    assert "no clips in its part 'validation'" in pretrain(f"run.probe={task_folder}")
