"""Sounds to read: files, folders, lists, parts of files, tar shards; and reading them ahead."""
