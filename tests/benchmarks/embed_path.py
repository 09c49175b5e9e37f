"""The path of a waveform through ``embed``: every function of the package that is entered, in order, once each.

``python tests/benchmarks/embed_path.py``; repeated visits of the same function are left out.
"""

import sys
from pathlib import Path
from types import FrameType

import numpy as np

from aasp_features import AaSPConfig, AaSPEncoder

PACKAGE = Path(sys.modules["aasp_features"].__file__).parent


def main() -> None:
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    clips = [np.zeros(16000 * 12, np.float32), np.zeros(44100, np.float32)]
    seen: list[tuple[str, str]] = []

    def enter(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE not in path.parents:
            return
        code = frame.f_code
        hop = str(path.relative_to(PACKAGE)), getattr(code, "co_qualname", code.co_name)
        if event == "call" and hop not in seen:
            seen.append(hop)

    sys.setprofile(enter)
    encoder.embed(clips)
    sys.setprofile(None)
    for number, (file, function) in enumerate(seen, start=1):
        print(f"{number:3} {file:28} {function}")


if __name__ == "__main__":
    main()
