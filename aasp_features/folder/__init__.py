"""Folders of sounds -> vectors on disk: what ``aasp-embed`` does, as functions.

Names are loaded on first use, so that what needs no torch does not load it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aasp_features.folder.local_engine import LocalEngine
    from aasp_features.folder.map_page import MapError, write_map
    from aasp_features.folder.options import RunOptions
    from aasp_features.folder.output import OutputError
    from aasp_features.folder.predictions import predict_run
    from aasp_features.folder.ray_engine import RayEngine
    from aasp_features.folder.run import AllFailedError, InterruptedRun, RunResult, WriteError, embed_sounds
    from aasp_features.sounds.discovery import Discovery, NothingFoundError, find_sounds
    from aasp_features.sounds.lists import read_list

_HOME_OF = {
    "AllFailedError": "folder.run",
    "Discovery": "sounds.discovery",
    "InterruptedRun": "folder.run",
    "LocalEngine": "folder.local_engine",
    "MapError": "folder.map_page",
    "NothingFoundError": "sounds.discovery",
    "OutputError": "folder.output",
    "RayEngine": "folder.ray_engine",
    "RunOptions": "folder.options",
    "RunResult": "folder.run",
    "WriteError": "folder.run",
    "embed_sounds": "folder.run",
    "find_sounds": "sounds.discovery",
    "predict_run": "folder.predictions",
    "read_list": "sounds.lists",
    "write_map": "folder.map_page",
}

__all__ = [
    "AllFailedError",
    "Discovery",
    "InterruptedRun",
    "LocalEngine",
    "MapError",
    "NothingFoundError",
    "OutputError",
    "RayEngine",
    "RunOptions",
    "RunResult",
    "WriteError",
    "embed_sounds",
    "find_sounds",
    "predict_run",
    "read_list",
    "write_map",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'aasp_features.folder' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"aasp_features.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
