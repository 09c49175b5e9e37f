"""Experiment trackers by name (tensorboard, wandb, mlflow, …), through accelerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aasp_features.errors import OptionError
from aasp_features.train.distributed import rank
from aasp_features.train.recipe import Recipe
from aasp_features.train.run.resume import flat_settings

Track = Callable[[dict[str, float]], None]


@contextmanager
def tracking(folder: Path, recipe: Recipe) -> Iterator[Track | None]:
    """Yield a function that sends a line of metrics to the recipe's tracker; None without one, and in other processes.

    The tracker's run, or project, is named like the run folder. Files go into that folder.

    Raises:
        OptionError: There is no such tracker, or its package is not installed.
    """
    name = recipe.run.tracker
    if not name or rank():
        yield None
        return
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(map(str, LOGGER_TYPE_TO_CLASS)))
            raise OptionError(f"recipe: run.tracker must be one of {known}, got {name!r}.")
        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind(folder.resolve().name, **({"logging_dir": folder} if kind.requires_logging_directory else {}))
        tracker.start()
    except ImportError as error:
        raise OptionError(f"recipe: run.tracker={name} needs more packages: pip install accelerate {name}.") from error
    settings = flat_settings(recipe.to_dict())
    tracker.store_init_configuration(
        {key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in settings.items()}
    )
    try:
        yield lambda line: tracker.log(line, step=int(line["step"]))
    finally:
        tracker.finish()
