"""What a user may ask of a run, and the same with everything filled in; no torch at import."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from aasp_features.audio.reading import MOST_HOURS, check_hours
from aasp_features.config import AaSPConfig, Pooling, frame_dim, pooled_dim
from aasp_features.errors import OptionError
from aasp_features.options import EmbedOptions, check_choice, check_count
from aasp_features.version import __version__
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

if TYPE_CHECKING:
    from aasp_features.encoder import AaSPEncoder

Dtype = Literal["float32", "float16"]
PART_SECONDS = 580.0  # with the windows that overshoot it, at most ten minutes


@dataclass(frozen=True)
class RunOptions:
    """Options that decide what is written; everything else only decides how fast.

    Attributes:
        pooling, last_layers, batch_size, window, context: as in ``AaSPEncoder.embed``.
        frames: vectors along time instead of one for each sound; ``hop`` seconds apart.
        dtype: ``float32`` or ``float16``, of what is written.
        normalize: scale every vector to length 1.
        max_hours: of a sound; a longer one is an error.

    Raises:
        OptionError: a hop, dtype or number of hours that is not accepted.
    """

    pooling: Pooling | None = None
    last_layers: int | None = None
    batch_size: int | None = None
    window: int | None = None
    context: int | None = None
    frames: bool = False
    hop: float = COLUMN_SECONDS
    dtype: Dtype = "float32"
    normalize: bool = False
    max_hours: float = MOST_HOURS

    def __post_init__(self) -> None:
        grid_offsets(self.hop)
        if self.hop != COLUMN_SECONDS and not self.frames:
            raise OptionError("needs frames: it is the distance between them.", option="hop")
        check_choice("dtype", self.dtype, Dtype)
        check_count("last_layers", self.last_layers)
        check_count("batch_size", self.batch_size)
        check_hours(self.max_hours)

    def resolve(self, encoder: AaSPEncoder, device: str) -> RunSettings:
        """Everything that decides the bytes but the sounds.

        Args:
            encoder: that computes the vectors.
            device: kind of device that will.

        Raises:
            OptionError: a choice that the encoder does not accept.
        """
        import torch

        embed = encoder.options(
            device,
            pooling=self.pooling,
            last_layers=self.last_layers,
            batch_size=self.batch_size,
            window=self.window,
            context=self.context,
        )
        config = encoder.config
        return RunSettings(
            checkpoint=config.name,
            checkpoint_sha256=encoder.sha256,
            config_sha256=config_sha256(config),
            weights_sha256=weights_sha256(encoder),
            embed=embed,
            frames=self.frames,
            hop=self.hop,
            dtype=self.dtype,
            normalize=self.normalize,
            max_hours=self.max_hours,
            compiled=encoder.compiled,
            aasp_features=__version__,
            torch=torch.__version__,
            device=device,
            part_seconds=PART_SECONDS,
            threads=torch.get_num_threads(),
            width=(frame_dim if self.frames else pooled_dim)(config.dim, config.rows, embed.pooling),
        )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A run's options, filled in, with checkpoint, versions and device; two equal ones give equal bytes.

    Attributes:
        checkpoint_sha256: of the weights' file; None where there is none.
        config_sha256, weights_sha256: of what the encoder is now.
        part_seconds: of sound, after which work is committed, inside a sound or after one.
        threads: of torch; another number may change last bits, but a run goes on with any.
        width: numbers in a row.
    """

    checkpoint: str
    checkpoint_sha256: str | None
    config_sha256: str
    weights_sha256: str
    embed: EmbedOptions
    frames: bool
    hop: float
    dtype: Dtype
    normalize: bool
    max_hours: float
    compiled: bool
    aasp_features: str
    torch: str
    device: str
    part_seconds: float
    threads: int
    width: int

    @property
    def offsets(self) -> range:
        """Of the passes over each sound, in frames."""
        return grid_offsets(self.hop)

    def to_dict(self) -> dict[str, Any]:
        """What decides the rows, flat and plain; the width follows from the rest."""
        values = asdict(self)
        for name in (
            "width",
            "threads",
            "checkpoint",
            "checkpoint_sha256",
        ):  # the weights' values count, not their file
            del values[name]
        return {**values.pop("embed"), **values}


def config_sha256(config: AaSPConfig) -> str:
    """Of what a config decides beside ``EmbedOptions``; the checkpoint's name decides nothing, and -8 is -8.0."""
    elsewhere = {"name", *(field.name for field in fields(EmbedOptions))}
    values = {name: value for name, value in asdict(config).items() if name not in elsewhere}
    plain = {name: float(value) if isinstance(value, int) else value for name, value in values.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def weights_sha256(encoder: AaSPEncoder) -> str:
    """Of the weights' values, whatever they were stored as, wherever they came from and lie."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
