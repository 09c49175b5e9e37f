"""transformers' Auto classes on this package's checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import noise

pytest.importorskip("transformers")
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.checkpoints import bundled_folder
from aasp_features.config import ConfigError
from aasp_features.integrations.transformers import AaSPFeatureExtractor, AaSPHubConfig, AaSPModel


@pytest.fixture(scope="module")
def sounds_of_many_lengths() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=samples) * 0.1).astype(np.float32) for samples in (900, 16000, 40000)]


@pytest.mark.parametrize("source", ["saved", "bundled"])
def test_auto_model_reads_our_checkpoints(
    source: str, checkpoint: Path, sounds_of_many_lengths: list[np.ndarray]
) -> None:
    folder = checkpoint if source == "saved" else bundled_folder()
    model, extractor = AutoModel.from_pretrained(folder), AaSPFeatureExtractor()
    encoder = AaSPEncoder.from_pretrained(folder)
    assert isinstance(model, AaSPModel)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    batch = extractor(sounds_of_many_lengths, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        together = model(**batch).pooler_output
    expected = torch.from_numpy(encoder.embed(sounds_of_many_lengths))
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-5)


def test_hidden_states(checkpoint: Path, sounds_of_many_lengths: list[np.ndarray]) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    batch = AaSPFeatureExtractor()(sounds_of_many_lengths[1], return_tensors="pt")
    output = model(**batch, output_hidden_states=True)
    assert len(output.hidden_states) == model.config.depth
    torch.testing.assert_close(output.hidden_states[-1], output.last_hidden_state)
    output.pooler_output.sum().backward()
    assert model.network.cls.grad is not None


def test_the_network_runs_once_for_all_that_is_asked(checkpoint: Path) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    runs = []
    for block in model.network.blocks:
        block.register_forward_hook(lambda *_: runs.append(1))
    batch = AaSPFeatureExtractor()(noise(9000), return_tensors="pt")
    for wanted in (True, False):
        runs.clear()
        assert (model(**batch, output_hidden_states=wanted).hidden_states is not None) == wanted
        assert len(runs) == model.config.depth


def test_the_key_of_older_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    """It counts where it stands alone; beside the one of today it is an unknown key of the config."""
    values = json.loads((checkpoint / "config.json").read_text())
    older = {**values, "layers": 2}
    del older["last_layers"]
    assert AaSPHubConfig(**older).to_aasp() == AaSPConfig.from_json(json.dumps(older))
    assert AaSPHubConfig(**older).last_layers == 2
    both = {**values, "layers": 2}
    assert AaSPHubConfig(**both).last_layers == values["last_layers"]
    with pytest.raises(ConfigError, match=r"unknown keys \['layers'\]"):
        AaSPConfig.from_json(json.dumps(both))


def test_integers_are_scaled_by_their_range(checkpoint: Path) -> None:
    sound = (noise(4000) * 32768).astype(np.int16)
    ours = AaSPFeatureExtractor()([sound, sound[:900]]).input_values
    np.testing.assert_array_equal(ours[0], sound / np.float32(32768))
    with pytest.raises(ValueError, match="no full scale"):
        AaSPFeatureExtractor()(sound.tolist())


def test_round_trip(checkpoint: Path, tmp_path: Path, sounds_of_many_lengths: list[np.ndarray]) -> None:
    model = AutoModel.from_pretrained(checkpoint)
    model.save_pretrained(tmp_path)
    AaSPFeatureExtractor().save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert isinstance(extractor, AaSPFeatureExtractor)
    assert AutoConfig.from_pretrained(tmp_path).to_aasp() == model.config.to_aasp()
    batch = extractor(sounds_of_many_lengths, return_tensors="pt")
    torch.testing.assert_close(again(**batch).pooler_output, model(**batch).pooler_output, atol=0, rtol=0)


def test_sentences() -> None:
    extractor = AaSPFeatureExtractor()
    with pytest.raises(ValueError, match="sampling_rate must be 16000, got 8000"):
        extractor(np.zeros(800), sampling_rate=8000)
    with pytest.raises(ValueError, match="a waveform is 1-D, got 3-D"):
        extractor(np.zeros((2, 3, 800)))


@pytest.mark.parametrize("labels", [torch.tensor([2, 0, 1]), torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])])
def test_a_classifier_learns_and_comes_back(
    checkpoint: Path, tmp_path: Path, sounds_of_many_lengths: list[np.ndarray], labels: torch.Tensor
) -> None:
    """One label per clip, or several; it starts at chance, and its logits are linear in the clip vectors."""
    model = AutoModelForAudioClassification.from_pretrained(checkpoint, num_labels=3)
    batch = AaSPFeatureExtractor()(sounds_of_many_lengths, return_tensors="pt")
    chance = {1: np.log(3), 2: np.log(2)}[labels.ndim]
    assert model(**batch, labels=labels).loss.item() == pytest.approx(chance)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
    found = model(**batch, labels=labels)
    assert found.loss < chance
    model.save_pretrained(tmp_path)
    again = AutoModelForAudioClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(again(**batch).logits, found.logits, atol=0, rtol=0)
    vectors = AutoModel.from_pretrained(tmp_path)(**batch).pooler_output
    torch.testing.assert_close(again.classifier(vectors), found.logits)


@pytest.mark.usefixtures("transformers_audio")
def test_gradient_checkpointing_changes_no_gradient(checkpoint: Path, sounds_of_many_lengths: list[np.ndarray]) -> None:
    model = AutoModelForAudioClassification.from_pretrained(checkpoint, num_labels=3).train()
    torch.nn.init.normal_(model.classifier.weight, generator=torch.Generator().manual_seed(0))
    batch = AaSPFeatureExtractor()(sounds_of_many_lengths, return_tensors="pt")
    found = []
    for _ in range(2):
        model.zero_grad()
        model(**batch, labels=torch.tensor([0, 1, 2])).loss.backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
        model.gradient_checkpointing_enable()
    assert all(block.gradient_checkpointing for block in model.network.blocks)
    assert torch.equal(*found)


def test_bfloat16(checkpoint: Path, sounds_of_many_lengths: list[np.ndarray]) -> None:
    exact = AutoModel.from_pretrained(checkpoint)
    batch = AaSPFeatureExtractor()(sounds_of_many_lengths, return_tensors="pt")
    for rough in (
        AutoModel.from_pretrained(checkpoint, dtype=torch.bfloat16),
        AutoModel.from_pretrained(checkpoint).bfloat16(),
    ):
        vectors = rough(**batch).pooler_output
        assert vectors.dtype == torch.bfloat16
        assert torch.nn.functional.cosine_similarity(vectors.float(), exact(**batch).pooler_output).min() > 0.999
