"""Clip vectors of a network in training, equal to those of ``embed``, and its classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from aasp_features.checkpoint import load_weights
from aasp_features.classifier import AaSPClassifier
from aasp_features.encoder import AaSPEncoder
from aasp_features.inference import WindowCutter, encode_clips, run_network
from aasp_features.model.network import AaSPNetwork
from aasp_features.options import EmbedOptions, resolve_options
from aasp_features.train.evaluate.finetune.model import FineTuned
from aasp_features.windows import Window


def clip_vectors(network: AaSPNetwork, log_mels: Iterable[Tensor], names: list[str]) -> Tensor:
    """Return clip vectors, (clips, d) float32 on the CPU, with the config's windows and pooling.

    Args:
        network: Network on any device.
        log_mels: (frames, mels) of each clip, on the CPU.
        names: Names of the clips, for messages.

    Raises:
        VectorError: A vector is not finite; the message names the clip.
    """
    options = resolve_options(network.config, network.cls.device.type)
    windows = _windows((log_mel.to(network.cls.device) for log_mel in log_mels), options)
    run = partial(run_network, network, options)
    return torch.from_numpy(encode_clips(names, windows, run, network.config, options))


def _windows(log_mels: Iterable[Tensor], options: EmbedOptions) -> Iterator[tuple[tuple[int, int], Window[Tensor]]]:
    for index, log_mel in enumerate(log_mels):
        cutter = WindowCutter[Tensor](options.window, options.context, torch.cat)
        for window in (*cutter.push(log_mel), *cutter.finish()):
            yield (index, 0), window


def classifier_of(model: FineTuned, labels: tuple[str, ...], multi_label: bool, name: str) -> AaSPClassifier:
    """Return a renamed copy of the network and its linear layer as a classifier, on the CPU."""
    encoder = AaSPEncoder(model.network.config.replace(name=name))
    weights = {key: value.detach().cpu() for key, value in model.network.state_dict().items()}
    load_weights(encoder.network, weights, name)
    return AaSPClassifier(encoder, labels, model.folded(), multi_label=multi_label).requires_grad_(False).eval()
