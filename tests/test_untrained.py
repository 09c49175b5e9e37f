"""Random weights warn once; weights that came from anywhere do not."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import noise

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.untrained import UntrainedCheck

CONFIG = AaSPConfig.tiny(depth=1)
SOUND = noise(4000)


def warned(call: Callable[[], object]) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    for warning in caught:
        assert "weights are random; its vectors are those of an untrained network" in str(warning.message)
    return len(caught)


@pytest.mark.parametrize("call", ["embed", "embed_frames", "encode", "stream"])
def test_random_weights_warn_at_the_first_call_only(call: str) -> None:
    encoder = AaSPEncoder(CONFIG)
    first = encoder.stream if call == "stream" else lambda: getattr(encoder, call)(SOUND)
    assert warned(first) == 1
    assert warned(lambda: encoder.embed(SOUND)) == 0
    assert warned(lambda: AaSPEncoder(CONFIG).embed(SOUND)) == 1  # each encoder for itself


def test_copies_are_as_untrained() -> None:
    encoder = AaSPEncoder(CONFIG)
    for copied in [copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))]:
        assert warned(lambda copied=copied: copied.embed(SOUND)) == 1


def test_weights_that_came_in_do_not_warn(checkpoint: Path) -> None:
    loaded, other = AaSPEncoder.from_pretrained(checkpoint), AaSPEncoder.from_pretrained(checkpoint)
    assert warned(lambda: loaded.embed(SOUND)) == 0
    filled = AaSPEncoder(loaded.config)
    filled.load_state_dict(other.state_dict())
    assert warned(lambda: filled.embed(SOUND)) == 0
    trained = AaSPEncoder(CONFIG).requires_grad_(True)
    optimizer = torch.optim.AdamW([*trained.network.blocks.parameters()], 1e-3)
    trained(torch.from_numpy(SOUND)[None]).square().sum().backward()
    optimizer.step()
    assert warned(lambda: trained.embed(SOUND)) == 0


def test_forward_is_for_training_and_says_nothing() -> None:
    assert warned(lambda: AaSPEncoder(CONFIG)(torch.from_numpy(SOUND)[None])) == 0


def test_networks_without_memory_are_not_asked() -> None:
    with torch.device("meta"):
        network = torch.nn.Linear(2, 2)
    check = UntrainedCheck(network)
    assert warned(lambda: check.warn_once(network)) == 0
