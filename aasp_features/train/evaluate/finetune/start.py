"""The initial model: a checkpoint's network, and a linear layer that is zero or a linear probe."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from aasp_features.encoder import AaSPEncoder
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.evaluate.classifier import Examples
from aasp_features.train.evaluate.finetune.examples import TaskExamples
from aasp_features.train.evaluate.finetune.model import FineTuned
from aasp_features.train.evaluate.finetune.scoring import clip_vectors
from aasp_features.train.evaluate.linear import hold_out, train_heads
from aasp_features.train.evaluate.task import Indices

MAX_CLIPS = 10_000  # for fitting the standardisation and the probe
CONSTANT = 1e-6  # relative to the mean; dimensions that vary less are not scaled


def empty_model(encoder: AaSPEncoder, examples: TaskExamples, device: torch.device) -> FineTuned:
    """Return the network with its weights, no standardisation and a zero linear layer."""
    network = AaSPNetwork(examples.config)
    network.load_state_dict(encoder.network.state_dict())
    width, classes = examples.config.embedding_dim, len(examples.task.classes)
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return FineTuned(network, torch.zeros(width), torch.ones(width), head).to(device)


def fit_start(model: FineTuned, examples: TaskExamples) -> None:
    """Fit the standardisation to the training part's frozen vectors, and the linear probe if the recipe has one.

    Raises:
        AudioError: A file cannot be read.
    """
    seed = examples.recipe.run.seed
    fitted = some_of(examples.train, seed)
    vectors = vectors_of(model.network, examples, fitted)
    mean, std = vectors.double().mean(dim=0), vectors.double().std(dim=0, unbiased=False)
    std = torch.where(std > CONSTANT * mean.abs().clamp(min=1.0), std, 1.0)
    model.mean.copy_(mean)
    model.std.copy_(std)
    if examples.recipe.network.head == "probe":
        train = as_examples(vectors, model, examples, fitted)
        if len(examples.validation):
            judged = some_of(examples.validation, seed)
            held = as_examples(vectors_of(model.network, examples, judged), model, examples, judged)
        else:
            train, held = hold_out(train, seed)
        layer = train_heads(train, held, len(examples.task.classes), examples.task.metric, seed)
        model.head.load_state_dict(layer.state_dict())


def vectors_of(network: AaSPNetwork, examples: TaskExamples, indices: Indices) -> Tensor:
    """Return clip vectors of whole sounds, (clips, d) float32, on the CPU."""
    wanted = indices.tolist()
    names = [str(examples.task.files[index]) for index in wanted]
    return clip_vectors(network, examples.log_mels.each(wanted), names)


def as_examples(vectors: Tensor, model: FineTuned, examples: TaskExamples, indices: Indices) -> Examples:
    """Return standardised vectors with labels, for the linear evaluation."""
    standard = (vectors.double() - model.mean.cpu().double()) / model.std.cpu().double()
    return Examples(standard.numpy(), examples.task.labels[indices], examples.task.groups[indices])


def some_of(indices: Indices, seed: int) -> Indices:
    """Return all indices, or ``MAX_CLIPS`` random ones in order."""
    if len(indices) <= MAX_CLIPS:
        return indices
    return np.sort(np.random.default_rng(seed).choice(indices, MAX_CLIPS, replace=False))
