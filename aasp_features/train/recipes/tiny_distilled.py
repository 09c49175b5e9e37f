"""The recipe ``tiny_distilled``: distillation from external teachers on a CPU, with each teacher run once per crop."""

from aasp_features.train.recipe import ModelSettings, ObjectiveSettings, OptimizerSettings, PretrainRunSettings, Recipe

OWN = {"frame": 0.0, "clip": 0.0, "contrast": 0.0}

RECIPE = Recipe(
    name="tiny_distilled",
    model=ModelSettings(size="tiny"),
    objective=ObjectiveSettings(
        weights={**OWN, "mn04": 1.0, "speech": 1.0, "voice": 0.5, "log_mel": 0.5},
        target_layers=8,
        predictor_depth=3,
        momentum_start=0.999,
        momentum_end=0.999,
    ),
    optimizer=OptimizerSettings(learning_rate=1e-3, warm_up=0.02, hold=0.5),
    run=PretrainRunSettings(steps=30_000),
)
