"""Linear evaluation: one linear layer on frozen vectors, by Adam with early stopping, as in the paper's benchmark.

Several learning rates train side by side as heads of one pass over the batches. Adam treats every weight separately, so
each head trains as it would alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import Examples, Vectors
from aasp_features.train.evaluate.metrics import Labels, Metric, Scores
from aasp_features.train.evaluate.task import Indices

CPU = torch.device("cpu")
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SEEDS = (42, 43, 44)
BATCH, EPOCHS, PATIENCE, DECAY = 200, 200, 20, 1e-8
HELD_OUT = 0.1  # of the training clips, where the task has no validation part


def linear_layer(
    train: Examples,
    validation: Examples | None,
    test: Vectors,
    classes: int,
    metric: Metric,
    device: torch.device = CPU,
) -> list[Scores]:
    """Return scores for each of three seeds, trained on a device; other arguments as for ``Classifier``.

    Adam runs for at most 200 epochs with batches of 200. A head stops after 20 epochs without reaching its best
    validation value again, and its best weights are kept. The learning rate with the best validation value is used.
    Without a validation part, a tenth of the training clips, in whole groups, is held out.
    """
    scores = []
    for seed in SEEDS:
        kept, held = (train, validation) if validation is not None else hold_out(train, seed)
        best = train_heads(kept, held, classes, metric, seed, device)
        scores.append(_scores(best, torch.from_numpy(test).float().to(device)))
    return scores


def hold_out(train: Examples, seed: int) -> tuple[Examples, Examples]:
    """Split examples into nine tenths and one tenth, in whole groups."""
    kept, held = hold_out_groups(train.groups, HELD_OUT, seed)
    return train.at(kept), train.at(held)


def hold_out_groups(groups: NDArray[np.str_], share: float, seed: int) -> tuple[Indices, Indices]:
    """Split clips into two arrays of indices; the second has ``share`` of the groups.

    Raises:
        TrainError: There is a single group.
    """
    from sklearn.model_selection import GroupShuffleSplit

    if len(np.unique(groups)) < 2:
        raise TrainError("its training clips are of a single group, so none can be held out for validation.")
    kept, held = next(iter(GroupShuffleSplit(1, test_size=share, random_state=seed).split(groups, groups=groups)))
    return np.asarray(kept), np.asarray(held)


def train_heads(
    train: Examples, validation: Examples, classes: int, metric: Metric, seed: int, device: torch.device = CPU
) -> nn.Linear:
    """Train one head for each learning rate, and return the best on the validation part, at its best epoch.

    Initial weights and the order of clips are drawn on the CPU, so they are the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    vectors, held = (torch.from_numpy(part.vectors).float().to(device) for part in (train, validation))
    labels = torch.from_numpy(train.labels).to(device)
    heads = [Head(rate, new_layer(vectors.shape[1], classes, generator).to(device)) for rate in RATES]
    optimizer = torch.optim.Adam(
        [{"params": head.layer.parameters(), "lr": head.rate} for head in heads], weight_decay=DECAY
    )
    for epoch in range(EPOCHS):
        training = [head for head in heads if epoch - head.best_epoch <= PATIENCE]
        if not training:
            break
        order = torch.randperm(len(vectors), generator=generator).to(device)
        for batch in torch.split(order, BATCH):
            optimizer.zero_grad(set_to_none=True)  # without a gradient, a stopped head does not change
            total_loss([head.layer for head in training], vectors[batch], labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        for head in training:
            head.judge(held, validation.labels, metric, epoch)
    return max(heads, key=lambda head: head.best_value).best_layer()


def total_loss(layers: Sequence[nn.Linear], vectors: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the layers' losses on a batch, so each has the gradient it would have alone.

    The loss is cross-entropy, or binary cross-entropy for multi-label clips.
    """
    weight, bias = torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])
    scores = functional.linear(vectors, weight, bias).reshape(len(vectors), len(layers), -1)  # (clips, layers, classes)
    if labels.ndim == 2:
        targets = labels.float()[:, None].expand_as(scores)
        return functional.binary_cross_entropy_with_logits(scores, targets) * len(layers)
    indices = labels[:, None].expand(-1, len(layers))
    return functional.cross_entropy(scores.flatten(0, 1), indices.flatten()) * len(layers)


def new_layer(width: int, classes: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with torch's default initialisation, drawn from ``generator``."""
    layer = nn.Linear(width, classes, device="meta").to_empty(device="cpu")
    bound = width**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


@dataclass
class Head:
    """A linear layer in training, with its best weights."""

    rate: float
    layer: nn.Linear
    best_value: float = -np.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def judge(self, vectors: Tensor, labels: Labels, metric: Metric, epoch: int) -> None:
        """Keep the weights if they are as good as the best so far."""
        value = metric.value(labels, _scores(self.layer, vectors))
        if value >= self.best_value:
            self.best_value, self.best_epoch = value, epoch
            self.best_weights = {name: weight.clone() for name, weight in self.layer.state_dict().items()}

    def best_layer(self) -> nn.Linear:
        """Return the layer with its best weights, or the last ones if no value could be compared."""
        self.layer.load_state_dict(self.best_weights, strict=False)
        return self.layer


@torch.no_grad()
def _scores(layer: nn.Linear, vectors: Tensor) -> Scores:
    scores: Scores = layer(vectors).cpu().double().numpy()
    return scores
