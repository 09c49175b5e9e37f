"""libsndfile: what has a header that counts its samples exactly."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any, BinaryIO

import soundfile

from aasp_features.audio import AudioError, AudioInfo, Blocks
from aasp_features.audio.wav_header import PADDING

REFUSALS = (soundfile.SoundFileError, RuntimeError, TypeError, OSError)
# Those that begin anywhere with what the whole has there; FLAC's are PCM, too. Opus is left to FFmpeg: at 24 kHz
# libsndfile's decode is further from the original (docs/measured.md), and after a jump it is another one.
SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
SEEKABLE |= {"VORBIS", "IMA_ADPCM", "MS_ADPCM"}
COUNTED = SEEKABLE | {"GSM610", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
COUNTED |= {"G721_32", "G723_24", "G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"}  # not right in FFmpeg
PADDED = ("WAV", "GSM610", "FILE")  # a chunk's padding counts as one block more
FLAC_START = b"fLaC\x00\x00\x00\x22"
READ_AHEAD = 2**14  # bytes, of libFLAC; more than it takes


class SoundfileDecoder:
    """See ``Decoder``.

    Args:
        file: at any place.
        name: for messages.

    Raises:
        REFUSALS: not a file that libsndfile reads.
        AudioError: its header does not count exactly.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        file.seek(0)
        # Given a descriptor, libsndfile reads on its own, without Python; both share the place in the file.
        given: Any = file.fileno() if isinstance(file, io.FileIO) and os.name == "posix" else file
        self._sound = soundfile.SoundFile(given, closefd=False)
        self._file, self._name = file, name
        kind = self._sound.format, self._sound.subtype, self._sound.endian
        if self._sound.subtype not in COUNTED or kind == PADDED:
            raise AudioError(f"{name}: not a sound file that can be decoded ({self._sound.subtype_info}).")
        self.info = AudioInfo(
            self._sound.frames / max(1, self._sound.samplerate), self._sound.samplerate, self._sound.channels
        )
        self.exact = self._sound.subtype in SEEKABLE

    def blocks(self, samples: int, first: int) -> Blocks:
        """See ``Decoder``."""
        sound, rate, read = self._sound, self.info.rate, first
        if first >= sound.frames:
            return
        try:
            if first:
                sound.seek(first)
            while len(block := sound.read(samples, dtype="float32", always_2d=True)):
                read += len(block)
                yield rate, block
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError(f"{self._name}: damaged, decoding stopped ({error}).") from error
        if read < sound.frames:
            raise AudioError(
                f"{self._name}: damaged, its header says {sound.frames} samples, decoding stopped at {read}."
            )
        if sound.format == "FLAC":
            self._check_rest()

    def _check_rest(self) -> None:
        """libFLAC stops at the number of samples in the header, so this is where other files or more frames show."""
        end = self._file.tell()  # that much was read
        size = self._file.seek(0, 2)
        begin = self._file.seek(max(0, end - READ_AHEAD))
        rest = self._file.read(2 * READ_AHEAD)
        own = rest.find(FLAC_START) if begin == 0 else -1
        if (found := rest.find(FLAC_START, own + 1)) >= 0:
            raise AudioError(
                f"{self._name}: another file begins at byte {begin + found}: several were joined; split them there."
            )
        if size - end > PADDING:
            warnings.warn(
                f"{self._name}: {size - end} bytes follow the last sample that its header counts; not read.",
                stacklevel=2,
            )

    def close(self) -> None:
        """See ``Decoder``."""
        self._sound.close()
