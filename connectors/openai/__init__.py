"""The OpenAI-compatible chat API, so that any program that talks to OpenAI can talk to Kefu."""
