"""What a message means in its conversation: questions that lean on what was said before, and several in one. Pure.

A follow-up is searched together with its subject, the entry answered last, and only where the words alone were not
enough or say themselves that they lean on something: `bot.dialogue.context.reading`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.dialogue.handoff import wish
from bot.dialogue.smalltalk import normalised, small_talk
from bot.dialogue.types import Utterance
from knowledge.codes import CODE
from knowledge.foreign import in_latin
from knowledge.text import simplify
from knowledge.types import Entry

FOLLOW_UP_CHARACTERS_MAX = 24
FOLLOW_UP_WIDTH_MAX = 48
SUBJECT_CHARACTERS_MIN = 4
OTHER_CHARACTERS_MAX = 6
PARTS_MAX = 4
PART_CHARACTERS_MIN = 3
SUBJECT_CHARACTERS_MAX = 60
TRANSFERRED_CHARACTERS_MIN = 2

_LEAD = re.compile(
    "^(?:(?:好的?|嗯+|哦+|噢|行|ok|okay|谢谢|请问|再问(?:一?下|个)?|还?想问(?:一?下)?|and|so|then|but)[,，。 ]*)*+"
)
_OTHER = re.compile("^(?:那么?|还有|另外|what about|how about)(?P<rest>.+?)(?:呢|咧)*$|^(?P<short>.{1,8})呢$")
_POINTS = re.compile(
    "^(?:那|还)?(?:可不可以|能不能|是否可以|可以|能)(?=[和跟与同].{1,6}一(?:起|块|同))"  # 能跟积分一起用吗: what can?
    "|它|[这那][个款种件双条台]|这些|那些|这样|那样|这里面?|上面|刚才|前面|其中|该(?:商品|产品|订单)"
    r"|\b(?:it|that|this|those|these|one)\b"
)
_LEANING = re.compile(
    "(?:那|那么|所以|现在|接下来|然后|到底|还|还要|还得|得|再|一般|大概|具体|总共|一共|最|要|需要|能|可以|会)*+"
    "(?:来|去|跑|等|做|花|付|交|扣|罚|退)?"
    "(?:从?哪天(?:开始)?算?|多久|多长时间|几天|什么时候|啥时候|何时|多少钱|多少|要钱|收费|贵|怎么弄|怎么办|怎么做|怎么操作|怎么用|怎么填"
    "|在哪|在哪里|哪里|去哪|在哪里弄|在哪儿|为什么|为啥|凭什么|可以|能|行|要什么|需要什么|要哪些|哪些|有哪些|谁出|谁承担|谁付"
    "|有什么条件|什么条件|有什么要求|有限制|到账|能退|能换|有效期|几个|几次|几趟|几回)"
    "(?:能|可以|会)?(?:到账?|收到|好|弄好|用|弄|办|退|换|拿到|处理|生效)?(?:吗|呢|啊|呀|么|了|的|嘛|不)*+"
    "|(?:and|but|so|then|within|for|after)*+(?:howlong|howmuch|when|where|why|how|who|whopays|isitfree|sincewhen|untilwhen)"
    "(?:doesittake|willittake|isit|doit|doidoit|doidothat)?"
)
_CORRECTION = re.compile(
    "^(?:不是的?|不对|我?[说问打写选弄搞]?错了|你?理解错了?|no)[,，。！! ]*"
    "(?:我?(?:是|想|要|说|问)*的?(?:是|的是)|我(?:想|要)?(?:问|说|是)|i mean|i meant)?(?P<rest>.{2,})$"
    "|^我(?:问|说)的是(?P<meant>.{2,})$"
)
_UNSOLVED = re.compile(
    "(?:我?(?:按|照)(?:你|您)?(?:说|讲)的?(?:做|试|弄)?(?:了|过)?)?"
    "(?:都|也|还|又)?(?:试(?:过)?了?|弄过了?|做过了?|操作了)?(?:还是|依然|仍然|也|都|可是|但是?|但还是)*+"
    "(?:不行|不管用|没用|没有用|不好使|不可以|没反应|没解决|解决不了|没弄好|弄不了|不对|失败|一样|没好|不能用|搞不定)(?:啊|呀|呢|了|的|怎么办|咋办)*+"
    "|.{1,8}(?:也|还是|都|依然|仍然)(?:不行|不管用|没用|没有用|不好使|没反应|没解决|失败|一样|搞不定)(?:啊|呀|了)*+"
    "|(?:still|it)*(?:doesnt|doesnot|didnt|not)(?:work|working|help|solved)(?:ing)?(?:either|atall)?|stillnotworking|nouse"
)
_ITEM = re.compile(r"第(?P<number>[一二两三四五六七八九1-9])(?:个|条|步|种|点|项)?(?P<rest>.{0,16})")
_LISTED = re.compile(r"(?m)^\s*(?:(\d{1,2})[.、)）]|[-*•])\s*(.+?)\s*$")
_ASKED_AND_TOLD = tuple(
    (re.compile(asked), re.compile(told))
    for asked, told in (
        (
            "多久|多长时间|几天|哪天|什么时候|啥时候|何时|how long|when",
            (
                r"[\d一二三四五六七八九十两几半]+ ?个?(?:天|小时|分钟|工作日|周|月|年|日|点|:)"
                "|当天|次日|随时|立即|马上|day|hour|minute|week"
            ),
        ),
        ("多少钱|要钱|收费|贵|how much|free", r"\d+ ?(?:元|块|%|折)|[¥￥$€£] ?\d|免费|包邮|不收|费用|yuan|free"),
        ("谁出|谁承担|谁付|who pays", "承担|出|付|免费|包邮|pay|free"),
    )
)  # fmt: skip
_FRAME = re.compile(
    "怎么样|怎么|如何|为什么|为啥|什么|啥|哪里|哪儿|哪些|哪天|哪|多少|多久|多长|时间|时候|可以|能不能|能|需要|要|是不是|是|有没有|有|没有"
    "|开始|大概|一般|请问|还是|或者|别的|办法|一下|这样|这个|那个|吗|呢|的|了|么|吧|呀|啊|不|我|你|您|也|都|还|弄|办|搞|去|在|给|把|呗|嘛"
    "|从|算|起|最|几|谁|出|那|这|就|来|到|想|和|跟|钱|一|个|次|[^\\w]"
    "|(?<![a-z])(?:how|much|many|long|what|when|where|which|who|why|is|are|was|do|does|did|can|could|will|would|should|may"
    "|i|you|we|it|he|she|they|my|me|your|our|the|an?|that|this|there|to|for|of|in|on|at|by|with|and|or|be|have|has|get|got"
    "|any|need|please|about|then|so|if|not|no)(?![a-z])"
)
_UNIT = re.compile("[a-z0-9]+|[^\\sa-z0-9]")
_SENTENCE = re.compile(r"[^。！？!?；\n]+[。！？!?；\n]*")
_PREAMBLE = re.compile("(?:我?(?:就|只)?是?想?(?:请?问|咨询|了解)(?:一下|下|个事|你|您)?|问个正事)[,，:： ]*")
_CLAUSES = re.compile(r"(?<![a-z])\s+|\s+(?![a-z])|[，,。！!？?；;]+", re.IGNORECASE)
_WISHES = re.compile(r"我(?:就|还|只)?是?(?:想|要)|帮我|给我|麻烦|\b(?:i want|i need|i would like|i'd like)\b")
_END = re.compile(r"(?<=[？?！!。；;\n])\s*|(?:，|,)\s*(?=(?:还有|另外|顺便|再问|以及))")
_ASKS = re.compile(
    "多少|几|吗|呢|么|怎么|怎样|如何|什么|啥|哪|谁|为何|能不能|能否|可不可以|可否|是不是|有没有|要不要|会不会|多久|多长|不$|[?？]\\s*$"
    r"|\b(?:how|what|when|where|which|who|why|can|could|do|does|is|are|may|will)\b"
)
_NUMERALS = {
    mark: number
    for number, marks in enumerate(["一1", "二两2", "三3", "四4", "五5", "六6", "七7", "八8", "九9"], 1)
    for mark in marks
}


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A message that may lean on the conversation: its subject and what it adds to it.

    `surely`: its words say so themselves (那…呢, 这个, 我说的是); else they may stand alone as well. `form`: they only
    name something, as 那运费呢 does. `foreign`: it has words, and none of them Chinese.
    """

    subject: str
    words: str
    surely: bool
    form: bool = False
    foreign: bool = False

    @property
    def query(self) -> str:
        """What to search for in place of the message."""
        return f"{self.subject} {self.words}".strip()

    @property
    def transferred(self) -> str:
        """The subject asked of what the words name in place of the like: PPR-9088 呢 after PPR-9087 电池多大, 换货呢
        after 退货运费谁出. Empty where the subject names nothing like it, or one cannot tell which.
        """
        if not self.form:
            return ""
        words = self.words
        if CODE.fullmatch(words):
            known = CODE.findall(self.subject)
            return CODE.sub(words, self.subject) if len(set(known)) == 1 else ""
        if len(words) < TRANSFERRED_CHARACTERS_MIN:
            return ""
        at = self.subject.find(words[-1])
        start = at + 1 - len(words)
        if start < 0 or words[-1].isascii() or self.subject.count(words[-1]) != 1:
            return ""
        return f"{self.subject[:start]}{words}{self.subject[at + 1 :]}"


