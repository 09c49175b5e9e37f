"""Folders of sounds -> vectors on disk: discovery, decoding in threads, writing."""
