"""Many sounds -> windows of log-mel, decoded in threads while the encoder runs, handed out in the sounds' own order.

Decoder, resampler and FFT release Python's lock, so threads are enough. Both the sounds that may be under way and the
windows that each may have waiting are bounded, so memory is, however long or many the sounds are. The order is the
sounds', not the threads': batches are then the same in every run.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence

from aasp_features.audio import AudioInfo
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.sounds import Sound
from aasp_features.spectrogram_windows import SpectrogramWindow
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

Decoded = tuple[int, SpectrogramWindow] | Exception | None  # a window at its offset; a failure; the end
Event = tuple[tuple[int, int], SpectrogramWindow | Exception | None]
SOUNDS_AHEAD = 32
WINDOWS_AHEAD = 4  # of one sound


class DecodePool:
    """Context manager around the threads; ``events`` gives what ``AaSPEncoder.embed_windows`` takes.

    Args:
        sounds: that ``places`` count.
        encoder: whose front end and window plan are used.
        workers: threads.
        places: of the sounds to decode, in order; all of them unless given.
        hop: seconds between vectors; below 0.16, each sound's windows come at several offsets.

    Attributes:
        infos: duration, rate and channels of each sound that was decoded to its end, by place; take out what is used.
    """

    def __init__(
        self,
        sounds: Sequence[Sound],
        encoder: AaSPEncoder,
        workers: int,
        places: Iterable[int] | None = None,
        hop: float = COLUMN_SECONDS,
    ) -> None:
        self.sounds, self.encoder, self.hop = sounds, encoder, hop
        self.infos: dict[int, AudioInfo] = {}
        self._waiting: dict[int, queue.Queue[Decoded]] = {}
        self._places = iter(range(len(sounds)) if places is None else places)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]

    def __enter__(self) -> DecodePool:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def events(self, places: range) -> Iterator[Event]:
        """All windows of the sounds at ``places``, sound by sound, under the keys ``(place, offset)``.

        Each ends with None or its exception, for every offset. Ranges must follow each other as the pool's places do.
        """
        for place in places:
            waiting = self._queue_of(place)
            while isinstance(decoded := waiting.get(), tuple):
                offset, window = decoded
                yield (place, offset), window
            for offset in grid_offsets(self.hop):
                yield (place, offset), decoded
            with self._changed:
                del self._waiting[place]
                self._changed.notify_all()

    def _queue_of(self, place: int) -> queue.Queue[Decoded]:
        with self._changed:
            self._changed.wait_for(lambda: place in self._waiting)
            return self._waiting[place]

    def _work(self) -> None:
        while (place := self._take()) is not None:
            try:
                self._decode(place)
            except Exception as error:  # one sound's failure must not end the run, whatever it is
                self._put(place, error)

    def _take(self) -> int | None:
        """The next sound to decode; None when there is none or the pool stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop.is_set() or len(self._waiting) < SOUNDS_AHEAD)
            place = None if self._stop.is_set() else next(self._places, None)
            if place is None:
                return None
            self._waiting[place] = queue.Queue(maxsize=WINDOWS_AHEAD)
            self._changed.notify_all()
            return place

    def _decode(self, place: int) -> None:
        stream = self.sounds[place].stream(self.encoder.config.sample_rate)
        for window in self.encoder.spectrogram_windows(stream, self.hop):
            self._put(place, window)
            if self._stop.is_set():
                return
        self.infos[place] = stream.info
        self._put(place, None)

    def _put(self, place: int, event: Decoded) -> None:
        waiting = self._waiting[place]
        while not self._stop.is_set():
            try:
                waiting.put(event, timeout=0.1)
            except queue.Full:
                continue
            return
