"""EAT (Chen et al., 2024), pre-trained on AudioSet: its [CLS] token. BEATs and SSLAM take the same log-mel.

The model's code comes with its weights from the Hub, and runs here.
"""

import numpy as np
import torch
from transformers import AutoModel

from aasp_features.config import AaSPConfig
from aasp_features.model.log_mel import LogMel

MODEL = "worstchan/EAT-base_epoch30_pretrain"
REVISION = "main"
PIECE = 163_840  # samples: 1,024 frames


class Eat:
    sample_rate = 16000

    def __init__(self) -> None:
        self.log_mel = LogMel(AaSPConfig(fft_length=512, mean=-4.268, std=2 * 4.569))
        self.model = AutoModel.from_pretrained(MODEL, revision=REVISION, trust_remote_code=True).eval()

    @torch.inference_mode()
    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        pieces = [waveform[first : first + PIECE] for first in range(0, len(waveform), PIECE)]
        pieces = [piece for piece in pieces if len(piece) >= 400] or pieces  # 400: one frame
        return np.mean([self.tokens(piece)[0] for piece in pieces], axis=0)

    def tokens(self, piece: np.ndarray) -> np.ndarray:
        log_mel = self.log_mel(torch.from_numpy(piece - piece.mean()))
        log_mel = torch.nn.functional.pad(log_mel, (0, 0, 0, -len(log_mel) % 16))  # whole patches
        return self.model.extract_features(log_mel[None, None])[0].numpy()


load = Eat
