"""Rasa's REST channel, so that front ends made for Rasa work unchanged."""
