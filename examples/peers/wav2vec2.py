"""wav2vec 2.0 (Baevski et al., 2020), pre-trained on speech without labels: the mean over time of its last layer."""

import numpy as np
import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

MODEL = "facebook/wav2vec2-base"


class Wav2Vec2:
    sample_rate = 16000

    def __init__(self) -> None:
        self.extractor = Wav2Vec2FeatureExtractor.from_pretrained(MODEL)
        self.model = Wav2Vec2Model.from_pretrained(MODEL).eval()

    @torch.inference_mode()
    def frames(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        given = self.extractor(waveform, sampling_rate=rate, return_tensors="pt")
        return self.model(given.input_values).last_hidden_state[0].numpy()

    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        return self.frames(waveform, rate).mean(axis=0)


load = Wav2Vec2
