"""Vectors from sound: the aliasing-aware audio spectrogram transformer AaSP, inference first.

Names are loaded on first use, so that importing the package (and printing a command's help) costs no torch.
"""

from typing import TYPE_CHECKING, Any

from aasp_features.version import __version__ as __version__

if TYPE_CHECKING:
    from aasp_features.audio.reading import AudioError as AudioError
    from aasp_features.audio.reading import load_audio as load_audio
    from aasp_features.checkpoints import list_checkpoints as list_checkpoints
    from aasp_features.classifier import AaSPClassifier as AaSPClassifier
    from aasp_features.classifier import FramePredictions as FramePredictions
    from aasp_features.classifier import Prediction as Prediction
    from aasp_features.config import AaSPConfig as AaSPConfig
    from aasp_features.encoder import AaSPEncoder as AaSPEncoder
    from aasp_features.errors import AaSPError as AaSPError
    from aasp_features.errors import CheckpointError as CheckpointError
    from aasp_features.errors import OptionError as OptionError
    from aasp_features.events import Event as Event
    from aasp_features.inference import FrameEmbeddings as FrameEmbeddings
    from aasp_features.inference import VectorError as VectorError
    from aasp_features.inputs import InputError as InputError
    from aasp_features.model.log_mel import LogMel as LogMel
    from aasp_features.similarity import Hit as Hit
    from aasp_features.similarity import SearchError as SearchError
    from aasp_features.similarity import search as search

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
    "Hit": "similarity",
    "InputError": "inputs",
    "LogMel": "model.log_mel",
    "OptionError": "errors",
    "Prediction": "classifier",
    "SearchError": "similarity",
    "VectorError": "inference",
    "list_checkpoints": "checkpoints",
    "load_audio": "audio.reading",
    "search": "similarity",
}

__all__ = [*_HOME_OF, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'aasp_features' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"aasp_features.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
