"""Many files -> windows of log-mel, decoded in threads while the encoder runs.

Decoder, resampler and FFT release Python's lock, so threads are enough. The queue is bounded: decoding runs ahead of
the encoder by a fixed number of windows, however long or many the files are.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from aasp_features.audio import AudioInfo, stream_audio
from aasp_features.encoder import AaSPEncoder
from aasp_features.spectrogram_windows import SpectrogramWindow

Event = tuple[int, "SpectrogramWindow | Exception | None"]


class DecodePool:
    """Iterate for the events that ``AaSPEncoder.embed_windows`` takes; keys are places in ``files``.

    Args:
        files: to decode, in order.
        encoder: whose front end and window plan are used.
        workers: threads.
        ahead: windows that may wait in the queue.

    Attributes:
        infos: duration, rate and channels of each file that was decoded to its end, by place.
    """

    def __init__(self, files: Sequence[Path], encoder: AaSPEncoder, workers: int, ahead: int = 64) -> None:
        self.files, self.encoder, self.workers = files, encoder, workers
        self.infos: dict[int, AudioInfo] = {}
        self._queue: queue.Queue[Event | None] = queue.Queue(maxsize=ahead)
        self._places = iter(range(len(files)))
        self._taking = threading.Lock()
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[Event]:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                event = self._queue.get()
                if event is None:
                    running -= 1
                else:
                    yield event
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._taking:
                place = next(self._places, None)
            if place is None:
                break
            try:
                self._decode(place)
            except Exception as error:  # one file's failure must not end the run, whatever it is
                self._put((place, error))
        self._put(None)

    def _decode(self, place: int) -> None:
        stream = stream_audio(self.files[place], self.encoder.config.sample_rate)
        for window in self.encoder.spectrogram_windows(stream):
            self._put((place, window))
            if self._stop.is_set():
                return
        self.infos[place] = stream.info
        self._put((place, None))

    def _put(self, event: Event | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(event, timeout=0.1)
            except queue.Full:
                continue
            return
