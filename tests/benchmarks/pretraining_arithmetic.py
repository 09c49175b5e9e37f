"""Arithmetic of a pre-training step by part, for query fractions 1 and 0.3; nothing is computed.

``python tests/benchmarks/pretraining_arithmetic.py``
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.losses import frame_loss
from aasp_features.train.pretrain.objective import EncodedViews, Objective
from aasp_features.train.recipes import load_recipe

META = torch.device("meta")


def count(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and GFLOP."""
    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, counter.get_total_flops() / 1e9


def arithmetic(recipe: str, columns: int, fraction: float) -> dict[str, float]:
    """GFLOP for one crop: the teacher's forward pass, both passes of student and predictor."""
    with META:
        objective = Objective(load_recipe(recipe, [f"masking.query_fraction={fraction}"]))
    zero = torch.zeros(1, dtype=torch.long, device=META)
    batch = Batch(torch.empty(1, 16 * columns, 128, device=META), torch.tensor([16 * columns]), zero, zero)
    masks = objective.draw_masks(batch, torch.Generator())
    targets, teacher = count(lambda: objective.ema_teacher(batch))
    views, student = count(lambda: objective.encode_visible(batch, masks.visible))
    read = EncodedViews(views.output.detach().requires_grad_(), views.valid, views.key_mask)

    def predict() -> None:
        predicted = objective.predict_masked(batch, read, masks)
        frame_loss(predicted, masks.queried.gather(targets.frame), masks.queried.valid).backward()

    _, predictor = count(predict)
    _, backward = count(lambda: views.output.backward(torch.empty_like(views.output)))
    return {"teacher": teacher, "student": student + backward, "predictor": predictor}


def main() -> None:
    for recipe, columns in (("base", 64), ("tiny_cpu", 12), ("tiny_cpu", 64)):
        for fraction in (1.0, 0.3):
            parts = arithmetic(recipe, columns, fraction)
            told = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
            print(
                f"{recipe}, {columns} columns, query_fraction {fraction}: {told}, sum {sum(parts.values()):.1f} GFLOP"
            )


if __name__ == "__main__":
    with mock.patch.object(torch, "autocast", return_value=nullcontext()):  # the meta device has none
        main()
