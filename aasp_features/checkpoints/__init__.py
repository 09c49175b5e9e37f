"""The checkpoints that ship with the package; importing this needs no torch."""

from __future__ import annotations

from pathlib import Path

from aasp_features.contents import sha256
from aasp_features.errors import CheckpointError

BUNDLED = {  # name: sha256 of the weights and of the config
    "aasp-tiny-open-3": (
        "ce0a97490d0d1826dc62e3404c7ea68295eb3cbd02b27cd584bedb1ff8e787fd",
        "9efec197085decf6960151ddd688625004aecf9034edb95d228490b9a7db03ae",
    ),
    "aasp-tiny-pack-1": (
        "f88d9dab42c5723742f1618c90507336b4018e1999cd3c30062c03cf7186dd47",
        "d09aa03baf18263b9ecef26fcbe8fc4c65c1ab68ee45934db54b2711cd9eabc6",
    ),
}
DEFAULT = "aasp-tiny-open-3"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


def list_checkpoints() -> list[str]:
    """Return the names of the checkpoints that ship with the package, for ``from_pretrained``; the default first."""
    return [*BUNDLED]


def bundled_folder(name: str = DEFAULT) -> Path:
    """Return the folder of a checkpoint in this package, the sha256 of its weights and config verified.

    Args:
        name: one of ``BUNDLED``.

    Raises:
        CheckpointError: it is missing or was changed.
    """
    folder = Path(__file__).parent / name
    for file, expected in zip((WEIGHTS_FILE, CONFIG_FILE), BUNDLED[name], strict=True):
        there = (folder / file).is_file()
        if not there or sha256(folder / file) != expected:
            fault = "was changed" if there else "is missing"
            raise CheckpointError(f"{file} of the bundled checkpoint {name} {fault}; install aasp-features again.")
    return folder
