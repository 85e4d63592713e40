"""Chatwoot agent bots: an existing help desk takes over."""
