"""Standard Webhooks in and out, for any program that has no channel of its own."""
