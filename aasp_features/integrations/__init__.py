"""The encoder behind the interfaces of other projects; each module needs that project's package, and only that."""
