"""The recipe ``tiny_gpu``: ``tiny_cpu`` for half an hour on one GPU, with larger batches and more whole windows."""

from dataclasses import replace

from aasp_features.train.recipe import Stage
from aasp_features.train.recipes.tiny_cpu import RECIPE as TINY_CPU

RECIPE = replace(
    TINY_CPU,
    name="tiny_gpu",
    data=replace(
        TINY_CPU.data,
        stages=[Stage(until=0.8, columns=12, sounds=128), Stage(until=1.0, columns=64, sounds=48)],
    ),
    objective=replace(TINY_CPU.objective, momentum_end=0.9999),
    optimizer=replace(TINY_CPU.optimizer, warm_up=0.03),
    run=replace(TINY_CPU.run, steps=40_000, save_seconds=120.0),
)
