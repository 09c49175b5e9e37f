"""``tiny`` from external teachers, on a CPU: every crop heard once by each of them, seen by the student many times."""

from aasp_features.train.recipe import Recipe

RECIPE = Recipe(
    name="tiny_distilled",
    size="tiny",
    steps=30_000,
    target_layers=8,
    predictor_depth=3,
    weights={"frame": 0.0, "utterance": 0.0, "contrast": 0.0, "mn04": 1.0, "speech": 1.0, "voice": 0.5, "log_mel": 0.5},
    learning_rate=1e-3,
    warm_up=0.02,
    hold=0.5,
    momentum_start=0.999,
    momentum_end=0.999,
)
