"""The decoder of a file, chosen by its first bytes; its name is not believed.

libsndfile decodes what has a header that counts its samples exactly; FFmpeg, by PyAV, decodes MP3 and everything else.
FFmpeg is given bytes, never a path or an address, may open nothing itself, and reads no playlists: a file's content
cannot make it reach other files or the network.
"""

from __future__ import annotations

import io
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from aasp_features.audio import AudioError, AudioInfo, Blocks
from aasp_features.audio.byte_pieces import join_pieces
from aasp_features.audio.containers import (
    PADDING,
    WAV_KINDS,
    check_rest,
    id3_size,
    mended_wav,
    ogg_links,
    stated_end,
    tags_behind,
    without_tags,
)

HEAD_BYTES = 64
VORBIS_OFFSET = 28  # in an Ogg file
REFUSALS = (soundfile.SoundFileError, RuntimeError, TypeError, OSError)  # by libsndfile
# Those that begin anywhere with what the whole has there; FLAC's are PCM, too. Opus is left to FFmpeg: at 24 kHz
# libsndfile's decode is further from the original (docs/measured.md), and after a jump it is another one.
SEEKABLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
SEEKABLE |= {"VORBIS", "IMA_ADPCM", "MS_ADPCM"}
COUNTED = SEEKABLE | {"GSM610", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
COUNTED |= {"G721_32", "G723_24", "G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"}  # not right in FFmpeg
PADDED = ("WAV", "GSM610", "FILE")  # a chunk's padding counts as one block more
FLAC_START = b"fLaC\x00\x00\x00\x22"
READ_AHEAD = 2**14  # bytes, of libFLAC; more than it takes
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
MAX_PLANES = 8  # PyAV reads beyond the planes of frames with more channels


class Decoder(ABC):
    """A decoder of an open file, which it does not close.

    Attributes:
        info: from the header.
        exact: ``info`` counts the samples exactly, and ``blocks`` begins at any of them with what the whole has there.
    """

    info: AudioInfo
    exact = False

    @abstractmethod
    def blocks(self, samples: int, first: int) -> Blocks:
        """Yield blocks of about so many samples, from sample ``first`` on, once.

        ``first`` is 0 where the decoder is not exact. The rate may change where files were joined.

        Raises:
            AudioError: damaged, or the file holds more than what was decoded.
        """

    def close(self) -> None:  # noqa: B027  # only some hold anything
        """Stop using the file."""


def open_decoder(file: BinaryIO, name: str) -> Decoder:
    """Choose what decodes an open file, which stays open until the decoder was closed.

    Raises:
        AudioError: empty, not sound, or several files joined.
    """
    try:
        file.seek(0)
        head = file.read(HEAD_BYTES)
    except (AttributeError, OSError, ValueError) as error:
        raise AudioError(f"{name}: an open file must be one of bytes that can be read again from its start.") from error
    if not isinstance(head, bytes):
        raise AudioError(f"{name}: an open file must give bytes; open it with mode 'rb'.")
    if not head:
        raise AudioError(f"{name}: an empty file; a sound has at least 1 sample.")
    if head.startswith(b"OggS"):
        links = ogg_links(file)
        return OggChain(file, links, name) if len(links) > 1 else _open_ogg(file, sum(dict(links).values()), name)
    if head[:4] in WAV_KINDS and head[8:12] == b"WAVE":
        return _counted(mended_wav(file, name), name, alone=head.startswith(b"RIFX"))
    if head.startswith(b"ID3") and len(head) >= 10:  # the tag that some put in front of a FLAC
        file.seek(10 + id3_size(head))
        head = file.read(HEAD_BYTES)
    if head.startswith(b"fLaC") and int.from_bytes(head[18:26], "big") % 2**36:
        return _counted(file, name)
    if (end := stated_end(file, head)) is not None:
        check_rest(file, end, (head[:4],), name)
        return _counted(file, name)
    if head.startswith((b"\xff", b"ID3")):  # libsndfile would guess the length of an MP3
        return FfmpegDecoder(without_tags(file, name), name)
    try:
        return FfmpegDecoder(file, name)
    except AudioError as refused:
        try:
            return SoundfileDecoder(file, name)
        except (AudioError, *REFUSALS):
            raise refused from None


def _counted(file: BinaryIO, name: str, alone: bool = False) -> Decoder:
    """Try libsndfile first; alone where FFmpeg would give noise."""
    try:
        return SoundfileDecoder(file, name)
    except (AudioError, *REFUSALS) as refused:
        if alone:
            raise AudioError(f"{name}: not a sound file that can be decoded ({str(refused).rstrip('.')}).") from refused
        return FfmpegDecoder(file, name)


def _open_ogg(file: BinaryIO, streams: int, name: str) -> Decoder:
    """Open one link of an Ogg: all but Vorbis is for FFmpeg, as are videos and what is damaged."""
    file.seek(0)
    vorbis = file.read(HEAD_BYTES)[VORBIS_OFFSET:].startswith(b"\x01vorbis")
    return _counted(file, name) if vorbis and streams == 1 else FfmpegDecoder(file, name)


class OggChain(Decoder):
    """The links of an Ogg file, one after the other."""

    def __init__(self, file: BinaryIO, links: list[tuple[range, int]], name: str) -> None:
        self._file, self._links, self._name = file, links, name
        infos = [decoder.info for decoder in self._decoders()]
        self.info = AudioInfo(sum(info.seconds for info in infos), infos[0].rate, infos[0].channels)

    def blocks(self, samples: int, first: int) -> Blocks:
        """Yield the blocks of each link."""
        for decoder in self._decoders():
            yield from decoder.blocks(samples, 0)

    def _decoders(self) -> Iterator[Decoder]:
        for link, streams in self._links:
            decoder = _open_ogg(join_pieces(self._file, [link], self._name), streams, self._name)
            yield decoder
            decoder.close()


class SoundfileDecoder(Decoder):
    """libsndfile.

    Args:
        file: at any position.
        name: for messages.

    Raises:
        REFUSALS: not a file that libsndfile reads.
        AudioError: its header does not count exactly.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        file.seek(0)
        # Given a descriptor, libsndfile reads on its own, without Python; both share the position in the file.
        given: Any = file.fileno() if isinstance(file, io.FileIO) and os.name == "posix" else file
        self._sound = soundfile.SoundFile(given, closefd=False)
        self._file, self._name = file, name
        kind = self._sound.format, self._sound.subtype, self._sound.endian
        if self._sound.subtype not in COUNTED or kind == PADDED:
            raise AudioError(f"{name}: not a sound file that can be decoded ({self._sound.subtype_info}).")
        rate = self._sound.samplerate
        self.info = AudioInfo(self._sound.frames / max(1, rate), rate, self._sound.channels)
        self.exact = self._sound.subtype in SEEKABLE

    def blocks(self, samples: int, first: int) -> Blocks:
        """Yield blocks; check that there are as many samples as the header counts."""
        sound, read = self._sound, first
        if first >= sound.frames:
            return
        try:
            if first:
                sound.seek(first)
            while len(block := sound.read(samples, dtype="float32", always_2d=True)):
                read += len(block)
                yield self.info.rate, block
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioError(f"{self._name}: damaged, decoding stopped ({error}).") from error
        if read < sound.frames:
            raise AudioError(
                f"{self._name}: damaged, its header says {sound.frames} samples, decoding stopped at {read}."
            )
        if sound.format == "FLAC":
            self._check_rest()

    def _check_rest(self) -> None:
        """See what follows: libFLAC stops at the number of samples in the header, before joined files or frames."""
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
            told = f"{self._name}: {size - end} bytes follow the last sample that its header counts; not read."
            warnings.warn(told, stacklevel=2)

    def close(self) -> None:
        """Stop using the file."""
        self._sound.close()


class FfmpegDecoder(Decoder):
    """FFmpeg; never exact: MP3, AAC and their like depend on what went before.

    Args:
        file: at any position.
        name: for messages; of it, FFmpeg sees the ending.

    Raises:
        AudioError: not sound that FFmpeg reads.
    """

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
        if not opened.streams.audio or opened.streams.audio[0].codec_context is None:
            silent = not opened.streams.audio
            opened.close()
            why = "it holds no audio track" if silent else "its audio track is of a kind that FFmpeg cannot decode"
            raise AudioError(f"{name}: {why}.")
        self._container, self._track, self._kind = opened, opened.streams.audio[0], opened.format.name
        if self._kind == "flac":  # else frames with errors are taken for good
            self._track.codec_context.options = {"err_detect": "crccheck+explode"}
        seconds = float((opened.duration or 0) / 1_000_000)
        self.info = AudioInfo(seconds, int(self._track.rate or 0), int(self._track.codec_context.channels))
        self._decoded, self._end = 0.0, 0  # seconds, and bytes

    def blocks(self, samples: int, first: int) -> Blocks:
        """Yield blocks; check that all of the file was decoded, as far as its format tells."""
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
        """Decode the track. In an MP3, or AAC without a container, decoding goes on behind what is no frame."""
        packets, bad, junk, expected = 0, 0, 0, (0, 0)
        try:
            for packet in self._container.demux(self._track):
                packets += 1
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    if self._kind not in FRAMED:
                        raise
                    junk += 1
                    continue
                if packet.size:  # junk that no frame follows is behind the sound, not in it
                    bad, junk, self._end = bad + junk, 0, max(self._end, (packet.pos or 0) + packet.size)
                if self._kind == "flac" and packet.size:
                    expected = self._next_flac(bytes(packet), sum(frame.samples for frame in frames), *expected)
                yield from frames
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, AudioError):
                raise
            raise AudioError(f"{self._name}: damaged, decoding stopped ({error}).") from error
        if bad > max(2, BAD_PACKETS * packets):
            raise AudioError(f"{self._name}: damaged, {bad} of {packets} packets cannot be decoded.")

    def _next_flac(self, packet: bytes, samples: int, expected: int, frame_samples: int) -> tuple[int, int]:
        """Check that a FLAC frame follows the one before: they are numbered, and FFmpeg passes over damaged ones.

        Args:
            packet: the frame as it is stored; its number, or that of its first sample, is written as UTF-8 is.
            samples: that it gave.
            expected: number of its first sample; it may be 0, where another file begins.
            frame_samples: of the first frame; 0 where this is the first.

        Returns:
            ``expected`` and ``frame_samples`` for the next one.
        """
        ones = 8 - (packet[4] ^ 255).bit_length()
        number = packet[4] & 127 >> ones
        for byte in packet[5 : 4 + ones]:
            number = number << 6 | byte & 63
        frame_samples = frame_samples or samples
        first = number * (1 if packet[1] & 1 else frame_samples)
        if first not in (0, expected):
            raise AudioError(f"{self._name}: damaged, samples are missing after the first {expected}.")
        return first + samples, frame_samples

    def _check_end(self) -> None:
        if self._kind not in STATED | PAGED:
            for tag in tags_behind(self._file, self._end):
                self._end = tag.stop if tag.start == self._end else self._end
            self._file.seek(0)
            check_rest(self._file, self._end, (self._file.read(4),), self._name)
        stated = self.info.seconds if self._kind in STATED and len(self._container.streams) == 1 else 0.0
        if stated - self._decoded > 1 + MISSING * stated:
            told = f"its header says {stated:.1f} s, there are {self._decoded:.1f} s; cut off, or damaged."
            warnings.warn(f"{self._name}: {told}", stacklevel=2)

    def close(self) -> None:
        """Stop using the file."""
        self._container.close()


class _Bytes:
    """A file as FFmpeg sees it: its bytes, and a name that says nothing but the ending."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.read, self.tell = file, file.read, file.tell
        ending = os.path.splitext(name)[1].lower()
        self.name = "sound" + (ending if ending[1:].isascii() and ending[1:].isalnum() else "")

    def seek(self, offset: int, whence: int = 0) -> int:
        """Return -1, as FFmpeg has it, where a damaged header leads nowhere."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _samples(frame: Any) -> NDArray[np.float32]:
    """Return (samples, channels) in +-1."""
    channels = len(frame.layout.channels)
    if channels > MAX_PLANES and frame.format.is_planar:
        (frame,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    array: NDArray[Any] = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, channels)
    floats: NDArray[np.float32] = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f":
        return floats
    centre = np.float32(128 if array.dtype == np.uint8 else 0)
    floats = (floats - centre) * np.float32(2.0 ** (1 - 8 * array.dtype.itemsize))
    return floats
