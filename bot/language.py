"""Chinese first, English as the full alternative: which of the two a text is shown in."""

import os
from typing import Literal

Language = Literal["zh", "en"]
# How the tags, in lower case, of those begin who read traditional characters (`bot.dialogue.script`).
TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")


def terminal_language() -> Language:
    """The terminal's language: Chinese unless `KEFU_LANGUAGE` asks for English."""
    return "en" if os.environ.get("KEFU_LANGUAGE", "zh").lower().startswith("en") else "zh"


def say(zh: str, en: str) -> str:
    """The one of two texts that the terminal's reader wants."""
    return en if terminal_language() == "en" else zh


def accepted_language(header: str | None) -> Language:
    """Chinese or English from an `Accept-Language` header (RFC 9110, 12.5.4); Chinese where neither is asked for."""
    return "en" if accepted_tag(header) == "en" else "zh"


def accepted_tag(header: str | None) -> str:
    """The same as a BCP 47 tag, which also says what characters are read: `zh`, `en`, or a TRADITIONAL one as given."""
    best, best_weight = "zh", 0.0
    for part in (header or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        weight = 1.0
        if parameters.strip().startswith("q="):
            try:
                weight = float(parameters.strip()[2:])
            except ValueError:
                continue
        name = tag.strip()
        primary = name.lower().split("-")[0]
        if primary in ("zh", "en") and weight > best_weight:
            best, best_weight = name if name.lower().startswith(TRADITIONAL) else primary, weight
    return best
