"""``tiny`` on one GPU for half an hour: ``tiny_cpu`` with larger batches, and whole windows for longer."""

from dataclasses import replace

from aasp_features.train.recipe import Stage
from aasp_features.train.recipes import tiny_cpu

RECIPE = replace(
    tiny_cpu.RECIPE,
    name="tiny_gpu",
    steps=40_000,
    stages=[Stage(until=0.8, columns=12, clips=128), Stage(until=1.0, columns=64, clips=48)],
    warm_up=0.03,
    momentum_end=0.9999,
    save_seconds=120.0,
)
