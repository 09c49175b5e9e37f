"""``base``, the paper's size class: 10 s crops, 16 masked views. Its batch size and steps are our choice."""

from aasp_features.train.recipe import DataSettings, ModelSettings, Recipe, RunSettings, Stage

RECIPE = Recipe(
    name="base",
    model=ModelSettings(size="base"),
    data=DataSettings(stages=[Stage(until=1.0, columns=64, sounds=48)]),
    run=RunSettings(steps=400_000),
)
