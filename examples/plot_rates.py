"""Draw AaPE's estimates for three sounds: ``python examples/plot_rates.py [FOLDER]`` (default: figures)."""

import sys
from pathlib import Path

from aasp_features import AaSPEncoder
from aasp_features.viz import plot_rates

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "figures")
folder.mkdir(exist_ok=True)
sounds = Path(__file__).parent / "sounds"
encoder = AaSPEncoder.from_pretrained()
for name in ("effects/modulated_noise.flac", "voice/vowels.wav", "nature/bird_chirps.flac"):
    out = folder / f"rates_{Path(name).stem}.png"
    plot_rates(encoder, sounds / name, title=Path(name).stem.replace("_", " ")).savefig(out, dpi=100)
    print(out)
