"""Whole sounds' log-mels -> the vectors that ``embed`` gives, and the classifier that a network in training is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from aasp_features.batching import equal_length_batches
from aasp_features.checkpoint import load_weights
from aasp_features.classifier import AaSPClassifier
from aasp_features.encoder import AaSPEncoder
from aasp_features.model.network import AaSPNetwork
from aasp_features.network_pass import encode_batch
from aasp_features.options import resolve_options
from aasp_features.train.evaluate.finetune.model import FineTuned
from aasp_features.vectors import ClipVector, finite_columns
from aasp_features.windows import CutWindow, WindowCutter


def clip_vectors(network: AaSPNetwork, log_mels: Iterable[Tensor], names: list[str]) -> Tensor:
    """(clips, d) float32, on the CPU: long clips are cut by the window plan, all by the config's defaults.

    Args:
        network: on any device.
        log_mels: (frames, mels) of each clip, on the CPU.
        names: of the clips, for messages.

    Raises:
        VectorError: NaN or infinite numbers; the sentence names the clip.
    """
    device = network.cls.device
    options = resolve_options(network.config, device.type)

    def windows() -> Iterator[tuple[int, CutWindow[Tensor]]]:
        for number, log_mel in enumerate(log_mels):
            cutter = WindowCutter[Tensor](options.window, options.context, torch.cat)
            for piece in (cutter.push(log_mel.to(device)), cutter.finish()):
                for window in piece:
                    yield number, window

    clips = [ClipVector(options.pooling) for _ in names]
    for batch in equal_length_batches(windows(), options.batch_size * network.config.window):
        for number, columns in encode_batch(network, batch, options):
            clips[number].add(finite_columns(columns, names[number]))
    return torch.stack([torch.from_numpy(clip.vector()) for clip in clips])


def classifier_of(model: FineTuned, labels: tuple[str, ...], several: bool, name: str) -> AaSPClassifier:
    """A copy of the network and its linear layer, on the CPU, under a name of its own."""
    encoder = AaSPEncoder(model.network.config.replace(name=name))
    weights = {key: value.detach().cpu() for key, value in model.network.state_dict().items()}
    load_weights(encoder.network, weights, name)
    return AaSPClassifier(encoder, labels, model.folded(), multi_label=several).requires_grad_(False).eval()
