"""One module a command group; each adds its parsers with `register(commands)`."""
