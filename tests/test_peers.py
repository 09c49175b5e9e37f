"""The adapters of examples/peers, through their libraries' own loaders; random weights in place of fetched ones."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from aasp_features.train.evaluate.methods import Method, hide_broken_torchaudio, peer_method

PEERS = Path(__file__).resolve().parents[1] / "examples" / "peers"
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": 16}
CONVOLUTIONS = {"conv_dim": [16] * 3, "conv_kernel": [10, 8, 4], "conv_stride": [5, 4, 4]}
POSITIONS = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
REMOTE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel{imports}


class SmallConfig(PretrainedConfig):
    model_type = "small_peer"

    def __init__(self, outputdim=527, **rest):
        super().__init__(**rest)
        self.outputdim = outputdim


class SmallModel(PreTrainedModel):
    config_class = SmallConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear({width}, 8)
        self.post_init()
{code}
"""
EAT = """
    def extract_features(self, log_mel):
        batch, channel, frames, mels = log_mel.shape
        assert (channel, frames % 16, mels) == (1, 0, 128) and frames <= 1024 and log_mel.abs().max() < 4
        patches = self.layer(log_mel.unfold(2, 16, 16).unfold(3, 16, 16).reshape(batch, -1, 256))
        return torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1)
"""
DASHENG = """
    def forward(self, input_values):
        frames = self.layer(input_values.transpose(1, 2))
        return BaseModelOutput(hidden_states=frames)


class SmallExtractor(FeatureExtractionMixin):
    def __call__(self, waveform, sampling_rate, return_tensors):
        assert sampling_rate == 16000 and waveform.ndim == 2 and return_tensors == "pt"
        return {"input_values": waveform.unfold(1, 64, 640).transpose(1, 2)}
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for remembered in ("is_torchaudio_available", "is_speech_available"):  # an earlier test may have asked
        getattr(getattr(transformers.utils.import_utils, remembered), "cache_clear", lambda: None)()
    known = sys.modules.get("torchaudio", ...)
    hide_broken_torchaudio()
    yield
    if known is ...:
        sys.modules.pop("torchaudio", None)
    else:
        sys.modules["torchaudio"] = known


def save_ast(folder: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    ASTModel(ASTConfig(max_length=128, **SMALL)).save_pretrained(folder)
    ASTFeatureExtractor(max_length=128).save_pretrained(folder)


def save_clap(folder: Path) -> None:
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    config = ClapAudioConfig(
        patch_embeds_hidden_size=8,
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        hidden_size=64,
        projection_dim=12,
    )
    ClapAudioModelWithProjection(config).save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)  # as of the checkpoint without fusion


def save_wav2vec2(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    Wav2Vec2Model(Wav2Vec2Config(**SMALL, **CONVOLUTIONS, **POSITIONS)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


def save_hubert(folder: Path) -> None:
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    HubertModel(HubertConfig(**SMALL, **CONVOLUTIONS, **POSITIONS)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


def save_remote(folder: Path, code: str, width: int, imports: str = "") -> None:
    """A model whose code lies beside its weights, as those on the Hub that ask for trust_remote_code."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "small_peer.py").write_text(REMOTE.format(imports=imports, width=width, code=code))
    classes = {"AutoConfig": "small_peer.SmallConfig", "AutoModel": "small_peer.SmallModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "small_peer", "auto_map": classes}))
    layer = torch.nn.Linear(width, 8)
    save_file(
        {"layer.weight": layer.weight.data, "layer.bias": layer.bias.data},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    extractor = {
        "feature_extractor_type": "SmallExtractor",
        "auto_map": {"AutoFeatureExtractor": "small_peer.SmallExtractor"},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))


def save_eat(folder: Path) -> None:
    save_remote(folder, EAT, 256)


def save_dasheng(folder: Path) -> None:
    imports = ", FeatureExtractionMixin\nfrom transformers.modeling_outputs import BaseModelOutput"
    save_remote(folder, DASHENG, 64, imports)


FROM_THE_HUB: dict[str, tuple[Callable[[Path], None], int]] = {
    "ast_audioset": (save_ast, 16),
    "clap": (save_clap, 12),
    "wav2vec2": (save_wav2vec2, 16),
    "hubert": (save_hubert, 16),
    "eat": (save_eat, 8),
    "dasheng": (save_dasheng, 8),
}


def adapted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Method:
    """An adapter whose MODEL is a folder with random weights."""
    torch.manual_seed(0)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    save, _ = FROM_THE_HUB[name]
    save(tmp_path / "model")
    code = re.sub(
        r'^MODEL = ".*"$', f"MODEL = {str(tmp_path / 'model')!r}", (PEERS / f"{name}.py").read_text(), flags=re.M
    )
    (tmp_path / f"{name}.py").write_text(code)
    return peer_method(tmp_path / f"{name}.py")


@pytest.mark.parametrize("name", FROM_THE_HUB)
def test_peers_of_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = adapted(name, tmp_path, monkeypatch)
    rate = method.sample_rate
    generator = np.random.default_rng(0)
    sounds = [0.1 * generator.standard_normal(int(seconds * rate)).astype(np.float32) for seconds in (1.0, 11.0)]
    vectors = method.embed(sounds, rate)
    assert vectors.shape == (2, FROM_THE_HUB[name][1])
    assert np.isfinite(vectors).all()
    assert not np.allclose(vectors[0], vectors[1])
    np.testing.assert_array_equal(method.embed(sounds[1:], rate)[0], vectors[1])
    if method.embed_frames is not None:
        (frames,) = method.embed_frames(sounds[:1], rate)
        np.testing.assert_allclose(frames.embeddings.mean(axis=0), vectors[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["log_mel", "mfcc"])
def test_statistics(name: str) -> None:
    """Louder by a factor is a constant on every band, and so on the first coefficient alone; deviations stay."""
    method = peer_method(PEERS / f"{name}.py")
    sound = 0.05 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    one, louder = method.embed([sound, 4 * sound], 16000)
    moved = np.full(128, np.log(16.0)) if name == "log_mel" else np.r_[np.log(16.0) * 128**0.5, np.zeros(79)]
    assert len(one) == 2 * len(moved)
    np.testing.assert_allclose(louder - one, np.r_[moved, np.zeros(len(moved))], atol=2e-3)


def test_every_adapter_is_named_and_tested() -> None:
    files = {path.name for path in PEERS.glob("*.py")}
    assert files == {f"{name}.py" for name in (*FROM_THE_HUB, "log_mel", "mfcc")}
    table = (PEERS / "README.md").read_text()
    assert all(f"`{name}`" in table for name in files)
