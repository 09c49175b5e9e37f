"""CLAP (LAION; Wu et al., 2023), audio tower and projection. Pieces of 10 s are averaged: else it crops at random."""

import numpy as np
import torch
from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

MODEL = "laion/clap-htsat-unfused"
PIECE = 480_000  # samples


class Clap:
    sample_rate = 48000

    def __init__(self) -> None:
        self.extractor = ClapFeatureExtractor.from_pretrained(MODEL)
        self.model = ClapAudioModelWithProjection.from_pretrained(MODEL).eval()

    @torch.inference_mode()
    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        pieces = [waveform[first : first + PIECE] for first in range(0, len(waveform), PIECE)]
        given = self.extractor(pieces, sampling_rate=rate, return_tensors="pt")
        return self.model(**given).audio_embeds.mean(dim=0).numpy()


load = Clap
