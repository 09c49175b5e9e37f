"""A run goes on as the run it was: kills change nothing, other settings or sounds are refused or written down."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from loop_helpers import CORPUS, CPU, start
from teacher_helpers import write_callable
from train_helpers import metrics, model, moments, random_corpus, tiny_recipe

from aasp_features.train.data.crops import CropSampler
from aasp_features.train.options import checked_device
from aasp_features.train.pretrain.crop_source import open_crops
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.recipes import load_recipe
from aasp_features.train.run.folder import METRICS_FILE
from aasp_features.train.run.resume import MAY_CHANGE, changes_since, refusal
from aasp_features.train.run.state import read_tensors, write_state

STEPS = 8
SMALL = ["model.dim=32", "model.depth=2", "model.heads=2", "model.states=4", "model.lambda_hidden=16"]
SMALL += [f"run.steps={STEPS}", "run.precision=float32", "run.log_every=2", "objective.target_layers=2"]
OWN = ["data.stages.0.sounds=3", "data.stages.0.columns=4", "data.stages.1.sounds=2", "data.stages.1.columns=8"]
OWN += ["objective.predictor_depth=1", "objective.contrast_hidden=16", "objective.contrast_dim=8"]
TAUGHT = ["distillation.crops=256", "distillation.last_layers=2", "distillation.batch=32", "distillation.workers=1"]
TAUGHT += ["distillation.crop.lengths=[{columns: 2, share: 1.0}]", "distillation.parts=2", "distillation.fit_crops=256"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run": {"seed": 1}}, "run.seed=0, not 1"),
        ({"optimizer": {"learning_rate": 1e-3}}, "optimizer.learning_rate=0.0005, not 0.001"),
        (
            {"optimizer": {"warm_up": 0.1, "clip_norm": 1.0}},
            "optimizer.warm_up=0.05, not 0.1, optimizer.clip_norm=3.0, not 1",
        ),
        ({"data": {"gain_db": 3.0}}, "data.gain_db=6.0, not 3.0"),
        ({"masking": {"views": 3}}, "masking.views=2, not 3"),
        ({"objective": {"contrast_dim": 9}}, "objective.contrast_dim=8, not 9"),
        ({"objective": {"weights": {"frame": 1.0, "clip": 1.0, "contrast": 0.5}}}, "weights.contrast=0.1, not 0.5"),
        ({"model": model(dim=64)}, "model.changes.dim=32, not 64"),
        ({"distillation": {"token_dropping": 0.25}}, "distillation.token_dropping=0.5, not 0.25"),
    ],
)
def test_another_setting_is_refused_by_its_name(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    start(tmp_path).save()
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="start a new run in another folder") as refused:
        start(tmp_path, **changes)
    assert sentence in str(refused.value)
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


def test_every_setting_is_compared_or_may_change() -> None:
    """A record whose every number differs tells each of them."""
    old, new = ({"recipe": {"run": {"seed": n, "steps": n}, "optimizer": {"x": n}}, "device": n} for n in (1, 2))
    found = changes_since(old, new, 5)
    assert [one["what"] for one in found] == ["run.steps", "run.seed", "optimizer.x", "device"]
    assert refusal([one for one in found if one["what"] in MAY_CHANGE]) is None
    assert refusal(found) == "with run.seed=1, not 2, optimizer.x=1, not 2; give the same settings"


def test_a_record_from_before_a_setting_had_its_default() -> None:
    recipe = tiny_recipe().to_dict()
    unknown = ("seed", "loss", "noise_augmentation")
    older = {**recipe, "distillation": {name: x for name, x in recipe["distillation"].items() if name not in unknown}}
    assert changes_since({"recipe": older}, {"recipe": recipe}, 5) == []
    recipe["distillation"]["seed"] = 1
    assert (
        refusal(changes_since({"recipe": older}, {"recipe": recipe}, 5))
        == "with distillation.seed=0, not 1; give the same settings"
    )


def test_other_sounds_are_refused(tmp_path: Path) -> None:
    start(tmp_path).save()
    other = CORPUS._replace(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"with other sounds \(as many, but with other names or contents"):
        Pretraining(CropSampler(other, tiny_recipe()), tmp_path, CPU)
    with pytest.raises(ValueError, match=r"with other sounds \(8, now 2"):
        Pretraining(CropSampler(random_corpus([30, 100]), tiny_recipe()), tmp_path, CPU)


def test_a_run_that_mixed_in_another_way_is_refused(tmp_path: Path) -> None:
    """Its record has no word on mixing; where nothing was mixed, there is none now either."""
    unmixed = {"mix_probability": 0.0}
    for name, data in (("mixed", {}), ("unmixed", unmixed)):
        run = start(tmp_path / name, data=data)
        older = {key: value for key, value in run.record().items() if key != "mixing"}
        run.save()
        write_state(tmp_path / name, read_tensors(tmp_path / name), run.progress, older)
    assert start(tmp_path / "unmixed", data=unmixed).changes == []
    with pytest.raises(ValueError, match="holds a run whose crops another version mixed differently; finish it"):
        start(tmp_path / "mixed")


def test_what_may_change_does_and_is_written_down(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.step()
    run.save()
    asked = {"run": {"steps": 9, "precision": "bfloat16"}, "optimizer": {"hold": 0.8}}
    again = start(tmp_path, max_seconds=60.0, **asked)
    assert again.progress.precision == "bfloat16"
    again.step()
    again.save()
    last = start(tmp_path, max_seconds=60.0, **{**asked, "run": {"steps": 12, "precision": "bfloat16"}})
    told = [(one["step"], one["what"], one["was"], one["is"]) for one in last.record()["changes"]]
    assert told == [
        (1, "optimizer.hold", 0.0, 0.8),
        (1, "run.steps", 6, 9),
        (1, "run.precision", "float32", "bfloat16"),
        (1, "max_seconds", None, 60.0),
        (2, "run.steps", 9, 12),
    ]


def test_another_start_is_refused_and_the_same_need_not_be_said(tmp_path: Path) -> None:
    start(tmp_path, start_from=None).save()
    with pytest.raises(ValueError, match='start_from=null, not "aasp-tiny-pack-1"'):
        start(tmp_path, start_from="aasp-tiny-pack-1")


@pytest.fixture
def command(sound_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """Settings of a preset, sized down."""
    if request.param == "tiny_cpu":
        return [*SMALL, *OWN]
    write_callable(tmp_path / "teachers")
    return [*SMALL, *TAUGHT, f"distillation.teachers={tmp_path / 'teachers'}"]


@pytest.mark.parametrize(("preset", "command"), [("tiny_cpu",) * 2, ("tiny_distilled",) * 2], indirect=["command"])
def test_killed_at_random_equals_uninterrupted(
    preset: str, command: list[str], sound_folder: Path, tmp_path: Path
) -> None:
    """A kill is a process that does no more: the steps since its last save are lost, their lines of metrics are not."""
    rng, recipe = np.random.default_rng(0), load_recipe(preset, command)

    def go_on(folder: Path, save_at: int, until: int) -> Pretraining:
        with open_crops(recipe, sound_folder, folder, checked_device("cpu")) as crops:
            run = Pretraining(crops, folder, CPU)
            while run.progress.step < until:
                run.step()
                if run.progress.step == save_at:
                    run.save()
            return run

    whole, step = go_on(tmp_path / "whole", STEPS, STEPS), 0
    while step < STEPS:
        saved = int(rng.integers(step, STEPS + 1))
        run = go_on(tmp_path / "cut", saved, min(STEPS, saved + int(rng.integers(3))))
        with (tmp_path / "cut" / METRICS_FILE).open("a") as file:
            file.write('{"step": 99, "lo' if rng.integers(2) else "")
        step = saved
    run = go_on(tmp_path / "cut", STEPS, STEPS)
    for one, other in zip(tensors(whole), tensors(run), strict=True):
        assert torch.equal(one, other)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert [line["step"] for line in metrics(tmp_path / "cut")] == [2, 4, 6, 8]


def tensors(run: Pretraining) -> list[torch.Tensor]:
    kept = [value for one in run.parameters for _, value in sorted(moments(run).get(one, {}).items())]
    return [*run.objective.state_dict().values(), *kept, *run.health.state().values()]


@pytest.mark.parametrize("command", ["tiny_distilled"], indirect=True)
def test_rounds_teachers_and_features_of_a_run(command: list[str], sound_folder: Path, tmp_path: Path) -> None:
    def go_on(*changes: str) -> Pretraining:
        recipe = load_recipe("tiny_distilled", [*command, *changes])
        with open_crops(recipe, sound_folder, tmp_path / "run", CPU) as crops:
            run = Pretraining(crops, tmp_path / "run", CPU)
            run.step()
            run.save()
            return run

    go_on()
    rounds = tmp_path / "run" / "rounds.jsonl"
    kept = rounds.read_text()
    for text in ("", '{"first_step": 0, "pieces": 2, "longer": true}\n'):
        rounds.write_text(text)
        with pytest.raises(ValueError, match=r"whose rounds.jsonl is missing or another run's"):
            go_on()
    rounds.write_text(kept)
    write_callable(tmp_path / "teachers", "second")
    with pytest.raises(ValueError, match=r"with other teachers \(levels; now levels, second"):
        go_on()
    (tmp_path / "teachers" / "second.yaml").unlink()
    shutil.copytree(tmp_path / "teachers", tmp_path / "moved")
    changed = [f"distillation.teachers={tmp_path / 'moved'}", "distillation.workers=0", "optimizer.hold=0.8"]
    told = go_on(*changed, "distillation.token_dropping_until=0.8").record()["changes"]
    assert {one["what"] for one in told} == {
        *("distillation.teachers", "distillation.workers", "optimizer.hold", "distillation.token_dropping_until")
    }
    assert json.loads(json.dumps(told)) == told
