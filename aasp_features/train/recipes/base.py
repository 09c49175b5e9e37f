"""``base``, the paper's size class: 10 s crops, 16 masked views. Its batch size and steps are our choice."""

from aasp_features.train.recipe import Recipe, Stage

RECIPE = Recipe(name="base", size="base", steps=400_000, stages=[Stage(until=1.0, columns=64, clips=48)])