def follow_up(text: str, history: Sequence[Utterance]) -> FollowUp | None:
    """How a message leans on `history`; None where it is too long to, or there is nothing to lean on."""
    found = _follow_up(text, history)
    return replace(found, foreign=True) if found and in_latin(text) else found


def surely_follows(text: str, history: Sequence[Utterance]) -> bool:
    """Whether the words of a message say themselves that it leans on `history`."""
    lean = follow_up(text, history)
    return lean is not None and lean.surely


def _follow_up(text: str, history: Sequence[Utterance]) -> FollowUp | None:
    words = _LEAD.sub("", text.strip().casefold()).strip(" ,，。.!！?？~～")
    subject = subject_of(history)
    if not subject or not words or width(words) > FOLLOW_UP_WIDTH_MAX:
        return None
    plain = normalised(words)
    if match := _CORRECTION.search(words) or _OTHER.fullmatch(words):
        meant = next(part for part in match.groups() if part)
        short = len(normalised(meant)) <= OTHER_CHARACTERS_MAX or CODE.fullmatch(meant) is not None
        return FollowUp(subject, meant, surely=short, form=short and not _ASKS.search(meant))
    if match := _ITEM.search(words):
        number = _NUMERALS[match["number"]]
        items = _items(history)
        if number <= len(items):
            return FollowUp(subject, f"{items[number - 1]} {match['rest']}".strip(), surely=True)
    if _LEANING.fullmatch(plain):
        return FollowUp(subject, words, surely=True)
    rest = _POINTS.sub("", words).strip()
    return FollowUp(subject, rest or words, surely=rest != words)


