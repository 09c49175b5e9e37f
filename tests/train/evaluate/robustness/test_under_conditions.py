"""Test clips that were changed on the way equal the same clips changed on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features.audio.reading import load_audio
from aasp_features.train.evaluate.logistic import logistic_regression
from aasp_features.train.evaluate.methods import Method, log_mel_statistics
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.robustness.conditions import CONDITIONS
from aasp_features.train.evaluate.robustness.under_conditions import (
    WHOLE,
    as_json,
    measure,
    noise_of,
    robustness_report,
    under,
)
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.reading import read_tasks
from aasp_features.train.evaluate.vector_cache import task_vectors

NAMED = {condition.name: condition for condition in CONDITIONS}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """High and low tones in noise; only a telephone cannot tell them."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for number in range(60):
        name, hertz = (("low", 5000), ("high", 7000))[number % 2]
        tone = 0.2 * np.sin(2 * np.pi * hertz * np.arange(12_000) / 16000) + rng.normal(size=12_000) * 0.01
        (folder / name).mkdir(exist_ok=True)
        soundfile.write(folder / name / f"{number}.wav", tone, 16000, subtype="FLOAT")
    (found,) = read_tasks([str(folder)])
    return found


def vectors(method: Method, task: Task, files: Sequence[Path]) -> np.ndarray:
    return task_vectors(method, files, None)


@pytest.mark.parametrize("name", ["cut to 0.25 s", "noise at 0 dB SNR", "Opus, 16 kbit/s", "+20 dB"])
@pytest.mark.parametrize("any_rate", [False, True])
def test_changed_on_the_way_is_changed_on_disk(name: str, any_rate: bool, task: Task, tmp_path: Path) -> None:
    method = log_mel_statistics(1024)
    method = replace(method, sample_rate=None) if any_rate else method
    files = []
    for file in task.files[::10]:
        changed = NAMED[name].change(load_audio(file), 16000, noise_of(file))
        files.append(tmp_path / file.name)
        soundfile.write(files[-1], changed, 16000, subtype="FLOAT")
    heard = under(method, NAMED[name]).embed_files(task.files[::10])
    np.testing.assert_allclose(heard, log_mel_statistics(1024).embed_files(files), atol=1e-5)


def test_a_probe_that_learnt_from_clean_clips_is_tested_on_changed_ones(task: Task) -> None:
    method, wanted = log_mel_statistics(1024), [NAMED["telephone band"], NAMED["cut to 0.5 s"]]
    results = measure(method, [task], logistic_regression, vectors, wanted=wanted)
    assert list(results) == [WHOLE, "telephone band", "cut to 0.5 s"]
    clean = probe(vectors(method, task, task.files), task, logistic_regression)
    np.testing.assert_array_equal(results[WHOLE][task.name].scores, clean.scores)
    assert clean.value == 100
    assert results["cut to 0.5 s"][task.name].value == 100
    assert 30 < results["telephone band"][task.name].value < 70
    text = robustness_report([task], {"a": results}, "Logistic regression", selection=False)
    assert "| telephone band | " in text
    numbers = as_json([task], {"a": results}, "Logistic regression", selection=False)
    assert numbers["methods"]["a"][WHOLE][task.name]["value"] == 100
    assert numbers["evaluation"] == "Logistic regression"


def test_only_test_clips_are_changed_and_none_that_are_opened_once(task: Task) -> None:
    heard: list[Path] = []

    def counted(method: Method, task: Task, files: Sequence[Path]) -> np.ndarray:
        heard.extend(files if "telephone" in method.name else [])
        return vectors(method, task, files)

    measure(log_mel_statistics(1024), [task], logistic_regression, counted, True, [NAMED["telephone band"]])
    tested = [place for split in task.splits(selection=True) for place in split.test]
    assert sorted(heard) == sorted(task.files[place] for place in tested)
    assert len(heard) < len(task.files)


def test_vectors_of_each_condition_are_kept_apart(task: Task) -> None:
    method = log_mel_statistics(1024)
    identities = {under(method, condition).identity for condition in CONDITIONS}
    assert len(identities | {method.identity}) == len(CONDITIONS) + 1


def test_few_clips_and_exact_intervals_are_told(task: Task) -> None:
    few = replace(task, files=task.files[:4], labels=task.labels[:4], groups=task.groups[:4]).draw_folds()
    results = {"a": measure(log_mel_statistics(1024), [few], logistic_regression, vectors, wanted=[])}
    text = robustness_report([few], results, "Logistic regression", selection=False)
    assert "Intervals are Clopper and Pearson's" in text
    assert "C is 0.1 in" in text
    assert "C is 0.1 in" not in robustness_report([few], results, "k-nearest neighbours (k = 20)", selection=False)
