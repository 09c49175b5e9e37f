"""The recipe ``tiny_cpu``: a few hours of audio and of CPU time, short crops first and whole windows last."""

from aasp_features.train.recipe import (
    DataSettings,
    MaskingSettings,
    ModelSettings,
    ObjectiveSettings,
    OptimizerSettings,
    PretrainRunSettings,
    Recipe,
    Stage,
)

RECIPE = Recipe(
    name="tiny_cpu",
    model=ModelSettings(size="tiny"),
    data=DataSettings(
        stages=[Stage(until=0.88, columns=12, sounds=48), Stage(until=1.0, columns=64, sounds=16)],
        crops=2,
        mix_probability=0.5,
        gain_db=6.0,
    ),
    masking=MaskingSettings(views=2, query_fraction=0.3),
    objective=ObjectiveSettings(
        weights={"frame": 1.0, "clip": 1.0, "contrast": 1.0},
        target_layers=8,
        predictor_depth=3,
        contrast_on="mean",
        momentum_start=0.996,
        momentum_end=0.9995,
    ),
    optimizer=OptimizerSettings(learning_rate=1e-3, warm_up=0.06),
    run=PretrainRunSettings(steps=4000),
)
