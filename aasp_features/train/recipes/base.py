"""The recipe ``base``: the paper's size, 10 s crops and 16 masked views; batch size and steps are ours."""

from aasp_features.train.recipe import DataSettings, ModelSettings, PretrainRunSettings, Recipe, Stage

RECIPE = Recipe(
    name="base",
    model=ModelSettings(size="base"),
    data=DataSettings(stages=[Stage(until=1.0, columns=64, sounds=48)]),
    run=PretrainRunSettings(steps=400_000),
)