def width(text: str) -> int:
    """In columns: two for a Chinese character, one for a letter."""
    return sum(1 if character.isascii() else 2 for character in text)


def coverage(words: str, entry: Entry, *, foreign: bool = False) -> float:
    """How much of what is asked an entry speaks of, 0..1: of the words, and of a time or a price where one is asked.
    Foreign words that it does not have say nothing, for or against.
    """
    said, simple = _said_by(entry), simplify(words).casefold()
    pairs = _pairs(words)
    told = [told.search(said) is not None for asked, told in _ASKED_AND_TOLD if asked.search(simple)]
    found = sum(pair in said for pair in pairs)
    named = found / len(pairs) if pairs and (found or not foreign) else 0.5
    return 0.7 * named + 0.3 * (sum(told) / len(told) if told else 0.5)


def shared(words: str, entry: Entry, *, foreign: bool = False) -> float:
    """Share, 0..1, of the characters of what is asked (Latin words whole) that an entry has: where it speaks of the
    same in other words, 照片 for 拍照, it still has these. 0.5 where there are none, or foreign ones that it lacks.
    """
    units, said = _UNIT.findall(_FRAME.sub(" ", simplify(words).casefold())), _said_by(entry)
    found = sum(one in said for one in units)
    return found / len(units) if units and (found or not foreign) else 0.5


def _said_by(entry: Entry) -> str:
    return simplify("\n".join((*entry.phrasings, entry.answer))).casefold()


def is_another_thing(words: str, entry: Entry) -> bool:
    """Whether words that name a thing share its kind with what an entry speaks of, and not the thing itself: 羽绒服
    where that is about 羽绒睡袋.
    """
    pairs, said = _pairs(words), _said_by(entry)
    return len(pairs) > 1 and pairs[-1] not in said and any(pair in said for pair in pairs[:-1])


def passage_on(words: str, entry: Entry) -> str:
    """The sentences of an entry's answer that say something to a question about it; all of it where none does."""
    sentences = [one for one in _SENTENCE.findall(entry.answer) if one.strip()]
    return "".join(one for one in sentences if _touches(one, words)).strip() or entry.answer


