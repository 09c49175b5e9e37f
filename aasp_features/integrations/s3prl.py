"""An upstream in s3prl's manner: unpadded waveforms in, the states of every block out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from aasp_features.config import FRAME_HOP, PATCH
from aasp_features.encoder import AaSPEncoder


class UpstreamExpert(nn.Module):
    """s3prl's interface around a checkpoint.

    Args:
        ckpt: folder or Hub name; None for the bundled checkpoint.
        model_config: not used; s3prl passes it.
    """

    def __init__(self, ckpt: str | None = None, model_config: Any = None, **_: Any) -> None:
        super().__init__()
        self.encoder = AaSPEncoder.from_pretrained(ckpt)

    def get_downsample_rates(self, key: str) -> int:
        """Samples from one state to the next: 2,560 (160 ms), whatever the key."""
        return PATCH * FRAME_HOP

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Encode.

        Args:
            wavs: (samples,) float each, at 16 kHz in +-1, of any length.

        Returns:
            ``hidden_states``: for each block (batch, T, dim), the mean over frequency, zeros past a sound's end;
            ``last_hidden_state``: the last of them; ``lengths``: (batch,) states of each sound.
        """
        states = [self._encode(wav) for wav in wavs]  # (depth, T, dim) each
        lengths = torch.tensor([one.shape[1] for one in states])
        padded = pad_sequence([one.transpose(0, 1) for one in states], batch_first=True)  # (batch, T, depth, dim)
        hidden = list(padded.unbind(dim=2))
        return {"hidden_states": hidden, "last_hidden_state": hidden[-1], "lengths": lengths}

    def _encode(self, wav: Tensor) -> Tensor:
        encoder, samples = self.encoder, wav.detach().float().cpu().numpy()
        pieces = []
        for _, window in encoder.windows([np.ascontiguousarray(samples)], encoder.options()):
            with torch.inference_mode():
                outputs, _ = encoder.network.block_outputs(window.items[None], None, masked=False)
                tokens = torch.stack([encoder.network.norm(output)[0, 1:] for output in outputs])
            columns = tokens.view(len(tokens), window.columns, encoder.config.rows, -1)  # (depth, columns, rows, dim)
            pieces.append(columns[:, window.plan.emitted].mean(dim=2))
        return torch.cat(pieces, dim=1).clone()
