"""Entry point of ``python -m aasp_features.train``, the same as ``aasp-train``."""

from aasp_features.train.cli import main

main()
