"""AST (Gong et al., 2021), trained on AudioSet with its labels. Pieces of 10.24 s, all that it takes, are averaged."""

import numpy as np
import torch
from transformers import ASTFeatureExtractor, ASTModel

MODEL = "MIT/ast-finetuned-audioset-10-10-0.4593"
PIECE = 163_840  # samples


class Ast:
    sample_rate = 16000

    def __init__(self) -> None:
        self.extractor = ASTFeatureExtractor.from_pretrained(MODEL)
        self.model = ASTModel.from_pretrained(MODEL).eval()

    @torch.inference_mode()
    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        pieces = [waveform[first : first + PIECE] for first in range(0, len(waveform), PIECE)]
        pieces = [piece for piece in pieces if len(piece) >= 400] or pieces  # 400: one frame
        given = self.extractor(pieces, sampling_rate=rate, return_tensors="pt")
        return self.model(**given).pooler_output.mean(dim=0).numpy()  # of [CLS] and the distillation token


load = Ast
