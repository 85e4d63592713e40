"""In what two questions differ: the words in each other's place, without the frame of a question around them.

退货运费谁出 and 换货运费谁出 are one question but for a word, and that word is the question. Pure functions.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from knowledge.text import normalise

# What asks, and what goes around it: between two questions it makes no difference which of them stands there.
_FRAME = re.compile(
    "怎么样|怎样|怎么|如何|为什么|为何|为啥|凭什么|咋|什么样|什么|啥|哪里|哪儿|哪些|哪个|哪种|哪天|哪家|哪|多少|多久|多长时间|多长|几天|时间|时候"
    "|何时|可不可以|能不能|会不会|要不要|需不需要|是不是|有没有|可以|可否|能否|能够|需要|必须|应该|是否|没有|开始|大概|一般|请问|还是|或者"
    "|办法|方法|措施|方式|一下|这样|这个|那个|这种|那种|这些|那些|我们|你们|他们|关于|情况|意思|原因|问题|回事|一个|一次|谢谢|你好|您好"
    "|支持|提供|能|会|要|需|应|是|有|没|吗|呢|的|地|得|了|么|吧|呀|啊|嘛|呗|不|我|你|您|他|她|它|也|都|就|再|才|又|很|太|做|进行|去|在|给|把|被|对"
    "|从|起|最|几|谁|那|这|来|到|想|和|跟|与|及|由|个|次|种|款|家|说|帮|求|请|该|样|[\\W_]+"
)
# Several words for one thing: which of them stands there makes no difference either.
_SAME = tuple(
    (re.compile("|".join(words)), words[0])
    for words in (
        line.split()
        for line in (
            "钱 价格 价钱 费用 收费 花费 价位 售价 便宜 贵 卖",
            "出 承担 支付 负担 负责 付 缴 交",
            "办 处理 解决 弄 搞",
            "治 治疗 治愈 医治 根治 治好 疗",
            "好 效果 有效 管用 有用 作用 功效 疗效",
            "用 服用 使用 食用 吃 喝",
            "引起 导致 造成 引发 诱发",
            "区别 不同 差别 不一样 区分",
            "邮费 运费 快递费",
            "退 退回 退还",
            "质保 保修",
            "换 更换",
        )
    )
)
# What only asks, or is polite: 怎么开发票 and 我要开发票 say the same. What is asked (多久, 谁, 哪里) stays.
_ASKING = re.compile(
    "请问|你好|您好|麻烦|(?:怎么|怎样|如何|咋)(?:弄|搞|操作)|怎么样|怎么|怎样|如何|咋样|咋|能不能|可不可以|能否|可否|可以|是不是|有没有|什么|需要|我想要|我想"
    "|我要|想要|一下|我们|你们|咱们|吗|么|呢|吧|啊|呀|的|了|我|你|您|啥|请|能|想|要|是|哦|噢|哈|嘛|办理|进行"
)
# From where to where, or what into what: in another order it is something else.
_DIRECTED = re.compile("到|转|换|比|给|改|变|兑|抵")
SAME_CHARACTERS_MIN = 2
DISPLACED_MIN = 0.35


@dataclass(frozen=True, slots=True)
class Difference:
    """What one question says that the other does not, and the other way round, as pieces in order; `swapped` are those
    that stand in each other's place. `shared`: of the characters of both, frame and all, the share they have in common.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    swapped: tuple[tuple[str, str], ...]
    shared: float


@lru_cache(maxsize=4096)
def content(text: str) -> str:
    """A question without its frame, in lower case and simplified characters."""
    said = normalise(text)
    for words, word in _SAME:
        said = words.sub(word, said)
    return _FRAME.sub("", said)


def difference(one: str, other: str) -> Difference:
    """In what two questions differ."""
    mine, its = content(one), content(other)
    ours, theirs, swapped = [], [], []
    for kind, start, end, its_start, its_end in SequenceMatcher(None, mine, its, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        said, other_said = mine[start:end], its[its_start:its_end]
        ours += [said] if said else []
        theirs += [other_said] if other_said else []
        swapped += [(said, other_said)] if said and other_said else []
    whole, its_whole = Counter(normalise(one)), Counter(normalise(other))
    shared = 2 * (whole & its_whole).total() / max(whole.total() + its_whole.total(), 1)
    return Difference(tuple(ours), tuple(theirs), tuple(swapped), shared)


def swap(query: str, wording: str, said: Iterable[str]) -> float:
    """How much a query is a wording of an entry with another word in it, of which the entry says nothing in all that it
    has `said`: 1 where the rest is all the same, 0 where less than half of both is or there is no such word.
    """
    found = difference(query, wording)
    return 2 * found.shared - 1 if found.shared > 0.5 and _has_unspoken(found, said) else 0.0


@lru_cache(maxsize=4096)
def _asked(text: str) -> str:
    return _ASKING.sub("", normalise(text))


def says_the_same(query: str, wording: str) -> bool:
    """Whether a query is a wording in another order, or with other words that only ask: 怎么开发票, 发票怎么开."""
    ours, theirs = _asked(query), _asked(wording)
    if ours == theirs:
        return len(ours) >= SAME_CHARACTERS_MIN
    if len(ours) < SAME_CHARACTERS_MIN or len(ours) != len(theirs) or _DIRECTED.search(ours):
        return False
    return Counter(ours) == Counter(theirs)


def is_displaced(query: str, wordings: Sequence[str], answer: str) -> bool:
    """Whether a query is about the same as an entry but for a word of which that says nothing: in the wording that has
    most in common with it, at least DISPLACED_MIN of what both are about, another word stands in its place.
    """
    asked = Counter(content(query))
    shares = [2 * (asked & its).total() / max((asked + its).total(), 1) for its in map(Counter, map(content, wordings))]
    most = max(shares, default=0.0)
    if most < DISPLACED_MIN:
        return False
    return _has_unspoken(difference(query, wordings[shares.index(most)]), (*wordings, answer))


def _has_unspoken(found: Difference, said: Iterable[str]) -> bool:
    if not found.swapped:
        return False
    spoken = "\n".join(map(content, said))
    return any(ours not in spoken for ours, _ in found.swapped)


def is_bare(query: str) -> bool:
    """Whether a query asks nothing of what it names: 运费, 发票."""
    return not _FRAME.search(normalise(query))


def share_named(word: str, wording: str) -> float:
    """How much of what a wording is about a bare word names, 0..1; 0 where the wording does not have it."""
    return len(content(word)) / max(len(content(wording)), 1) if normalise(word) in normalise(wording) else 0.0
