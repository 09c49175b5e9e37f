"""``tiny`` on one GPU for half an hour: the same objective as ``tiny_cpu``, longer crops and larger batches."""

from aasp_features.train.recipe import Recipe, Stage

RECIPE = Recipe(
    name="tiny_gpu",
    size="tiny",
    steps=40_000,
    stages=[Stage(until=0.8, columns=12, clips=128), Stage(until=1.0, columns=64, clips=48)],
    crops=2,
    views=2,
    query_fraction=0.3,
    target_layers=8,
    predictor_depth=3,
    contrast_weight=1.0,
    contrast_on="mean",
    mix_probability=0.5,
    gain_db=6.0,
    learning_rate=1e-3,
    warm_up=0.03,
    momentum_start=0.996,
    momentum_end=0.9999,
    save_seconds=120.0,
)
