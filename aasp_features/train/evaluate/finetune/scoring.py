"""Clip vectors of whole sounds, as ``embed`` computes them, and the classifier of a network in training."""

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
    """Return clip vectors, (clips, d) float32 on the CPU, with the config's windows and pooling.

    Args:
        network: Network on any device.
        log_mels: (frames, mels) of each clip, on the CPU.
        names: Names of the clips, for messages.

    Raises:
        VectorError: A vector is not finite; the message names the clip.
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


def classifier_of(model: FineTuned, labels: tuple[str, ...], multi_label: bool, name: str) -> AaSPClassifier:
    """Return a renamed copy of the network and its linear layer as a classifier, on the CPU."""
    encoder = AaSPEncoder(model.network.config.replace(name=name))
    weights = {key: value.detach().cpu() for key, value in model.network.state_dict().items()}
    load_weights(encoder.network, weights, name)
    return AaSPClassifier(encoder, labels, model.folded(), several=multi_label).requires_grad_(False).eval()
