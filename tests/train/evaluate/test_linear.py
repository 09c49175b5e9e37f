"""The linear layer: heads alone and together, early stopping, against scikit-learn's solver."""

import copy

import numpy as np
import pytest
import torch
from evaluate_helpers import features_of, made_task
from torch.nn import functional

from aasp_features.train.evaluate import linear
from aasp_features.train.evaluate.classifier import Examples, logistic_regression, standardise
from aasp_features.train.evaluate.linear import Head, hold_out, linear_layer, new_layer, train_heads
from aasp_features.train.evaluate.metrics import ACCURACY, MEAN_AVERAGE_PRECISION, accuracy

pytestmark = pytest.mark.usefixtures("few_epochs")


def examples(strength: float, seed: int, clips: int = 600) -> Examples:
    task = made_task(clips, 100)
    return Examples(standardise(features_of(task, strength, seed))[0], task.labels, task.groups)


def test_as_good_as_scikit_learns_solver() -> None:
    """On the same vectors; both are near the best linear rule, whose errors are the noise's."""
    train, test = examples(1.5, 0, 3000), examples(1.5, 1, 3000)
    ours = [accuracy(test.labels, scores) for scores in linear_layer(train, None, test.vectors, 3, ACCURACY)]
    (scores,) = logistic_regression(train, None, test.vectors, 3, ACCURACY)
    assert len(ours) == 3
    assert np.mean(ours) == pytest.approx(accuracy(test.labels, scores), abs=2.0)


def test_twice_is_once_and_seeds_differ() -> None:
    train, validation, test = examples(1.0, 0, 90), examples(1.0, 1, 60), examples(1.0, 2, 60).vectors
    one, again = (linear_layer(train, validation, test, 3, ACCURACY) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(one, again, strict=True))
    assert not np.array_equal(one[0], one[1])


def test_a_head_is_what_it_would_be_alone() -> None:
    """Each rate by PyTorch's own layer, loss and Adam; those that stop early wait for the others."""
    train, validation = examples(1.0, 0, 90), examples(1.0, 1, 60)
    together = train_heads(train, validation, 3, ACCURACY, 42)
    alone = [train_alone(train, validation, place) for place in range(len(linear.RATES))]
    best = max(alone, key=lambda head: head.best_value)
    torch.testing.assert_close(together.weight, best.best_layer().weight, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.bias, best.best_layer().bias, rtol=0, atol=1e-5)


def train_alone(train: Examples, validation: Examples, place: int) -> Head:
    """The loop of ``train_heads`` written out for one head."""
    generator = torch.Generator().manual_seed(42)
    layers = [new_layer(train.vectors.shape[1], 3, generator) for _ in linear.RATES]  # all draw in turn
    head = Head(linear.RATES[place], layers[place])
    optimizer = torch.optim.Adam(head.layer.parameters(), head.rate, weight_decay=linear.DECAY)
    vectors, labels = torch.from_numpy(train.vectors).float(), torch.from_numpy(train.labels)
    held = torch.from_numpy(validation.vectors).float()
    for epoch in range(linear.EPOCHS):
        order = torch.randperm(len(vectors), generator=generator)
        if epoch - head.best_epoch <= linear.PATIENCE:
            for batch in order.split(linear.BATCH):
                optimizer.zero_grad()
                functional.cross_entropy(head.layer(vectors[batch]), labels[batch]).backward()
                optimizer.step()
            head.judge(held, validation.labels, ACCURACY, epoch)
    return head


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_total_loss_gives_each_layer_its_own_gradient(multi_label: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [new_layer(8, 3, generator) for _ in range(4)]
    vectors = torch.randn(7, 8, generator=generator)
    labels = torch.rand(7, 3, generator=generator) > 0.5 if multi_label else torch.arange(7) % 3
    linear.total_loss(layers, vectors, labels).backward()
    for layer in layers:
        found = layer.weight.grad
        layer.weight.grad = None
        if multi_label:
            functional.binary_cross_entropy_with_logits(layer(vectors), labels.float()).backward()
        else:
            functional.cross_entropy(layer(vectors), labels).backward()
        torch.testing.assert_close(found, layer.weight.grad)


def test_the_best_weights_are_kept_and_ties_are_later() -> None:
    head = Head(1e-3, new_layer(4, 3, torch.Generator().manual_seed(0)))
    values, kept = iter([1.0, 3.0, 2.0, 3.0, 2.9]), []
    metric = ACCURACY._replace(value=lambda labels, scores: next(values))
    vectors, labels = torch.randn(20, 4), torch.arange(20) % 3
    for epoch in range(5):
        with torch.no_grad():
            head.layer.weight += 1
        kept.append(copy.deepcopy(head.layer.weight))
        head.judge(vectors, labels.numpy(), metric, epoch)
    assert (head.best_value, head.best_epoch) == (3.0, 3)
    assert torch.equal(head.best_layer().weight, kept[3])


def test_a_tenth_is_held_out_with_whole_groups() -> None:
    train = examples(1.0, 0, 300)
    kept, held = hold_out(train, 42)
    assert not set(kept.groups) & set(held.groups)
    assert len(set(held.groups)) == 10
    assert len(kept.labels) + len(held.labels) == 300


def test_several_labels() -> None:
    task = made_task(300, 100)
    (vectors,) = standardise(features_of(task, 30.0))
    multi_label = np.stack([task.labels == 0, task.labels != 1, task.labels == 2], axis=1)
    for scores in linear_layer(Examples(vectors, multi_label, task.groups), None, vectors, 3, MEAN_AVERAGE_PRECISION):
        assert MEAN_AVERAGE_PRECISION.value(multi_label, scores) > 99


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_as_on_the_cpu() -> None:
    train, validation, test = examples(1.0, 0, 90), examples(1.0, 1, 60), examples(1.0, 2, 60).vectors
    gpu, cpu = (linear_layer(train, validation, test, 3, ACCURACY, torch.device(name)) for name in ("cuda", "cpu"))
    np.testing.assert_allclose(gpu, cpu, atol=1e-2)
