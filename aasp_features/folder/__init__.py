"""Folders of sounds -> vectors on disk: the functions behind ``aasp-embed``.

Names are loaded on first use, so that importing the package does not load torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aasp_features.folder.local_engine import LocalEngine as LocalEngine
    from aasp_features.folder.map_page import MapError as MapError
    from aasp_features.folder.map_page import write_map as write_map
    from aasp_features.folder.options import RunOptions as RunOptions
    from aasp_features.folder.output import OutputError as OutputError
    from aasp_features.folder.predictions import predict_run as predict_run
    from aasp_features.folder.ray_engine import RayEngine as RayEngine
    from aasp_features.folder.results import Results as Results
    from aasp_features.folder.results import ResultsError as ResultsError
    from aasp_features.folder.results import read_results as read_results
    from aasp_features.folder.run import AllFailedError as AllFailedError
    from aasp_features.folder.run import InterruptedRun as InterruptedRun
    from aasp_features.folder.run import RunResult as RunResult
    from aasp_features.folder.run import WriteError as WriteError
    from aasp_features.folder.run import embed_sounds as embed_sounds
    from aasp_features.sounds.discovery import Discovery as Discovery
    from aasp_features.sounds.discovery import NothingFoundError as NothingFoundError
    from aasp_features.sounds.discovery import find_sounds as find_sounds
    from aasp_features.sounds.lists import read_list as read_list

_HOME_OF = {
    "AllFailedError": "folder.run",
    "Discovery": "sounds.discovery",
    "InterruptedRun": "folder.run",
    "LocalEngine": "folder.local_engine",
    "MapError": "folder.map_page",
    "NothingFoundError": "sounds.discovery",
    "OutputError": "folder.output",
    "RayEngine": "folder.ray_engine",
    "Results": "folder.results",
    "ResultsError": "folder.results",
    "RunOptions": "folder.options",
    "RunResult": "folder.run",
    "WriteError": "folder.run",
    "embed_sounds": "folder.run",
    "find_sounds": "sounds.discovery",
    "predict_run": "folder.predictions",
    "read_list": "sounds.lists",
    "read_results": "folder.results",
    "write_map": "folder.map_page",
}
__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'aasp_features.folder' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"aasp_features.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
