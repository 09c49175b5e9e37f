"""Other encoders with random weights, as their packages have them used: what is said of them is their code's doing.

Each takes a list of float arrays at 16 kHz and gives one vector for each. Weights are random because no download is
wanted; so speed and whether something leaks into a vector can be compared, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

RATE = 16000
Vectors = Callable[[list[np.ndarray], int], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """An encoder.

    Attributes:
        name: of package and model.
        embed: (arrays, rate) -> (n, d), by the steps that its documentation gives.
        network: for timings.
        network_input: (batch, seconds) -> what the network is given for so much sound; None leaves it out of timings.
        fixed_length: whatever is given becomes 10 s.
        padded: (batch with something past the ends, lengths) -> (n, d); None where lengths cannot be given.
        stereo: (samples, channels) -> (1, d); None where channels cannot be named.
    """

    name: str
    embed: Vectors
    network: nn.Module
    network_input: Callable[[int, int], torch.Tensor] | None
    fixed_length: bool = False
    padded: Callable[[torch.Tensor, torch.Tensor], np.ndarray] | None = None
    stereo: Callable[[np.ndarray], np.ndarray] | None = None
    weights: str = "random"


def ast() -> Peer:
    """Hugging Face's Audio Spectrogram Transformer, base: always 10.24 s."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    extractor, network = ASTFeatureExtractor(), ASTModel(ASTConfig()).eval()

    def embed(sounds: list[np.ndarray], rate: int) -> np.ndarray:
        inputs = extractor(sounds, sampling_rate=rate, return_tensors="pt")
        return network(**inputs).pooler_output.numpy()

    return Peer("AST (transformers)", embed, network, lambda batch, _: torch.randn(batch, 1024, 128), fixed_length=True)


def wav2vec2() -> Peer:
    """Hugging Face's wav2vec 2.0, base; its extractor gives no mask, as its card says of this size."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    extractor, network = Wav2Vec2FeatureExtractor(), Wav2Vec2Model(Wav2Vec2Config()).eval()

    def embed(sounds: list[np.ndarray], rate: int) -> np.ndarray:
        inputs = extractor(sounds, sampling_rate=rate, padding=True, return_tensors="pt")
        return network(inputs.input_values).last_hidden_state.mean(dim=1).numpy()

    return Peer("wav2vec 2.0 (transformers)", embed, network, _waveform)


def clap() -> Peer:
    """Hugging Face's CLAP, audio side: 10 s, repeated or cut at random."""
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

    extractor = ClapFeatureExtractor(sampling_rate=48000, truncation="rand_trunc")
    network = ClapAudioModelWithProjection(ClapAudioConfig()).eval()

    def embed(sounds: list[np.ndarray], rate: int) -> np.ndarray:
        import soxr

        if rate == RATE:  # the user's task; its extractor refuses every other rate
            sounds, rate = [soxr.resample(sound, rate, 48000) for sound in sounds], 48000
        inputs = extractor(sounds, sampling_rate=rate, return_tensors="pt")
        return network(input_features=inputs["input_features"], is_longer=inputs["is_longer"]).audio_embeds.numpy()

    return Peer("CLAP (transformers)", embed, network, None, fixed_length=True)


def dasheng() -> Peer:
    """Xiaomi's Dasheng, base, from its own package; knows no rate."""
    from dasheng.pretrained.pretrained import Dasheng

    network = Dasheng(patch_size=[64, 4], patch_stride=[64, 4], embed_dim=768, depth=12, num_heads=12).eval()

    def padded(batch: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
        frames = network(batch, x_length=lengths)
        return np.stack(
            [row[: max(1, int(n) // 640)].mean(dim=0).numpy() for row, n in zip(frames, lengths, strict=True)]
        )

    def embed(sounds: list[np.ndarray], _: int) -> np.ndarray:
        batch = nn.utils.rnn.pad_sequence([torch.from_numpy(sound) for sound in sounds], batch_first=True)
        return padded(batch, torch.tensor([len(sound) for sound in sounds]))

    return Peer("dasheng base", embed, network, _waveform, padded=padded)


def _waveform(batch: int, seconds: int) -> torch.Tensor:
    return torch.randn(batch, RATE * seconds) * 0.1


def peers() -> list[Peer]:
    """Those whose packages are installed."""
    _let_torchaudio_import()
    found = []
    for make in (ast, wav2vec2, clap, dasheng):
        try:
            torch.manual_seed(0)
            found.append(make())
        except ImportError as error:
            print(f"{make.__name__}: not here ({error})", file=sys.stderr)
    return found


def _let_torchaudio_import() -> None:
    """Beside a CPU torch, torchaudio's CUDA extension cannot be loaded; the rest of it is Python and needs none."""
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("torchaudio")
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    extension: Any = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
    extension.fail_if_no_align = lambda function: function
    sys.modules["torchaudio._extension"] = extension
    importlib.import_module("torchaudio")
