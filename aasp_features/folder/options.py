"""Options of a run, and the same with every default filled in; no torch at import."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from aasp_features.audio.reading import MAX_HOURS, check_hours
from aasp_features.config import AaSPConfig, Pooling, frame_dim, pooled_dim
from aasp_features.errors import OptionError
from aasp_features.folder.segments import check_segment
from aasp_features.options import EmbedOptions, check_choice, check_count
from aasp_features.version import __version__
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

if TYPE_CHECKING:
    from aasp_features.encoder import AaSPEncoder

Dtype = Literal["float32", "float16"]
DECIDE_NO_ROW = ("width", "threads", "checkpoint", "checkpoint_sha256")  # the weights' values count, not their file


@dataclass(frozen=True)
class RunOptions:
    """Options that decide what is written; everything else decides only how fast.

    Attributes:
        pooling, last_layers, batch_size, window, context: as in ``AaSPEncoder.embed``.
        frames: vectors along time, ``hop`` seconds apart, instead of one for each sound.
        dtype: ``float32`` or ``float16``, of the written vectors.
        normalize: scale every vector to length 1.
        max_hours: of a sound; a longer one is an error.
        segment: seconds; a vector for each piece of so much of a sound, instead of one for each sound.
        overlap: of one segment with the next, in seconds.

    Raises:
        OptionError: a hop, dtype, segment or number of hours that is not accepted.
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
    max_hours: float = MAX_HOURS
    segment: float | None = None
    overlap: float = 0.0

    def __post_init__(self) -> None:
        grid_offsets(self.hop)
        if self.hop != COLUMN_SECONDS and not self.frames:
            raise OptionError("needs frames: it is the distance between them.", option="hop")
        check_choice("dtype", self.dtype, Dtype)
        check_count("last_layers", self.last_layers)
        check_count("batch_size", self.batch_size)
        check_hours(self.max_hours)
        check_segment(self.segment, self.overlap, self.frames)

    def resolve(self, encoder: AaSPEncoder, device: str) -> RunSettings:
        """Return everything that decides the written bytes, except the sounds.

        Args:
            encoder: that computes the vectors.
            device: kind of device that will.

        Raises:
            OptionError: a choice that the encoder does not accept.
        """
        import torch

        names = ("pooling", "last_layers", "batch_size", "window", "context")
        embed = encoder.options(device, **{name: getattr(self, name) for name in names})
        config = encoder.config
        return RunSettings(
            options=self,
            embed=embed,
            checkpoint=config.name,
            checkpoint_sha256=encoder.sha256,
            config_sha256=config_sha256(config),
            weights_sha256=weights_sha256(encoder),
            compiled=encoder.compiled,
            aasp_features=__version__,
            torch=torch.__version__,
            device=device,
            threads=torch.get_num_threads(),
            width=(frame_dim if self.frames else pooled_dim)(config.dim, config.rows, embed.pooling),
        )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides a run's bytes except the sounds; two equal ones give equal bytes.

    Attributes:
        options: as they were asked for.
        embed: options of the vectors, with defaults filled in.
        checkpoint_sha256: of the weights' file; None where there is none.
        config_sha256, weights_sha256: of the encoder's config and weights in memory.
        threads: of torch; another number may change last bits, but a run continues with any.
        width: numbers in a row.
    """

    options: RunOptions
    embed: EmbedOptions
    checkpoint: str
    checkpoint_sha256: str | None
    config_sha256: str
    weights_sha256: str
    compiled: bool
    aasp_features: str
    torch: str
    device: str
    threads: int
    width: int

    @property
    def offsets(self) -> range:
        """Offsets of the passes over each sound, in frames."""
        return grid_offsets(self.options.hop)

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the rows, flat and plain."""
        values = {name: value for name, value in asdict(self).items() if name not in DECIDE_NO_ROW}
        return {**values.pop("options"), **values.pop("embed"), **values}


def config_sha256(config: AaSPConfig) -> str:
    """Return the sha256 of what a config decides beside ``EmbedOptions``: not its name, and -8 is -8.0."""
    elsewhere = {"name", *(field.name for field in fields(EmbedOptions))}
    values = {name: value for name, value in asdict(config).items() if name not in elsewhere}
    plain = {name: float(value) if isinstance(value, int) else value for name, value in values.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def weights_sha256(encoder: AaSPEncoder) -> str:
    """Return the sha256 of the weights' values, for any file, number format and device."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
