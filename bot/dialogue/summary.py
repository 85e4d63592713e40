"""What a long conversation was about, in few words, for the model that writes the next reply."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from bot.dialogue.context.wording import subject_of
from bot.dialogue.figures import codes, folded
from bot.dialogue.prompt import estimated_tokens, shortened
from bot.dialogue.types import Utterance
from bot.security.redaction import masked

SUMMARY_TOKENS_MAX = 120
SUBJECT_TOKENS_MAX = 40
CODES_MAX = 4
ANSWERED_MAX = 4
TITLE_TOKENS_MAX = 20


def summary(history: Sequence[Utterance], tokens_max: int = SUMMARY_TOKENS_MAX) -> str:
    """The subject, the numbers and models that the customer named, and what was answered, newest first; "" where
    nothing was said that would help. At most `tokens_max` tokens, whatever the length of the conversation.

    The same history gives the same words. Nothing of a reply is repeated: only what was asked, and titles.
    """
    lines: list[str] = []
    left = tokens_max
    for line in _lines(history):
        needed = estimated_tokens(line) + 1
        if needed <= left:
            lines.append(line)
            left -= needed
    return "\n".join(lines)


def _lines(history: Sequence[Utterance]) -> Iterable[str]:
    """The most useful first."""
    if subject := subject_of(history):
        yield f"在说：{shortened(' '.join(masked(subject).split()), SUBJECT_TOKENS_MAX)}"
    if named := list(islice(_named(history), CODES_MAX)):
        yield f"客户提到：{'、'.join(named)}"
    told = [
        one.titles[0] for one in reversed(history) if one.titles and one.decision in ("answer", "generate", "action")
    ]
    if told:
        titles = [shortened(" ".join(one.split()), TITLE_TOKENS_MAX) for one in dict.fromkeys(told)]
        yield f"已经回答过：{'；'.join(titles[:ANSWERED_MAX])}"


def _named(history: Sequence[Utterance]) -> Iterator[str]:
    """Different ones, the last named first."""
    known: set[str] = set()
    for one in reversed(history):
        for code in _codes(one.text) if one.role == "user" else ():
            if code not in known:
                known.add(code)
                yield code


def _codes(text: str) -> list[str]:
    """Order numbers and models that the customer named, in capitals, the last one first.

    No passport, plate or account: without the words beside it nothing would know it for one, and mask it, later.
    """
    plain = masked(unicodedata.normalize("NFKC", text[:2000]))
    found = [one for one in codes(folded(plain)) if len(one) <= 40]
    return sorted((one.upper() for one in found), key=plain.upper().rfind, reverse=True)
