"""``python -m aasp_features``: the command ``aasp-embed``."""

from aasp_features.cli import main

main()
