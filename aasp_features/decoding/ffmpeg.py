"""FFmpeg, by PyAV: MP3, and whatever else is not for libsndfile.

It is given bytes, never a path or an address, may open nothing itself, and reads no playlists: a file's content cannot
make it reach other files or the network.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from aasp_features.decoding import AudioError, AudioInfo, Blocks

# Containers of sound; no playlists, no network, no formats that are made of several files.
DEMUXERS = (
    "aa,aac,aax,ac3,ac4,adx,aea,afc,aiff,amr,amrnb,amrwb,apac,ape,apc,aptx,aptx_hd,asf,ast,au,avi,avr,bfstm,binka,bonk,"
    "brstm,caf,codec2,dsf,dss,dts,dtshd,dv,eac3,epaf,fsb,flac,flv,g722,g723_1,g726,g729,gsm,gxf,hca,hcom,ilbc,iff,"
    "ircam,iss,kvag,laf,lc3,loas,matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mtaf,mxf,nistsphere,nsv,nut,ogg,oma,osq,"
    "paf,pvf,qcp,qoa,rka,rm,rso,sbc,sdr2,sds,shn,sln,sol,sox,spdif,svag,svx,swf,tak,truehd,tta,vag,voc,vqf,w64,wav,"
    "wavarc,wsd,wtv,wv,wve,xa,xvag,xwma"
)
OPTIONS = {"protocol_whitelist": "none", "format_whitelist": DEMUXERS}
SCANNED = {"mp3", "aac", "flac", "ac3", "eac3", "amr", "gsm", "dts", "mp2", "truehd", "mlp", "tta", "wv", "ape", "ogg"}
BUFFER_BYTES = 2**17
SLACK = 2**16  # bytes at a file's end that hold tags
MISSING = 0.02  # of the stated duration
BAD_PACKETS = 0.01  # of an MP3's, that are tags or junk between its frames
MOST_PLANES = 8  # PyAV reads beyond the planes of frames with more channels


class FfmpegDecoder:
    """See ``Decoder``; never exact: MP3, AAC and their like depend on what went before.

    Args:
        file: at any place.
        name: for messages; of it, FFmpeg sees the ending.

    Raises:
        AudioError: not sound that FFmpeg reads.
    """

    exact = False

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name, self._bad = file, name, 0
        self._size = file.seek(0, 2)
        file.seek(0)
        try:
            opened: Any = av.open(_Bytes(file, name), options=OPTIONS, buffer_size=BUFFER_BYTES)
        except (av.error.FFmpegError, ValueError, OSError, MemoryError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise AudioError(f"{name}: not a sound file that can be decoded ({reason}).") from failure
        if not opened.streams.audio:
            opened.close()
            raise AudioError(f"{name}: holds no audio track.")
        self._container = opened
        self._track = self._container.streams.audio[0]
        seconds = float((self._container.duration or 0) / 1_000_000)
        self.info = AudioInfo(seconds, int(self._track.rate or 0), int(self._track.codec_context.channels))

    def blocks(self, samples: int, first: int) -> Blocks:
        """See ``Decoder``."""
        waiting: list[NDArray[np.float32]] = []
        seconds, rate, shape = 0.0, self.info.rate, (0, 0)
        for frame in self._frames():
            block = _samples(frame)
            if waiting and (shape != (frame.sample_rate, block.shape[1]) or sum(map(len, waiting)) >= samples):
                yield rate, np.concatenate(waiting)
                waiting = []
            rate, shape = frame.sample_rate, (frame.sample_rate, block.shape[1])
            seconds += len(block) / rate
            waiting.append(block)
        if waiting:
            yield rate, np.concatenate(waiting)
        self._check_end(seconds)

    def _frames(self) -> Iterator[Any]:
        """The track's, decoded."""
        packets, resync = 0, self._container.format.name in ("mp3", "aac")
        try:
            for packet in self._container.demux(self._track):
                packets += 1
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    self._bad += 1
                    if not resync:
                        raise
                    continue
                yield from frames
        except (av.error.FFmpegError, ValueError) as error:  # a ValueError where the layout changes midway
            raise AudioError(f"{self._name}: damaged, decoding stopped ({error}).") from error
        if self._bad > max(2, BAD_PACKETS * packets):
            raise AudioError(f"{self._name}: damaged, {self._bad} of {packets} packets cannot be decoded.")

    def _check_end(self, seconds: float) -> None:
        """Whether all of the file was decoded, as far as its format tells."""
        kind, place = self._container.format.name, self._file.tell()
        if kind in SCANNED and place < self._size - SLACK:
            raise AudioError(f"{self._name}: damaged, decoding stopped at byte {place} of {self._size}.")
        stated = self.info.seconds if len(self._container.streams) == 1 and kind not in SCANNED else 0.0
        if stated - seconds > 1 + MISSING * stated:
            warnings.warn(
                f"{self._name}: its header says {stated:.1f} s, there are {seconds:.1f} s; cut off, or damaged.",
                stacklevel=2,
            )

    def close(self) -> None:
        """See ``Decoder``."""
        self._container.close()


class _Bytes:
    """What FFmpeg sees of a file: its bytes, and a name that says nothing but the ending."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        ending = os.path.splitext(name)[1].lower()
        self.name = "sound" + (ending if ending[1:].isascii() and ending[1:].isalnum() else "")


def _samples(frame: Any) -> NDArray[np.float32]:
    """(samples, channels) in +-1."""
    channels = len(frame.layout.channels)
    if channels > MOST_PLANES and frame.format.is_planar:
        (frame,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    array: NDArray[Any] = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, channels)
    floats: NDArray[np.float32] = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f":
        return floats
    centre = np.float32(128 if array.dtype == np.uint8 else 0)
    floats = (floats - centre) * np.float32(2.0 ** (1 - 8 * array.dtype.itemsize))
    return floats
