"""A pre-training step against its networks alone, in both precisions.

``python tests/benchmarks/pretraining_step.py [--recipe tiny_cpu] [--device cpu]``
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from interleave import interleave

from aasp_features.train.data.cached import CachedCorpus
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.recipes import load_recipe
from aasp_features.train.run.precision import autocast


def networks_alone(run: Pretraining, precision: str) -> Callable[[], None]:
    """Teacher forward, student forward and backward on visible tokens, predictor: no data, losses or optimiser."""
    objective = run.objective
    batch, generator = run.crops.batch(0, run.done_before)
    batch = batch.to(run.device)
    masks = objective.draw_masks(batch, generator)

    def step() -> None:
        with autocast(run.device, precision):
            objective.ema_teacher(batch)
            views = objective.encode_visible(batch, masks.visible)
            predicted = objective.predict_masked(batch, views, masks)
        predicted.float().square().mean().backward()
        objective.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipe", default="tiny_cpu")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    frames = torch.randint(100, 1500, (400,))
    log_mel = torch.randn(int(frames.sum()), 128).half()
    corpus = CachedCorpus(log_mel, frames.cumsum(0) - frames, frames, -6.0, 4.5).to(torch.device(arguments.device))
    print("| precision | side | seconds | ratio to the networks alone | crops/s |\n|---|---|---|---|---|")
    for precision in ("float32", "bfloat16"):
        with tempfile.TemporaryDirectory() as folder:
            recipe = load_recipe(arguments.recipe, [f"run.precision={precision}", "run.log_every=1000000"])
            run = Pretraining(CropSampler(corpus, recipe), Path(folder), torch.device(arguments.device))
            crops = run.recipe.data.stages[0].sounds * run.recipe.data.crops
            sides = {"networks alone": networks_alone(run, precision), "whole step": run.step}
            for name, timing in interleave(sides, arguments.rounds).items():
                print(f"| {precision} | {name} | {timing} | {crops / timing.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
