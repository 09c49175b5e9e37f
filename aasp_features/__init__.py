"""Vectors from sound: the aliasing-aware audio spectrogram transformer AaSP, inference first.

Names are loaded on first use, so that importing the package (and printing a command's help) costs no torch.
"""

from typing import TYPE_CHECKING, Any

from aasp_features.version import __version__

if TYPE_CHECKING:
    from aasp_features.audio.reading import AudioError, load_audio
    from aasp_features.classifier import AaSPClassifier, FramePredictions, Prediction
    from aasp_features.config import AaSPConfig
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.errors import AaSPError, CheckpointError, OptionError
    from aasp_features.events import Event
    from aasp_features.inference import FrameEmbeddings, VectorError
    from aasp_features.inputs import InputError
    from aasp_features.model.log_mel import LogMel

_HOME_OF = {
    "AaSPClassifier": "classifier",
    "AaSPConfig": "config",
    "AaSPEncoder": "encoder",
    "AaSPError": "errors",
    "AudioError": "audio.reading",
    "CheckpointError": "errors",
    "Event": "events",
    "FrameEmbeddings": "inference",
    "FramePredictions": "classifier",
    "InputError": "inputs",
    "LogMel": "model.log_mel",
    "OptionError": "errors",
    "Prediction": "classifier",
    "VectorError": "inference",
    "load_audio": "audio.reading",
}

__all__ = [
    "AaSPClassifier",
    "AaSPConfig",
    "AaSPEncoder",
    "AaSPError",
    "AudioError",
    "CheckpointError",
    "Event",
    "FrameEmbeddings",
    "FramePredictions",
    "InputError",
    "LogMel",
    "OptionError",
    "Prediction",
    "VectorError",
    "__version__",
    "load_audio",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'aasp_features' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"aasp_features.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