def cores(text: str) -> tuple[str, ...]:
    """What a message may come to without what is said around it: after 「我想问下」, and its last question or wish."""
    plain = text.strip()
    asked = _PREAMBLE.split(plain)[-1].strip(" ,，。")
    clauses = [one for one in _CLAUSES.split(asked) if one and _is_question(one)]
    last = next((one for one in reversed(clauses) if _ASKS.search(low := one.casefold()) or _WISHES.search(low)), "")
    return tuple(one for one in dict.fromkeys((asked, last)) if one and one != plain and _is_question(one))


def clauses(text: str) -> tuple[str, ...]:
    """The clauses of a message, where there are two to four of them that may say what is wanted; empty otherwise."""
    found = tuple(dict.fromkeys(one.strip() for one in _CLAUSES.split(text.strip()) if one and _is_question(one)))
    return found if 2 <= len(found) <= PARTS_MAX else ()


def _touches(sentence: str, words: str) -> bool:
    said = simplify(sentence).casefold()
    told = any(asked.search(simplify(words)) and told.search(said) for asked, told in _ASKED_AND_TOLD)
    return told or any(pair in said or (len(pair) == 2 and set(pair) <= set(said)) for pair in _pairs(words))


def _pairs(words: str) -> list[str]:
    """Of what is not frame: characters in pairs, Latin words whole."""
    runs = _FRAME.sub(" ", simplify(words).casefold()).split()
    return [one for run in runs for one in ([run] if run.isascii() else [run[i : i + 2] for i in range(len(run) - 1)])]


def unsolved(text: str, history: Sequence[Utterance]) -> bool:
    """Whether the message says that the answer before it did not help: 「还是不行」."""
    last = next((one for one in reversed(history) if one.role in ("bot", "human")), None)
    if last is None or last.decision == "chitchat":
        return False
    plain = normalised(text)
    return len(plain) <= FOLLOW_UP_CHARACTERS_MAX and _UNSOLVED.fullmatch(plain) is not None


def subject_of(history: Sequence[Utterance]) -> str:
    """What the conversation is about: the question answered or chosen last, else the customer's last real question; of
    one that was itself read with its subject, what was then offered first. Nothing, where it was refused.
    """
    reply: Utterance | None = None
    for one in reversed(history):
        if one.titles and one.decision in ("answer", "generate", "action", "handoff"):
            return one.titles[0][:SUBJECT_CHARACTERS_MAX]
        if one.role == "user" and _stands_alone(one.text):
            return _offered_in_context(reply) or one.text
        if one.decision == "refuse":
            return ""
        reply = one if one.role == "bot" else reply
    return ""


def _offered_in_context(reply: Utterance | None) -> str:
    if reply is None or reply.decision != "clarify" or not reply.titles:
        return ""
    in_context = any(reason.startswith("context: ") for reason in reply.reasons)
    return reply.titles[0][:SUBJECT_CHARACTERS_MAX] if in_context else ""


def parts(text: str) -> tuple[str, ...]:
    """The questions of a message, in order, where there are two to four of them; empty otherwise."""
    for mark in (_END, _CLAUSES):
        pieces = [piece.strip() for piece in mark.split(text) if piece and piece.strip()]
        asked = [one for one in pieces if _is_question(one) and _ASKS.search(one.casefold())]
        if 2 <= len(asked) <= PARTS_MAX:
            return tuple(asked)
    return ()


def named_option(text: str, suggestions: Sequence[str]) -> int | None:
    """Index of the only offered question that holds all of a short message's words; None where none or several do."""
    plain = normalised(text)
    if not 2 <= len(plain) <= FOLLOW_UP_CHARACTERS_MAX / 2:
        return None
    if not _pairs(text):
        return None
    holding = [index for index, one in enumerate(suggestions) if plain in normalised(one)]
    return holding[0] if len(holding) == 1 else None


def _stands_alone(text: str) -> bool:
    plain = normalised(text)
    fits = SUBJECT_CHARACTERS_MIN <= len(plain) <= SUBJECT_CHARACTERS_MAX
    other = _OTHER.fullmatch(text.strip())
    names_only = other is not None and len(normalised(other["rest"] or "")) <= OTHER_CHARACTERS_MAX
    return fits and _is_question(text) and not _LEANING.fullmatch(plain) and not names_only


def _is_question(text: str) -> bool:
    plain = normalised(text)
    return len(plain) >= PART_CHARACTERS_MIN and not small_talk(text) and not wish(text)


def _items(history: Sequence[Utterance]) -> list[str]:
    """What the bot's last reply listed, as numbered or dashed lines."""
    last = next((one for one in reversed(history) if one.role in ("bot", "human")), None)
    return [match.group(2) for match in _LISTED.finditer(last.text)] if last else []
