"""40 mel-frequency cepstral coefficients and their differences from frame to frame, mean and deviation over time."""

import numpy as np
import torch
from scipy.fft import dct

from aasp_features.config import AaSPConfig
from aasp_features.model.log_mel import LogMel


class Mfcc:
    sample_rate = 16000

    def __init__(self) -> None:
        self.log_mel = LogMel(AaSPConfig(mean=0.0, std=1.0))

    def frames(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        log_mel = self.log_mel(torch.from_numpy(waveform)).numpy()
        cepstrum = dct(log_mel, norm="ortho")[:, :40]
        return np.concatenate([cepstrum, np.diff(cepstrum, axis=0, prepend=cepstrum[:1])], axis=1)

    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        frames = self.frames(waveform, rate)
        return np.concatenate([frames.mean(axis=0), frames.std(axis=0)])


load = Mfcc
