"""A model of the Hugging Face Hub as a teacher: the mean over time of its last hidden state.

Copy this folder, and write the model's name below and in hub_model.yaml. The model must return hidden states of
(batch, time, dim) for a waveform alone, as wav2vec 2.0, HuBERT, WavLM, data2vec and AST do. AutoModel and
AutoFeatureExtractor load it, with code of transformers only. The sha256 of this file is part of the teacher's identity:
another model here is another teacher to a folder of features. REVISION should therefore be a commit, not a branch.

If the extractor pads, the mean includes the padding. AST's extractor brings every sound to 10.24 s: it cuts longer
sounds, and a short crop takes as long as a whole one.
"""

import sys
from pathlib import Path

import torch

try:
    import torchaudio  # noqa: F401
except (ImportError, OSError):  # of another build than torch: transformers would fail with it, but needs none
    sys.modules["torchaudio"] = None  # type: ignore[assignment]  # imports of it fail
from transformers import AutoFeatureExtractor, AutoModel

from aasp_features.train.pretrain.external_teachers import Floats, Network

MODEL = "facebook/wav2vec2-base"  # or a folder that save_pretrained wrote
REVISION = "main"  # the hash of a commit keeps the model what it is
SAMPLE_RATE = 16000  # of the model, and of hub_model.yaml


def load(files: dict[str, Path]) -> Network:
    """Return a function from (batch, samples) at SAMPLE_RATE to (batch, dim); ``files`` is not used."""
    extractor = AutoFeatureExtractor.from_pretrained(MODEL, revision=REVISION)
    model = AutoModel.from_pretrained(MODEL, revision=REVISION).float().eval()
    if extractor.sampling_rate != SAMPLE_RATE:
        raise ValueError(
            f"{MODEL} hears {extractor.sampling_rate} Hz: write that as SAMPLE_RATE in hub_model.py and as sample_rate "
            "in the .yaml file"
        )

    @torch.inference_mode()
    def features(waveform: Floats) -> Floats:
        inputs = extractor(list(waveform), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        hidden = model(**inputs).last_hidden_state
        if hidden.ndim != 3:
            raise ValueError(f"{MODEL} gives hidden states of {tuple(hidden.shape)}, not (batch, time, dim)")
        return hidden.mean(dim=1).numpy()

    return features
