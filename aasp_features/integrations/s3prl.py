"""An s3prl upstream: unpadded waveforms in, the states of every block out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from aasp_features.config import FRAME_HOP, PATCH
from aasp_features.encoder import AaSPEncoder
from aasp_features.inference import log_mel_windows, not_finite
from aasp_features.inputs import Clip, read_inputs


class UpstreamExpert(nn.Module):
    """A checkpoint in s3prl's interface.

    Args:
        ckpt: folder or Hub name of the checkpoint (default: the bundled one).
        model_config: given by s3prl, not used.
    """

    def __init__(self, ckpt: str | None = None, model_config: Any = None, **_: Any) -> None:
        super().__init__()
        self.encoder = AaSPEncoder.from_pretrained(ckpt)

    def get_downsample_rates(self, key: str) -> int:
        """Return the samples from one state to the next: 2,560 (160 ms)."""
        return PATCH * FRAME_HOP

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Encode waveforms of any length.

        Args:
            wavs: (samples,) each, at 16 kHz in +-1; integers are scaled by their dtype's range.

        Returns:
            ``hidden_states``: (batch, T, dim) for each block, the mean over frequency, zero past a sound's end;
            ``last_hidden_state``: the last of them; ``lengths``: (batch,) number of states of each sound.

        Raises:
            InputError: a waveform is not accepted by ``AaSPEncoder.embed``.
            VectorError: the network returns NaN or infinite numbers.
        """
        states = [self._encode(clip) for clip in read_inputs(list(wavs)).clips]  # (depth, T, dim) each
        lengths = torch.tensor([one.shape[1] for one in states])
        padded = pad_sequence([one.transpose(0, 1) for one in states], batch_first=True)  # (batch, T, depth, dim)
        hidden = list(padded.unbind(dim=2))
        return {"hidden_states": hidden, "last_hidden_state": hidden[-1], "lengths": lengths}

    def _encode(self, clip: Clip) -> Tensor:
        encoder, pieces = self.encoder, []
        for _, window in log_mel_windows(clip.blocks(), encoder.log_mel, encoder.options()):
            with torch.inference_mode():
                outputs, _ = encoder.network.encode(window.items[None], None, encoder.config.depth, masked=False)
                tokens = torch.stack([encoder.network.norm(output)[0, 1:] for output in outputs])
            columns = tokens.view(len(tokens), window.columns, encoder.config.rows, -1)  # (depth, columns, rows, dim)
            pieces.append(columns[:, window.emitted].mean(dim=2))
        states = torch.cat(pieces, dim=1).clone()
        if not states.isfinite().all():
            raise not_finite(clip.name)
        return states
