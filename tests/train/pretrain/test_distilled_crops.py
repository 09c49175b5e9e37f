"""Runs that learn from teachers: each crop once a round, resumed equals uninterrupted while crops are still made."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from teacher_helpers import description, teacher, write_callable
from train_helpers import OWN_LOSSES_OFF, at_its_start, moments, tiny_recipe

from aasp_features.train.data.waveform_crops import PIECE
from aasp_features.train.distillation_settings import CropLength, CropSettings, NoiseAugmentationSettings
from aasp_features.train.pretrain.distilled_crops import ROUNDS_FILE, DistilledCrops, log_mel_statistics
from aasp_features.train.pretrain.feature_makers import Makers
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.pretrain.teacher_features import TeacherFeatures
from aasp_features.train.recipe import Recipe
from aasp_features.train.release.run_summary import describe
from aasp_features.train.run.folder import METRICS_FILE

CPU = torch.device("cpu")
STATISTICS: dict[str, tuple[float, float]] = {}  # of a corpus, measured once
CROPS = CropSettings(lengths=[CropLength(2, 0.6), CropLength(4, 0.4)])


def recipe(
    parts: int = 1,
    longer_from: float = 0.0,
    balanced_by: str = "",
    balance: float = 0.5,
    batch: int = 64,
    noise_augmentation: NoiseAugmentationSettings = NoiseAugmentationSettings(),  # noqa: B008
    **changes: dict[str, object],
) -> Recipe:
    settings = {"teachers": ["levels.yaml"], "crops": 8 * PIECE, "workers": 0, "batch": batch, "fit_crops": PIECE}
    settings.update(
        last_layers=2, longer_from=longer_from, parts=parts, crop=CROPS, noise_augmentation=noise_augmentation
    )
    settings.update(balanced_by=balanced_by, balance=balance)
    given = {"objective": {"weights": OWN_LOSSES_OFF}, "data": {"crops": 1}, "distillation": settings}
    return tiny_recipe(**{**given, **changes})


@pytest.fixture(scope="module")
def one_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_callable(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def made(sound_folder: Path, one_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> TeacherFeatures:
    """Eight pieces, for tests to copy from."""
    features = TeacherFeatures(sound_folder, tmp_path_factory.mktemp("made"), CROPS, 0, [description(one_teacher)])
    for piece in range(8):
        features.make(piece, [teacher(one_teacher)])
    return features


def features_of(made: TeacherFeatures, folder: Path, pieces: int) -> TeacherFeatures:
    """The first of the pieces in a folder of their own."""
    for path in made.folder.glob("*.*"):
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    features = TeacherFeatures(made.data, folder, CROPS, 0, made.teachers)
    features.path("levels", 0).parent.mkdir(exist_ok=True)
    for piece in range(pieces):
        shutil.copy(made.path("levels", piece), features.path("levels", piece))
    return features


def crops_of(features: TeacherFeatures, folder: Path, **changes: object) -> DistilledCrops:
    corpus = features.sounds.sha256
    if corpus not in STATISTICS:
        STATISTICS[corpus] = log_mel_statistics(features, recipe())
    return DistilledCrops(features, Makers(features, 8, 0), recipe(**changes), folder, STATISTICS[corpus])


def rounds(run: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in (run / ROUNDS_FILE).read_text().splitlines()]


def test_a_round_uses_each_crop_once_and_the_next_what_is_new(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 2)
    crops = crops_of(features, tmp_path)
    seen, step = [], 0
    while not crops.rounds or len(crops.rounds) == 1:
        seen.append(crops._numbers(step, 0.0))
        step += 1
    last = seen.pop()
    assert len(np.unique(np.concatenate(seen))) == sum(map(len, seen)) <= 2 * PIECE
    assert 2 * PIECE - sum(map(len, seen)) < 2 * 64  # what fills no batch
    for numbers in seen:
        assert len({crops.features.cropper.columns(int(n) // PIECE) for n in numbers}) == 1
    assert crops.rounds[1] == (step - 1, 2, True)
    assert last.max() < 2 * PIECE
    features_of(made, tmp_path / "f", 4)
    for later in range(step, 3 * step + 5):
        crops._numbers(later, 0.0)
    assert [one["pieces"] for one in rounds(tmp_path)] == [2, 2, 4]
    crops.close()


def test_longer_crops_come_in_when_the_recipe_says(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 8)
    lengths = [features.cropper.columns(piece) for piece in range(8)]
    assert set(lengths) == {2, 4}
    crops = crops_of(features, tmp_path, longer_from=0.5)
    first = PIECE * lengths.count(2) // 64 - 3  # the first round ends before it has been through
    for step in range(3 * first):
        numbers = crops._numbers(step, 0.0 if step < first else 0.5)
        seen = {lengths[int(n) // PIECE] for n in numbers}
        assert seen == {2} if step < first else len(seen) == 1
    assert crops.rounds[:2] == [(0, 8, False), (first, 8, True)]
    assert crops.facts(first)["distinct_crops"] == 64 * first
    again = crops_of(features, tmp_path, longer_from=0.9)  # what was written down stays
    assert all(np.array_equal(crops._numbers(step, 0.0), again._numbers(step, 0.0)) for step in range(2 * first))
    crops.close()
    again.close()


@pytest.mark.parametrize(
    ("longer_from", "told", "longest"),
    [
        (0.0, "0.64 s, 40 % of them; each", 0.64),
        (0.5, "0.64 s, 40 % of them, the longer ones after 50 % of the steps; each", 0.64),
        (1.0, "0.64 s, 40 % of them, of which the run used only the shortest; each", 0.32),
    ],
)
def test_a_run_tells_when_longer_crops_came_in_and_what_the_student_alone_heard(
    made: TeacherFeatures, tmp_path: Path, longer_from: float, told: str, longest: float
) -> None:
    features = features_of(made, tmp_path / "f", 1)  # four batches, of six
    augmented = NoiseAugmentationSettings(noise_probability=0.5, band_probability=0.1)
    crops = crops_of(
        features, tmp_path / "run", longer_from=longer_from, noise_augmentation=augmented, balanced_by="levels"
    )
    assert Pretraining(crops, tmp_path / "run", CPU).run()
    crops.close()
    run = describe([tmp_path / "run"])
    assert told in run.crops
    assert "each second of sound equally often, balanced by clusters of levels's features (power 0.5); " in run.crops
    assert run.crops.endswith(
        "For the student only, 50 % have noise 0 to 30 dB below the sound and 10 % have a limited band."
    )
    assert run.longest == pytest.approx(longest)


def test_batches_carry_the_sound_its_log_mel_and_what_was_said_of_it(
    made: TeacherFeatures, one_teacher: Path, tmp_path: Path
) -> None:
    features = features_of(made, tmp_path / "f", 1)
    crops = DistilledCrops(features, Makers(features, 8, 0), recipe(), tmp_path)
    numbers = crops._numbers(0, 0.0)
    batch, _ = crops.batch(0, at_its_start)
    assert batch.waveform is not None
    for row, number in enumerate(numbers):
        sound = features.cropper.crop(int(number)).waveform
        assert np.array_equal(batch.waveform[row, : len(sound)], sound)
        assert (batch.waveform[row, len(sound) :] == 0).all()
        frames = int(batch.frame_lengths[row])
        assert frames == 1 + (len(sound) - 400) // 160
        alone = crops.log_mel(torch.from_numpy(sound))
        torch.testing.assert_close(batch.log_mel[row, :frames], alone, atol=1e-4, rtol=1e-4)
        said = teacher(one_teacher).forward(sound[None])[0]
        np.testing.assert_allclose(batch.features["levels"][row], said, atol=2e-3, rtol=1e-3)
    assert int((batch.first_column + batch.columns).max()) <= crops.window
    mean = np.mean([crops.log_mel(torch.from_numpy(features.cropper.crop(n).waveform)).mean() for n in range(256)])
    assert abs(mean) < 0.1
    crops.close()


@pytest.mark.parametrize("parts", [1, 3])
def test_resumed_equals_uninterrupted_while_crops_are_made(made: TeacherFeatures, tmp_path: Path, parts: int) -> None:
    """The killed run loses steps since its last save, and finds more crops each time; it replays its rounds."""
    features = features_of(made, tmp_path / "f", 1)
    pieces = 1
    for part in range(4):
        crops = crops_of(features, tmp_path / "cut", run={"steps": 13}, parts=parts)
        run = Pretraining(crops, tmp_path / "cut", CPU)
        assert run.progress.step == 3 * part
        for _ in range(3):
            run.step()
        run.save()
        if part < 3:
            run.step()  # lost: never saved
        crops.close()
        pieces += 1
        features_of(made, tmp_path / "f", pieces)
    assert len(rounds(tmp_path / "cut")) > 2
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / ROUNDS_FILE).write_text((tmp_path / "cut" / ROUNDS_FILE).read_text())
    crops = crops_of(features, tmp_path / "whole", run={"steps": 13}, parts=parts)
    whole = Pretraining(crops, tmp_path / "whole", CPU)
    for _ in range(12):
        whole.step()
    crops.close()
    for key, value in whole.objective.state_dict().items():
        assert torch.equal(value, run.objective.state_dict()[key]), key
    for a, b in zip(whole.parameters, run.parameters, strict=True):
        for kind, value in moments(whole).get(a, {}).items():
            assert torch.equal(value, moments(run)[b][kind])


def test_killed_runs_equal_an_uninterrupted_one(made: TeacherFeatures, tmp_path: Path) -> None:
    """With all crops there, nothing is copied: each run knows only its own folder. The last line is torn each time."""
    features = features_of(made, tmp_path / "f", 1)
    for part in range(3):
        crops = crops_of(features, tmp_path / "cut", run={"steps": 10})
        run = Pretraining(crops, tmp_path / "cut", CPU)
        while run.progress.step < 3 * part + 3:
            run.step()
        run.save()
        run.step()  # lost
        crops.close()
        with (tmp_path / "cut" / ROUNDS_FILE).open("a") as file:
            file.write('{"first_step": 99, "pie')
    crops = crops_of(features, tmp_path / "whole", run={"steps": 10})
    whole = Pretraining(crops, tmp_path / "whole", CPU)
    for _ in range(10):
        whole.step()
    crops.close()
    assert whole.progress.step == run.progress.step == 10
    for key, value in whole.objective.state_dict().items():
        assert torch.equal(value, run.objective.state_dict()[key]), key


def test_a_run_stopped_where_longer_crops_come_in_equals_an_uninterrupted_one(
    made: TeacherFeatures, tmp_path: Path
) -> None:
    features = features_of(made, tmp_path / "f", 8)
    found: list[dict[str, torch.Tensor]] = []
    for stop in (4, 5, 6, 16):  # 5 of 10 steps are half of them
        crops = crops_of(features, tmp_path / str(stop), longer_from=0.5, batch=16, run={"steps": 10})
        run = Pretraining(crops, tmp_path / str(stop), CPU)
        while run.done < 1.0 and run.progress.step < stop:
            run.step()
        run.save()
        crops.close()
        crops = crops_of(features, tmp_path / str(stop), longer_from=0.5, batch=16, run={"steps": 10})
        run = Pretraining(crops, tmp_path / str(stop), CPU)
        run.run()
        crops.close()
        assert rounds(tmp_path / str(stop)) == [
            {"first_step": 0, "pieces": 8, "longer": False},
            {"first_step": 5, "pieces": 8, "longer": True},
        ]
        state = run.objective.state_dict()
        found.append(state)
        assert all(torch.equal(value, found[0][key]) for key, value in state.items())


def test_noise_augments_the_students_crops_alone(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 1)
    often = NoiseAugmentationSettings(noise_probability=0.5, noise_lowest_db=10, noise_highest_db=20)
    crops, clean = crops_of(features, tmp_path / "a", noise_augmentation=often), crops_of(features, tmp_path / "b")
    batch, expected = crops.batch(0, at_its_start)[0], clean.batch(0, at_its_start)[0]
    assert torch.equal(batch.features["levels"], expected.features["levels"])
    added = (batch.waveform - expected.waveform).square().mean(dim=1)
    assert 10 < int((added > 0).sum()) < 54
    again = crops_of(features, tmp_path / "a", noise_augmentation=often)
    assert torch.equal(again.batch(0, at_its_start)[0].waveform, batch.waveform)
    crops._next = None
    crops.rounds[0] = crops.rounds[0]._replace(first_step=1)  # the same crops at another step: other noise
    assert not torch.equal(crops.batch(1, at_its_start)[0].waveform, batch.waveform)
    for one in (crops, clean, again):
        one.close()


def test_rounds_drawn_by_a_teachers_clusters(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 4)
    changes = {"balanced_by": "levels", "balance": 1.0}
    crops, again = (crops_of(features, tmp_path / name, **changes) for name in "ab")
    steps = range(3 * PIECE // 64)
    drawn = [crops._numbers(step, 0.0) for step in steps]
    assert all(np.array_equal(again._numbers(step, 0.0), numbers) for step, numbers in zip(steps, drawn, strict=True))
    counted = np.unique(np.concatenate(drawn), return_counts=True)[1]
    assert counted.max() > 1  # of a small cluster
    assert len(counted) < sum(map(len, drawn))
    assert crops.facts(len(drawn))["distinct_crops"] == len(counted)
    for one in (crops, again):
        one.close()
    with pytest.raises(ValueError, match="balanced_by must be one of the run's teachers, levels; got 'mn04'"):
        crops_of(features, tmp_path, balanced_by="mn04")


def test_a_piece_that_was_deleted_is_made_again(made: TeacherFeatures, one_teacher: Path, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 3)
    crops_of(features, tmp_path).batch(0, at_its_start)
    features.path("levels", 2).unlink()
    with pytest.raises(ValueError, match="holds features of 512 crops, but 768 are needed"):
        crops_of(features, tmp_path)
    features.make(2, [teacher(one_teacher)])
    crops_of(features, tmp_path).batch(1, at_its_start)


def test_distinct_crops_are_counted(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 2)
    crops = crops_of(features, tmp_path)
    seen: set[int] = set()
    for step in range(12):
        assert crops.facts(step)["distinct_crops"] == len(seen)
        seen |= set(crops._numbers(step, 0.0).tolist())
    crops.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_step_on_a_gpu_is_that_on_the_cpu(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 1)
    losses = []
    for device in ("cpu", "cuda"):
        crops = DistilledCrops(features, Makers(features, 8, 0), recipe(), tmp_path / device)
        run = Pretraining(crops, tmp_path / device, torch.device(device))
        for _ in range(3):
            run.step()
        crops.close()
        losses.append(
            [json.loads(line)["loss"] for line in (tmp_path / device / METRICS_FILE).read_text().splitlines()]
        )
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)


def test_a_torn_line_of_rounds_is_dropped(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 1)
    (tmp_path / ROUNDS_FILE).write_text('{"first_step": 0, "pieces": 1}\n{"first_st')
    crops = crops_of(features, tmp_path)
    assert crops.rounds == [(0, 1, True)]
    assert rounds(tmp_path) == [{"first_step": 0, "pieces": 1}]
    crops.close()


def test_the_student_learns_what_the_teacher_says(made: TeacherFeatures, tmp_path: Path) -> None:
    features = features_of(made, tmp_path / "f", 2)
    crops = crops_of(features, tmp_path, batch=16, run={"steps": 60}, optimizer={"learning_rate": 3e-3})
    assert Pretraining(crops, tmp_path, CPU).run()
    crops.close()
    losses = [json.loads(line)["loss_levels"] for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    record = Pretraining(crops, tmp_path, CPU).record()
    assert record["teachers"][0]["name"] == "levels"
    assert record["distinct_crops"] == 2 * PIECE
