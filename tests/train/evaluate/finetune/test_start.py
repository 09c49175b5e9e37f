"""Where a run starts: the checkpoint's network, standardised vectors, and a probe."""

from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_helpers import CPU, examples_of, tiny_encoder, tones

from aasp_features.train.evaluate.finetune.start import empty_model, fit_start, some_of


def test_vectors_are_standardised_by_the_training_part(task_folder: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    examples = examples_of(task, encoder)
    model = empty_model(encoder, examples, CPU)
    fit_start(model, examples)
    vectors = encoder.embed([task.files[index] for index in examples.train])
    np.testing.assert_allclose(model.mean.numpy(), vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(model.std.numpy(), vectors.std(axis=0), atol=1e-5)
    assert not model.head.weight.any()
    for key, value in encoder.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[key], value)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.usefixtures("few_epochs")
def test_a_probe_knows_the_labels_already(task_folder: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    for held_out in (0.2, 0.0):
        examples = examples_of(task, encoder, network={"head": "probe"}, run={"held_out": held_out})
        model = empty_model(encoder, examples, CPU)
        fit_start(model, examples)
        vectors = torch.from_numpy(encoder.embed([task.files[index] for index in examples.train]))
        found = model.folded()(vectors).argmax(dim=1).numpy()
        assert np.mean(found == task.labels[examples.train]) > 0.95


def test_of_very_many_clips_some_are_enough() -> None:
    places = np.arange(5, 50_000)
    chosen = some_of(places, 0)
    assert len(set(chosen.tolist())) == 10_000
    assert (np.diff(chosen) > 0).all()
    assert some_of(places[:7], 0).tolist() == places[:7].tolist()
