"""The recipe ``small``: ``base`` with a quarter of the parameters, for one GPU. All values are ours."""

from dataclasses import replace

from aasp_features.train.recipe import ModelSettings, Stage
from aasp_features.train.recipes.base import RECIPE as BASE

RECIPE = replace(
    BASE,
    name="small",
    model=ModelSettings(size="small"),
    data=replace(BASE.data, stages=[Stage(until=1.0, columns=64, sounds=64)]),
    masking=replace(BASE.masking, views=8),
    run=replace(BASE.run, steps=200_000),
)
