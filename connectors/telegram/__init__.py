"""Telegram bots, by webhook or long polling."""
