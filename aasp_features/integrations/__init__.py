"""Interfaces of other projects around the encoder; each module needs only that project's package."""
