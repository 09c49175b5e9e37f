"""The example that makes a teacher of a model of the Hub: what transformers itself gives, whatever the batch."""

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aasp_features.train.pretrain.external_teachers import ExternalTeacher, TeacherError, read_descriptions

transformers = pytest.importorskip("transformers")
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "hub_teacher"
SOUND = np.random.default_rng(0).normal(size=(3, 12000)).astype(np.float32) * 0.1
DIM = {"wav2vec2": 24, "ast": 20}


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    """No network; and no torchaudio where it cannot be loaded, as the example has it in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        runpy.run_path(str(EXAMPLE / "hub_model.py"))
        for remembered in ("is_torchaudio_available", "is_speech_available"):  # an earlier test may have asked
            getattr(getattr(transformers.utils.import_utils, remembered), "cache_clear", lambda: None)()
        yield


@pytest.fixture(scope="module", params=["wav2vec2", "ast"])
def model_folder(_offline: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights, and its feature extractor, as save_pretrained writes them."""
    torch.manual_seed(0)
    blocks = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if request.param == "wav2vec2":
        convolutions = {"conv_dim": [16] * 3, "conv_kernel": [10, 8, 4], "conv_stride": [5, 4, 4]}
        positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
        config = transformers.Wav2Vec2Config(hidden_size=DIM["wav2vec2"], **blocks, **convolutions, **positions)
        model = transformers.Wav2Vec2Model(config)
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    else:
        config = transformers.ASTConfig(hidden_size=DIM["ast"], max_length=128, num_mel_bins=32, **blocks)
        model = transformers.ASTModel(config)
        extractor = transformers.ASTFeatureExtractor(max_length=128, num_mel_bins=32)
    folder = tmp_path_factory.mktemp("models") / request.param
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def copy_example(model: Path, folder: Path, **changes: object) -> Path:
    """The example's two files in ``folder``, with another model; returns the folder."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    code = (folder / "hub_model.py").read_text()
    line = next(line for line in code.splitlines() if line.startswith("MODEL = "))
    (folder / "hub_model.py").write_text(code.replace(line, f"MODEL = {str(model)!r}"))
    described = yaml.safe_load((folder / "hub_model.yaml").read_text())
    (folder / "hub_model.yaml").write_text(yaml.safe_dump({**described, **changes}))
    return folder


def load(folder: Path) -> ExternalTeacher:
    return ExternalTeacher(read_descriptions([folder])[0])


def test_it_gives_what_transformers_gives(model_folder: Path, tmp_path: Path) -> None:
    teacher = load(copy_example(model_folder, tmp_path / "teacher"))
    assert teacher.dim == DIM[model_folder.name]
    extractor = transformers.AutoFeatureExtractor.from_pretrained(model_folder)
    model = transformers.AutoModel.from_pretrained(model_folder).eval()
    for row, heard in zip(SOUND, teacher.forward(SOUND), strict=True):
        with torch.no_grad():
            hidden = model(**extractor(row, sampling_rate=16000, return_tensors="pt")).last_hidden_state
        assert hidden.shape[1] > 10  # it is a mean over something
        np.testing.assert_allclose(heard, hidden[0].double().mean(dim=0).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [300, 12000, 40000])
def test_batch_equals_alone(model_folder: Path, tmp_path: Path, samples: int) -> None:
    teacher = load(copy_example(model_folder, tmp_path / "teacher"))
    sound = np.random.default_rng(1).normal(size=(3, samples)).astype(np.float32) * [[0.01], [0.1], [1]]
    together = teacher.forward(sound.astype(np.float32))
    alone = np.concatenate([teacher.forward(row[None]) for row in sound.astype(np.float32)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3  # other sounds, other numbers


def test_half_precision_weights_are_run_in_full(model_folder: Path, tmp_path: Path) -> None:
    whole = load(copy_example(model_folder, tmp_path / "whole")).forward(SOUND)
    shutil.copytree(model_folder, tmp_path / "half")
    transformers.AutoModel.from_pretrained(model_folder).half().save_pretrained(tmp_path / "half")
    halved = load(copy_example(tmp_path / "half", tmp_path / "halved")).forward(SOUND)
    np.testing.assert_allclose(halved, whole, atol=0.02)


def test_another_model_is_another_teacher(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "other")
    one = read_descriptions([copy_example(model_folder, tmp_path / "a")])[0]
    other = read_descriptions([copy_example(tmp_path / "other", tmp_path / "b")])[0]
    assert one.identity != other.identity


def test_a_model_of_another_rate_is_refused(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(model_folder)
    extractor.sampling_rate = 24000
    extractor.save_pretrained(tmp_path / "model")
    folder = copy_example(tmp_path / "model", tmp_path / "teacher")
    with pytest.raises(TeacherError, match=r"teacher wav2vec2: hub_model\.py:load failed .*hears 24000 Hz"):
        load(folder)
    code = (folder / "hub_model.py").read_text()
    (folder / "hub_model.py").write_text(code.replace("SAMPLE_RATE = 16000", "SAMPLE_RATE = 24000"))
    described = yaml.safe_load((folder / "hub_model.yaml").read_text())
    (folder / "hub_model.yaml").write_text(yaml.safe_dump({**described, "sample_rate": 24000}))
    assert load(folder).forward(SOUND).shape == (3, DIM[model_folder.name])


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"teacher wav2vec2: hub_model\.py:load failed"):
        load(copy_example(tmp_path / "nothing", tmp_path / "teacher"))


def test_the_example_is_described() -> None:
    (found,) = read_descriptions([EXAMPLE])
    assert (found.name, found.sample_rate) == ("wav2vec2", 16000)
    assert found.identity["code"]
