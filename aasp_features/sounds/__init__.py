"""What there is to read: files, folders, lists, parts of files, tar shards; and reading it ahead."""
