"""What a reply leaves out of the sentence that it rests on, and must not: a word inside it, or whom it is about."""

import re
from collections.abc import Collection, Sequence

# What may go without changing what is said: light words, and one of several things that are listed.
_LIGHT = re.compile(
    "(?:的|了|地|得|也|就|都|还|将|会|则|均|便|一般|通常|同时|另外|请|您|我们|你们|其中|那么|以下(?:情况|情形)?|所以|因此|如果|若|"
    "在|从|由|到|直接|自动|再次|再|可以|可|能够|能)*|.*[和或及与跟、]|[和或及与跟、].*"
)
_GAP_MAX = 4
# So many of its characters must be nowhere: one alone is seldom a name.
SUBJECT_MIN = 2
LIKE_SHARE_MIN = 0.25


def word_left_out(clause: str, parts: Sequence[str]) -> bool:
    """Whether a clause joins what the parts of a source have apart: 「运费抵扣」 out of 「运费券抵扣」."""
    plain, sources = _plain(clause), [_plain(part) for part in parts]
    for at in range(2, len(plain) - 1):
        before, after = plain[at - 2 : at], plain[at : at + 2]
        if any(before + after in source for source in sources):
            continue
        gap = re.compile(f"{re.escape(before)}(.{{1,{_GAP_MAX}}}?){re.escape(after)}")
        left = [match[1] for source in sources for match in gap.finditer(source)]
        if left and not any(_LIGHT.fullmatch(one) for one in left):
            return True
    return False


def subject_left_out(clause: str, parts: Sequence[str], told: Collection[str]) -> bool:
    """Whether a clause begins in the middle of the part that it has most of, where another part says something like it
    of another, and neither the reply nor the question (`told`, their pairs) says of whom: 「会员日下单得双倍积分」 out
    of 「玉石会员…，岩心会员…」. Another beginning of its own is no omission.
    """
    plain, sources = _plain(clause), [_plain(part) for part in parts]
    pairs = [plain[at : at + 2] for at in range(len(plain) - 1)]
    if not pairs or not sources:
        return False
    shared = [sum(pair in source for pair in pairs) for source in sources]
    near = sources[shared.index(max(shared))]
    lead, known = near[: max(near.find(pairs[0]), 0)], set("".join(told))
    if sum(one not in known for one in lead) < SUBJECT_MIN or _LIGHT.fullmatch(lead):
        return False
    others = zip(sources, shared, strict=True)
    return any(count >= LIKE_SHARE_MIN * len(pairs) and lead not in source for source, count in others)


def _plain(text: str) -> str:
    return "".join(one for one in text if one.isalnum() or one == "、")
