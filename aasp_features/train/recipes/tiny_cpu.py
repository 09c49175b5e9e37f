"""``tiny`` on a few hours of audio and a few hours of CPU: short crops first, whole windows last."""

from aasp_features.train.recipe import Recipe, Stage

RECIPE = Recipe(
    name="tiny_cpu",
    size="tiny",
    steps=4000,
    stages=[Stage(until=0.88, columns=12, clips=48), Stage(until=1.0, columns=64, clips=16)],
    crops=2,
    views=2,
    query_fraction=0.3,
    target_layers=8,
    predictor_depth=3,
    weights={"frame": 1.0, "utterance": 1.0, "contrast": 1.0},
    contrast_on="mean",
    mix_probability=0.5,
    gain_db=6.0,
    learning_rate=1e-3,
    warm_up=0.06,
    momentum_start=0.996,
    momentum_end=0.9995,
)
