"""Two things in one question: 「年卡和季卡哪个划算」 is answered with what is said of each. Pure."""

import re

from bot.dialogue.smalltalk import normalised
from knowledge.text import simplify
from knowledge.types import Entry

_LEAD = re.compile(
    "^(?:请问|我?想(?:问|知道|了解)(?:一下|下)?|问(?:一下|下)|你们?(?:店|家|那|这)?(?:里|儿|边)?的?)+[,， ]*"
)
_COMPARED = re.compile(
    "(?P<one>.{1,12}?)(?:和|跟|与|同|还是|、|/|vs)(?P<other>.{1,12}?)(?:之间|相比|比起来|比较?|到底)*[,， ]*"
    "(?:(?:有|是)?(?:什么|啥|何|哪些|多大|没有?|哪里|有)*的?(?:区别|差别|差异|不同|不一样|分别)(?:在哪里?|是什么|大)?"
    "|[哪那]一?(?:个|种|款|家|样|只)(?:会|要|更|比较|最)*(?P<price>贵|便宜|划算|合算|实惠|省钱|值|性价比高))"
    "(?:一些|一点|点|些)?[吗呢啊呀么了嘛？?。!！ ]*"
)


def compared(text: str, found: Entry | None) -> tuple[str, ...]:
    """What to ask of each of two things that are compared; empty for another message, and where a wording of the entry
    that was `found` names both.
    """
    match = _COMPARED.fullmatch(_LEAD.sub("", simplify(text).strip().casefold()))
    if not match:
        return ()
    names = [normalised(match[name]) for name in ("one", "other")]
    if not all(names) or names[0] == names[1]:
        return ()
    if found and any(all(name in normalised(wording) for name in names) for wording in found.phrasings):
        return ()
    asked = "多少钱" if match["price"] else ""
    return tuple(f"{match[name].strip()}{asked}" for name in ("one", "other"))
