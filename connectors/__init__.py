"""Connectors: outside systems in, `Inbound`; answers out, `Outbound`. Knows nothing of how an answer is made."""
