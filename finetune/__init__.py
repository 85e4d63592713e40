"""Base models and their LoRA adapters: preparing, loading, training, comparing.

Useful alone: `python -m finetune --help`.
"""
