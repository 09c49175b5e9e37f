"""The recipe ``base``: 86 million parameters of the encoder, crops of 10 s and 16 masked views of each.

The paper gives none of these numbers publicly. From the code of EAT, its nearest relative, are the size of the encoder,
crops, views, shown and target tokens, batch, steps, learning rate, weight decay, and momentum. Predictor, contrast,
``query_fraction``, warm-up and clipping are ours.
"""

from aasp_features.train.recipe import DataSettings, ModelSettings, PretrainRunSettings, Recipe, Stage

RECIPE = Recipe(
    name="base",
    model=ModelSettings(size="base"),
    data=DataSettings(stages=[Stage(until=1.0, columns=64, sounds=48)]),
    run=PretrainRunSettings(steps=400_000),
)
