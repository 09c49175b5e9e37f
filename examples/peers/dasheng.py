"""Dasheng (Dinkel et al., 2024), pre-trained on 272,000 hours: the mean over time of its last layer.

The model's code comes with its weights from the Hub, and runs here.
"""

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModel

MODEL = "mispeech/dasheng-base"
REVISION = "main"


class Dasheng:
    sample_rate = 16000

    def __init__(self) -> None:
        options = {"revision": REVISION, "trust_remote_code": True}
        self.extractor = AutoFeatureExtractor.from_pretrained(MODEL, **options)
        self.model = AutoModel.from_pretrained(MODEL, outputdim=None, **options).eval()

    @torch.inference_mode()
    def frames(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        given = self.extractor(torch.from_numpy(waveform)[None], sampling_rate=rate, return_tensors="pt")
        return self.model(**given).hidden_states[0].numpy()

    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        return self.frames(waveform, rate).mean(axis=0)


load = Dasheng
