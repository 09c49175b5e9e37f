"""The gradient of a batch in parts is that of the whole."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from distillation_helpers import batch, generator, objective
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.train.pretrain.batch_parts import BatchParts, split
from aasp_features.train.recipes import load_recipe


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 9])
def test_losses_and_gradients_are_those_of_the_whole(parts: int) -> None:
    network, whole = objective(), batch([96, 40, 96, 5, 64], 6)
    losses = network(whole, generator())
    losses.total.backward()
    expected = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    assert any(gradient is None for gradient in expected.values())  # AaSP's own heads take no part
    network.zero_grad(set_to_none=True)
    found = BatchParts(network, parts).backward(whole, generator(), 0.0, "float32")
    torch.testing.assert_close(found.total, losses.total.detach())
    assert set(found.parts) == {"levels", "peaks"}
    for name, part in losses.parts.items():
        torch.testing.assert_close(found.parts[name], part.detach())
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert (parameter.grad is None) == (expected[name] is None), name
            if parameter.grad is not None:
                torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_twice_equals_once_where_columns_are_dropped(precision: str) -> None:
    network, whole = objective(), batch([96, 40, 96, 5, 64], 6)
    threads, gradients = BatchParts(network, 3), []
    for _ in range(20):
        threads.backward(whole, generator(), 0.5, precision)
        gradients.append([p.grad.clone() for p in network.student.parameters() if p.grad is not None])
    for again in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], again, strict=True))


def test_other_threads_keep_their_number() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        pool = BatchParts(objective(), 3)._pool
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == torch.get_num_threads() == 4
        assert set(pool.map(lambda _: torch.get_num_threads(), range(30))) == {1}
    finally:
        torch.set_num_threads(before)


@given(rows=st.integers(1, 12), parts=st.integers(1, 15))
def test_parts_are_the_rows_in_order(rows: int, parts: int) -> None:
    whole = batch([16 + row for row in range(rows)], 3)
    pieces = split(whole, parts)
    assert len(pieces) == min(rows, parts)
    sizes = [len(piece.frame_lengths) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    for field in ("log_mel", "frame_lengths", "first_column", "sound"):
        assert torch.equal(torch.cat([getattr(piece, field) for piece in pieces]), getattr(whole, field))
    for name, value in whole.features.items():
        assert torch.equal(torch.cat([piece.features[name] for piece in pieces]), value)


def test_not_with_aasps_own_losses() -> None:
    changes = ["distillation.teachers=some.yaml", "distillation.parts=2"]
    assert load_recipe("tiny_distilled", changes).distillation.parts == 2
    with pytest.raises(ValueError, match=r"distillation\.parts must be 1 with a frame, clip or contrast loss"):
        load_recipe("tiny_distilled", [*changes, "objective.weights.frame=1"])
