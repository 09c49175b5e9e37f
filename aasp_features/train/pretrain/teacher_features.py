"""What the teachers say of every crop, on disk: computed once, kept in whole pieces, read for many epochs.

    FEATURES/plan.json            seed, settings of the crops, corpus, teachers: what the numbers depend on
    FEATURES/samples.i16 …        the corpus, decoded (``data/waveforms.py``)
    FEATURES/mn04/000012.npy      (PIECE, numbers) float16: piece 12 as this teacher hears it; then sha256 of all before

A file appears whole or not at all, so a maker that is killed loses the piece it was at, and goes on from there. A piece
is computed in the same batches whoever makes it, so its bytes do not depend on what happened in between.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.data.waveform_crops import PIECE, Cropper
from aasp_features.train.data.waveforms import Waveforms, load_waveforms
from aasp_features.train.distillation_settings import CropSettings
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, TeacherDescription, TeacherError
from aasp_features.train.whole_file import whole_file, write_atomically

PLAN_FILE = "plan.json"
NPY_HEADER, CHECKSUM = 128, 32  # bytes before and after a piece's numbers
NOT_FINITE = 0x7C00  # all bits of the exponent of a float16 that is NaN or infinite
AT_ONCE = 8 * 31_000  # samples that a teacher hears in one batch


class TeacherFeatures:
    """The features of one plan.

    Args:
        data: the corpus; see ``load_waveforms``.
        folder: of the features; made if need be.
        settings, seed: of the crops.
        teachers: whose features are kept here. Others' pieces, made under the same plan, stay.

    Raises:
        TrainError: the folder holds features of other crops, or of another teacher by the same name.
    """

    def __init__(
        self, data: Path, folder: Path, settings: CropSettings, seed: int, teachers: Sequence[TeacherDescription]
    ) -> None:
        self.data, self.folder, self.teachers = data, folder, list(teachers)
        self.settings, self.seed = settings, seed
        self.sounds: Waveforms = load_waveforms(data, folder)
        self.cropper = Cropper(self.sounds, settings, seed)
        self._check_plan()

    def _check_plan(self) -> None:
        crops = {"seed": self.seed, "settings": asdict(self.settings), "corpus": self.sounds.sha256, "piece": PIECE}
        path = self.folder / PLAN_FILE
        text, old = _read_plan(path) if path.is_file() else ("", {"crops": crops, "teachers": {}})
        if differing := [name for name in crops if old["crops"].get(name) != crops[name]]:
            seed = old["crops"].get("seed")
            instead = f", or distillation.seed={seed}" if differing == ["seed"] else ""
            raise TrainError(
                f"{self.folder} holds features of other crops ({', '.join(differing)} differ); give another folder"
                f"{instead}."
            )
        for teacher in self.teachers:
            if old["teachers"].setdefault(teacher.name, teacher.identity) != teacher.identity:
                raise TrainError(
                    f"{self.folder} holds features of another teacher named {teacher.name!r}; give another folder, or "
                    "call the new one differently."
                )
        if json.dumps(old, indent=1) != text:
            write_atomically(path, json.dumps(old, indent=1))

    def path(self, teacher: str, piece: int) -> Path:
        """Where a teacher's piece lies, or will."""
        return self.folder / teacher / f"{piece:06}.npy"

    def has(self, piece: int) -> bool:
        """Is a piece there, of every teacher?"""
        return all(self.path(teacher.name, piece).is_file() for teacher in self.teachers)

    def complete(self, known: int = 0) -> int:
        """The number of pieces that are there without a gap; ``known`` of them are not looked for again."""
        while self.has(known):
            known += 1
        return known

    def damaged(self, pieces: int) -> list[Path]:
        """Those of the first ``pieces`` that are there, but not as they were made; all of them are read.

        Pieces that an earlier version made have no checksum; they are damaged where they are cut or not finite.
        """
        paths = [self.path(teacher.name, piece) for teacher in self.teachers for piece in range(pieces)]
        return [path for path in paths if path.is_file() and not _is_whole(path)]

    def read(self, teacher: str, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """What a teacher said of some crops, (crops, numbers).

        Raises:
            TrainError: a piece is missing or damaged.
        """
        rows = [self._piece(teacher, int(n) // PIECE)[int(n) % PIECE].astype(np.float32) for n in numbers]
        return np.stack(rows)  # of copies: each view would keep a file open

    def _piece(self, teacher: str, piece: int) -> NDArray[np.float16]:
        try:  # nothing is kept open: a system gives a process fewer files than there are pieces
            return np.load(self.path(teacher, piece), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except Exception as error:  # numpy reads a header by Python's own tokenizer, which has errors of its own
            raise TrainError(
                f"{self.path(teacher, piece)} is damaged or missing; delete it, and it will be made again."
            ) from error

    def make(self, piece: int, teachers: Sequence[ExternalTeacher]) -> None:
        """Compute what is missing of a piece.

        Raises:
            TeacherError: a teacher failed on one of its crops.
        """
        crops = None
        for teacher in teachers:
            path = self.path(teacher.description.name, piece)
            if not path.is_file():
                if crops is None:
                    crops = [self.cropper.crop(number).waveform for number in range(piece * PIECE, (piece + 1) * PIECE)]
                try:
                    heard = hear_all(teacher, crops)
                except TeacherError as error:
                    first = piece * PIECE
                    raise TeacherError(f"{error} It was hearing crops {first} to {first + PIECE - 1}.") from error
                path.parent.mkdir(exist_ok=True)
                with whole_file(path) as temporary:
                    _write_piece(temporary, heard)


def _write_piece(path: Path, heard: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, heard)
    digest = hashlib.sha256(path.read_bytes()).digest()
    with path.open("ab") as file:
        file.write(digest)


def _is_whole(path: Path) -> bool:
    """Is this a piece as it was made? An earlier version's has no checksum: its header and its numbers must do."""
    content = path.read_bytes()
    columns, rest = divmod(len(content) - NPY_HEADER, 2 * PIECE)
    if rest == CHECKSUM:
        return hashlib.sha256(content[:-CHECKSUM]).digest() == content[-CHECKSUM:]
    if columns < 1 or rest:
        return False
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": (PIECE, columns)})
    bits = np.frombuffer(content, np.uint16, offset=NPY_HEADER)
    return content.startswith(header.getvalue()) and bool((bits & NOT_FINITE != NOT_FINITE).all())


def _read_plan(path: Path) -> tuple[str, dict[str, Any]]:
    """Its text, and what it says."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        plan = json.loads(text)
    except ValueError:
        plan = None
    if not isinstance(plan, dict) or not all(isinstance(plan.get(part), dict) for part in ("crops", "teachers")):
        raise TrainError(f"{path} is damaged; restore it, or give another folder.")
    return text, plan


def hear_all(teacher: ExternalTeacher, crops: Sequence[NDArray[np.float32]]) -> NDArray[np.float16]:
    """(crops, numbers): a teacher's features of crops of any lengths, each heard at its own length."""
    by_length = defaultdict(list)
    for index, crop in enumerate(crops):
        by_length[len(crop)].append(index)
    features = np.empty((len(crops), teacher.numbers), np.float16)
    for length, rows in by_length.items():
        size = max(1, AT_ONCE // length)
        for first in range(0, len(rows), size):
            chosen = rows[first : first + size]
            features[chosen] = teacher.hear(np.stack([crops[row] for row in chosen]))
    return features
