"""FFmpeg, by PyAV: MP3, and whatever else is not for libsndfile.

It is given bytes, never a path or an address, may open nothing itself, and reads no playlists: a file's content cannot
make it reach other files or the network.
"""

from __future__ import annotations

import os
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from aasp_features.audio import AudioError, AudioInfo, Blocks
from aasp_features.audio.tags import tags_behind
from aasp_features.audio.wav_header import check_rest

# Containers of sound; no playlists, no network, no formats that are made of several files.
DEMUXERS = (
    "aa,aac,aax,ac3,ac4,adx,aea,afc,aiff,amr,amrnb,amrwb,apac,ape,apc,aptx,aptx_hd,asf,ast,au,avi,avr,bfstm,binka,bonk,"
    "brstm,caf,codec2,dsf,dss,dts,dtshd,dv,eac3,epaf,fsb,flac,flv,g722,g723_1,g726,g729,gsm,gxf,hca,hcom,ilbc,iff,"
    "ircam,iss,kvag,laf,lc3,loas,matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mtaf,mxf,nistsphere,nsv,nut,ogg,oma,osq,"
    "paf,pvf,qcp,qoa,rka,rm,rso,sbc,sdr2,shn,sln,sol,sox,spdif,svag,svx,swf,tak,truehd,tta,vag,voc,vqf,w64,wav,"
    "wavarc,wsd,wtv,wv,wve,xa,xvag,xwma"
)
OPTIONS = {"protocol_whitelist": "none", "format_whitelist": DEMUXERS}
BUFFER_BYTES = 2**17
STATED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "avi", "flv"}  # that end anywhere in a file, and say when
FRAMED = {"mp3", "aac"}  # nothing but frames, and tags
PAGED = {"ogg", "mpeg", "mpegts", "mxf", "nut", "rm", "wtv"}  # whose packets do not say where they end
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
        self._file, self._name = file, name
        file.seek(0)
        try:
            opened: Any = av.open(  # titles need not be UTF-8
                _Bytes(file, name), options=OPTIONS, buffer_size=BUFFER_BYTES, metadata_errors="replace"
            )
        except (av.error.FFmpegError, ValueError, OSError, MemoryError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise AudioError(f"{name}: not a sound file that can be decoded ({reason}).") from failure
        if not opened.streams.audio:
            opened.close()
            raise AudioError(f"{name}: holds no audio track.")
        if opened.streams.audio[0].codec_context is None:
            opened.close()
            raise AudioError(f"{name}: its audio track is of a kind that FFmpeg cannot decode.")
        self._container, self._track, self._kind = opened, opened.streams.audio[0], opened.format.name
        if self._kind == "flac":  # else frames with errors are taken for good
            self._track.codec_context.options = {"err_detect": "crccheck+explode"}
        seconds = float((opened.duration or 0) / 1_000_000)
        self.info = AudioInfo(seconds, int(self._track.rate or 0), int(self._track.codec_context.channels))
        self._decoded, self._end = 0.0, 0  # seconds, and bytes
        self._tags: list[range] | None = None  # in order; known once a packet was found that is none

    def blocks(self, samples: int, first: int) -> Blocks:
        """See ``Decoder``."""
        waiting: list[NDArray[np.float32]] = []
        kind, count = (self.info.rate, 0), 0  # rate and channels
        for frame in self._frames():
            block = _samples(frame)
            self._decoded += len(block) / max(1, frame.sample_rate)
            if waiting and (count >= samples or kind != (frame.sample_rate, block.shape[1])):
                yield kind[0], np.concatenate(waiting)
                waiting, count = [], 0
            kind, count = (frame.sample_rate, block.shape[1]), count + len(block)
            waiting.append(block)
        if waiting:
            yield kind[0], np.concatenate(waiting)
        self._check_end()

    def _frames(self) -> Iterator[Any]:
        """The track's, decoded. In an MP3, or AAC without a container, decoding goes on behind what is none."""
        packets, bad, junk, order = 0, 0, 0, FlacOrder(self._name)
        try:
            for packet in self._container.demux(self._track):
                if self._in_tag(packet):
                    continue
                packets += 1
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    if self._kind not in FRAMED:
                        raise
                    if self._tags is None:
                        self._tags = tags_behind(self._file, packet.pos or 0)
                    junk += not self._in_tag(packet)
                    continue
                if packet.size:  # junk that no frame follows is behind the sound, not in it
                    bad, junk, self._end = bad + junk, 0, max(self._end, (packet.pos or 0) + packet.size)
                if self._kind == "flac" and packet.size:
                    order.check(bytes(packet), sum(frame.samples for frame in frames))
                yield from frames
        except AudioError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise AudioError(f"{self._name}: damaged, decoding stopped ({error}).") from error
        if bad > max(2, BAD_PACKETS * packets):
            raise AudioError(f"{self._name}: damaged, {bad} of {packets} packets cannot be decoded.")

    def _in_tag(self, packet: Any) -> bool:
        """Whether FFmpeg took a tag for a packet."""
        tags, place = self._tags or [], packet.pos or 0
        number = bisect_right(tags, place, key=lambda tag: tag.start)
        return number > 0 and place in tags[number - 1]

    def _check_end(self) -> None:
        """Whether all of the file was decoded, as far as its format tells."""
        if self._kind not in STATED | PAGED:
            for tag in tags_behind(self._file, self._end):
                self._end = tag.stop if tag.start == self._end else self._end
            self._file.seek(0)
            check_rest(self._file, self._end, (self._file.read(4),), self._name)
        stated = self.info.seconds if self._kind in STATED and len(self._container.streams) == 1 else 0.0
        if stated - self._decoded > 1 + MISSING * stated:
            warnings.warn(
                f"{self._name}: its header says {stated:.1f} s, there are {self._decoded:.1f} s; cut off, or damaged.",
                stacklevel=2,
            )

    def close(self) -> None:
        """See ``Decoder``."""
        self._container.close()


class FlacOrder:
    """Whether the frames of a FLAC follow each other; they are numbered, and FFmpeg passes over damaged ones."""

    def __init__(self, name: str) -> None:
        self._name, self._frame_samples, self._expected = name, 0, 0

    def check(self, packet: bytes, samples: int) -> None:
        """The next frame, as it is stored, and how many samples it gave; another file may begin, at 0.

        Raises:
            AudioError: one is missing.
        """
        self._frame_samples = self._frame_samples or samples
        place = _flac_number(packet) * (1 if packet[1] & 1 else self._frame_samples)
        if place not in (0, self._expected):
            raise AudioError(f"{self._name}: damaged, samples are missing after the first {self._expected}.")
        self._expected = place + samples


def _flac_number(packet: bytes) -> int:
    """Of a frame, or of its first sample; written like a character of UTF-8."""
    ones = 8 - (packet[4] ^ 255).bit_length()
    number = packet[4] & 127 >> ones
    for byte in packet[5 : 4 + ones]:
        number = number << 6 | byte & 63
    return number


class _Bytes:
    """What FFmpeg sees of a file: its bytes, and a name that says nothing but the ending."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.read, self.tell = file, file.read, file.tell
        ending = os.path.splitext(name)[1].lower()
        self.name = "sound" + (ending if ending[1:].isascii() and ending[1:].isalnum() else "")

    def seek(self, offset: int, whence: int = 0) -> int:
        """-1, as FFmpeg has it, where a damaged header leads nowhere."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


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
