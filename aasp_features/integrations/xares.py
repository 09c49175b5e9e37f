"""X-ARES: ``python -m xares.run aasp_features/integrations/xares.py src/tasks/*.py``.

The suite pads a batch with zeros, keeps no lengths, and averages all frames. This encoder therefore takes exact zeros
at the end as padding. It does not encode them, and fills their frames with the mean of the sound's own frames, which
leaves the average unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aasp_features import encoder as _module  # the suite wants exactly one name here that ends with "Encoder"
from aasp_features.integrations.hear import HearModel as _HearModel
from aasp_features.windows import count_frames, grid_times

HOP = 0.04


class AaSPXaresEncoder(nn.Module):
    """The bundled checkpoint in X-ARES' interface: no arguments, frames 40 ms apart.

    Attributes:
        sampling_rate: 16,000 Hz.
        output_dim: numbers in a frame.
        hop_size_in_ms: 40.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _module.AaSPEncoder.from_pretrained()
        self.sampling_rate = self.encoder.config.sample_rate
        self.output_dim = _HearModel(self.encoder).timestamp_embedding_size
        self.hop_size_in_ms = round(1000 * HOP)

    def forward(self, audio: Tensor) -> Tensor:
        """Encode (batch, samples) or (samples,) float at 16 kHz to (batch, frames, output_dim) float32."""
        audio = audio[None] if audio.ndim == 1 else audio
        frames = len(grid_times(count_frames(audio.shape[1]), HOP))
        return torch.stack([self._encode(row, frames) for row in audio.detach()])

    def _encode(self, row: Tensor, frames: int) -> Tensor:
        sounding = torch.nonzero(row)
        end = int(sounding[-1]) + 1 if len(sounding) else len(row)  # silence all through is a sound
        vectors = self.encoder.embed_frames([row[:end]], hop=HOP)[0].embeddings
        padding = vectors.mean(dim=0, keepdim=True).expand(frames - len(vectors), -1)
        return torch.cat([vectors, padding])
