"""``python -m aasp_features.train`` is ``aasp-train``."""

from aasp_features.train.cli import main

main()
