"""Chinese first, English as the full alternative: which of the two a text is shown in."""

import os
from typing import Literal

Language = Literal["zh", "en"]


def terminal_language() -> Language:
    """The terminal's language: Chinese unless `KEFU_LANGUAGE` asks for English."""
    return "en" if os.environ.get("KEFU_LANGUAGE", "zh").lower().startswith("en") else "zh"


def say(zh: str, en: str) -> str:
    """The one of two texts that the terminal's reader wants."""
    return en if terminal_language() == "en" else zh


def accepted_language(header: str | None) -> Language:
    """Chinese or English from an `Accept-Language` header (RFC 9110, 12.5.4); Chinese where neither is asked for."""
    best: Language = "zh"
    best_weight = 0.0
    for part in (header or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        weight = 1.0
        if parameters.strip().startswith("q="):
            try:
                weight = float(parameters.strip()[2:])
            except ValueError:
                continue
        primary = tag.strip().lower().split("-")[0]
        if primary in ("zh", "en") and weight > best_weight:
            best, best_weight = ("zh" if primary == "zh" else "en"), weight
    return best
