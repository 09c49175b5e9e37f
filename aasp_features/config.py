"""AaSPConfig: architecture, front end, statistics, windows and pooling of one encoder, as strict JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as short  # of values that may be of any size or depth
from typing import Any, Literal, NoReturn, get_args

from aasp_features.errors import AaSPError
from aasp_features.version import __version__

PatchEmbedKind = Literal["aape", "conv", "lowpass"]
Kernel = Literal["quadrature", "even", "one_sided"]
FeatureSet = Literal["complex", "modulus", "both"]
Pooling = Literal["mean", "cls", "mean+cls", "mean+std", "frequency", "frequency+std"]
Precision = Literal["float32", "bfloat16"]

CHOICES: dict[str, tuple[Any, ...]] = {
    "sample_rate": (16000,),
    "mels": (128,),
    "fft_length": (512, 1024),
    "patch_embed": get_args(PatchEmbedKind),
    "kernel": get_args(Kernel),
    "features": get_args(FeatureSet),
    "pooling": get_args(Pooling),
}

LIMITS: dict[str, tuple[float, float]] = {  # far beyond every network that is known, so that no config fills a memory
    "mean": (-100, 100),  # a log-mel of sound in +-1 lies between -16 and 12
    "std": (1e-3, 100),
    "dim": (4, 8192),
    "depth": (1, 128),
    "heads": (1, 256),
    "mlp_ratio": (1, 16),
    "states": (1, 256),
    "lambda_hidden": (1, 8192),
    "lowpass_cutoff": (1e-3, 49.999),  # Hz of modulation; frames are sampled at 100 Hz
    "lowpass_taps": (49, 4095),
    "window": (1, 1024),  # 164 s
    "context": (0, 511),
    "last_layers": (1, 128),
}
MAX_PARAMETERS = 2**30  # 4 GiB in float32; `base` has 86 million
MAX_JSON = 65536  # characters; a config has 700
MAX_NAME = 200

FRAME_LENGTH = 400  # samples: 25 ms at 16 kHz
FRAME_HOP = 160  # samples: 10 ms at 16 kHz
PATCH = 16  # frames, and mel bands, on a side of one patch
VARIANCE_FLOOR = 1e-12  # under the root of the +std poolings, so that it has a slope where nothing varies


class ConfigError(AaSPError, ValueError):
    """Raised for a config that is not accepted; the sentence names the value and says what is."""


@dataclass(frozen=True, kw_only=True)
class AaSPConfig:
    """Everything that defines an encoder but its weights.

    Attributes:
        name: the checkpoint's name, ``aasp-<size>-<corpus>-<n>``.
        sample_rate, mels: fixed by the method (16 kHz, 128 Kaldi mel bands).
        fft_length: points of the FFT under the 400-sample window (512 as in Kaldi, or 1,024).
        mean, std: of the training corpus' log-mel; the front end returns ``(X - mean) / std``.
        dim, depth, heads, mlp_ratio: the transformer's width, blocks, attention heads and MLP expansion.
        patch_embed: ``aape`` (paper), ``conv`` (plain 16 x 16 patches) or ``lowpass`` (filtered, then patches).
        states: complex exponentials per patch, S in the paper's equation (1).
        lambda_hidden: hidden width of the Lambda Encoder.
        kernel, features, remove_mean: form of the alias branch (design of AaPE; see ``patch_embed.py``).
        lowpass_cutoff, lowpass_taps: of the ``lowpass`` variant, in Hz of modulation and in frames.
        window, context: columns of one window of a long clip, and of its overlap on each side.
        pooling, last_layers: how tokens become vectors by default, and of how many blocks, from the last, the average.

    Raises:
        ConfigError: a value outside what is accepted, in one sentence.
    """

    name: str = "aasp-untrained"
    sample_rate: int = 16000
    mels: int = 128
    fft_length: int = 1024
    mean: float = -8.0
    std: float = 4.5
    dim: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: int = 4
    patch_embed: PatchEmbedKind = "aape"
    states: int = 16
    lambda_hidden: int = 64
    kernel: Kernel = "quadrature"
    features: FeatureSet = "both"
    remove_mean: bool = True
    lowpass_cutoff: float = 3.125
    lowpass_taps: int = 65
    window: int = 64
    context: int = 8
    pooling: Pooling = "frequency"
    last_layers: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field, getattr(self, field.name))
        for name, accepted in CHOICES.items():
            if getattr(self, name) not in accepted:
                raise ConfigError(f"config: {name}={short(getattr(self, name))} is not one of {accepted}.")
        for name, (least, most) in LIMITS.items():
            if not least <= getattr(self, name) <= most:
                value = short(getattr(self, name))
                raise ConfigError(f"config: {name} must be {least:g} to {most:g}, got {value}.")
        if not (1 <= len(self.name) <= MAX_NAME and self.name.isprintable()):
            raise ConfigError(f"config: name must be 1 to {MAX_NAME} printable characters, got {short(self.name)}.")
        if self.dim % self.heads or self.dim % 4:
            raise ConfigError(f"config: dim must be a multiple of heads and of 4, got {self.dim}/{self.heads}.")
        if 2 * self.context >= self.window:
            raise ConfigError(f"config: context must leave columns in the window, got {self.context}/{self.window}.")
        if self.last_layers > self.depth:
            raise ConfigError(f"config: last_layers must be at most depth={self.depth}, got {self.last_layers}.")
        if self.lowpass_taps % 2 == 0:
            raise ConfigError(f"config: lowpass_taps must be odd, got {self.lowpass_taps}.")
        if self.num_parameters > MAX_PARAMETERS:
            raise ConfigError(
                f"config: a network of {self.num_parameters} parameters; at most {MAX_PARAMETERS} are accepted."
            )

    @property
    def num_parameters(self) -> int:
        """Size of the network, about: blocks, positions, patch embedding."""
        blocks = self.depth * (4 + 2 * self.mlp_ratio) * self.dim**2
        alias = self.lambda_hidden * (PATCH**2 + 2 * self.states) + 3 * self.states * self.dim
        return blocks + (PATCH**2 + self.window * self.rows) * self.dim + alias

    @property
    def rows(self) -> int:
        """Patches along frequency: 8."""
        return self.mels // PATCH

    @property
    def embedding_dim(self) -> int:
        """Numbers in one clip vector under the default pooling."""
        return pooled_dim(self.dim, self.rows, self.pooling)

    @classmethod
    def tiny(cls, **changes: Any) -> AaSPConfig:
        """Return a config that is 192 wide, 12 blocks, 3 heads: 5.5 million parameters."""
        return cls(**{"dim": 192, "heads": 3, "lambda_hidden": 64, **changes})

    @classmethod
    def small(cls, **changes: Any) -> AaSPConfig:
        """Return a config that is 384 wide, 12 blocks, 6 heads: 22 million parameters."""
        return cls(**{"dim": 384, "heads": 6, "lambda_hidden": 128, **changes})

    @classmethod
    def base(cls, **changes: Any) -> AaSPConfig:
        """Return a config that is 768 wide, 12 blocks, 12 heads: 86 million parameters, those of ViT-B."""
        return cls(**{"dim": 768, "heads": 12, "lambda_hidden": 128, **changes})

    def replace(self, **changes: Any) -> AaSPConfig:
        """Return a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Return the config as indented JSON, with the version of the package that wrote it."""
        values = {"model_type": "aasp", "package_version": __version__, **dataclasses.asdict(self)}
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> AaSPConfig:
        """Read what ``to_json`` wrote; every key must be known and present, every type right.

        Raises:
            ConfigError: not JSON, another model's config, unknown or missing keys, values not accepted.
        """
        try:
            values = read_json(text, MAX_JSON)
        except ValueError as error:
            raise ConfigError(f"config: not valid JSON ({error}).") from error
        if not isinstance(values, dict) or values.pop("model_type", None) != "aasp":
            raise ConfigError('config: not an AaSP config (no "model_type": "aasp").')
        values.pop("package_version", None)
        values = with_current_keys(values)
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"config: unknown keys {short(unknown)}; is the package older than the checkpoint?")
        if missing := sorted(known - set(values)):
            raise ConfigError(f"config: missing keys {missing}.")
        return cls(**values)


def with_current_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a ``config.json``, whose ``layers`` is called ``last_layers`` today."""
    return {"last_layers" if key == "layers" and "last_layers" not in values else key: values[key] for key in values}


def read_json(text: str | bytes, max_length: int) -> Any:
    """Read JSON that anybody may have written.

    Args:
        text: UTF-8 if bytes.
        max_length: characters or bytes that are accepted.

    Raises:
        ValueError: too long, not JSON (NaN and Infinity are not), nested too deeply, a key twice in one object; the
            message has no full stop.
    """
    if len(text) > max_length:
        raise ValueError(f"longer than the {max_length} bytes that it may have")
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(decoded, object_pairs_hook=_unique, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key[:40]!r} stands there twice")
        values[key] = value
    return values


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no number")


def pooled_dim(dim: int, rows: int, pooling: Pooling) -> int:
    """Return the numbers in one clip vector: D, or rows x D; twice as many with [CLS] or deviations appended."""
    return frame_dim(dim, rows, pooling) * (2 if "+" in pooling else 1)


def frame_dim(dim: int, rows: int, pooling: Pooling) -> int:
    """Return the numbers in one frame's vector: rows x D where the pooling keeps frequencies apart, else D."""
    return rows * dim if pooling.startswith("frequency") else dim


def _check_type(field: dataclasses.Field[Any], value: object) -> None:
    wanted: tuple[type, ...] = {"int": (int,), "float": (int, float), "bool": (bool,)}.get(str(field.type), (str,))
    is_boolean = isinstance(value, bool)
    if not isinstance(value, wanted) or (is_boolean and field.type != "bool"):
        raise ConfigError(f"config: {field.name} must be {field.type}, got {short(value)}.")
