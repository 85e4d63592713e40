"""What a model wrote is shown only where the sources say it: figures, names and wording, sentence by sentence.

A wrong refusal costs little (the source is quoted instead), a wrong figure costs the company. So the checks are
strict: every figure with its unit, every address, code and foreign word must stand in the sources; each clause must be
mostly in the words of one source sentence; and none may deny what that sentence affirms, or the other way round.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.dialogue.figures import addresses, codes, figures, folded, latin_words
from bot.dialogue.omissions import subject_left_out, word_left_out
from bot.security.redaction import PLACEHOLDERS
from knowledge.contrasts import is_beside

CLAUSE_COVERED_MIN = 0.7
# A clause may also repeat the question's words: then what it adds to them must come from the source, and be enough.
ADDED_COVERED_MIN = 0.66
ADDED_MIN = 3
SUPPORTED_MIN = 3
POLARITY_OVERLAP_MIN = 0.4
SENTENCE_CONTENT_MIN = 5
# Of a clause, at most so much in the question's words.
LENT_SHARE_MAX = 0.5
# Of the clause before a promise.
CASE_TOLD_MIN = 0.3
# So many pairs of characters make a subject.
LENT_MAX = 2
# Of a condition's wording, in the reply or in what was asked.
CONDITION_TOLD_MIN = 0.5
HELD_CHARACTERS_MAX = 400
REPEATED_CHARACTERS_MAX = 60

_END = re.compile(r"[。！？!?；;\n]+[」』”\"')）】]*|(?<!\d)\.(?=\s)")
_CLAUSE = re.compile("[，,；;：:。！？!?\n（）()]+")
_MARKER = re.compile(r"(?m)^(\s*)(?:\d{1,2}[.、)）]|[①-⑳])\s*(?=\S)")
_CITATION = re.compile(r"\s*[\[【]\d{1,2}[\]】]")
_FILLER = re.compile(
    "(?:您好|你好|亲|亲亲|好的|是的|抱歉|很抱歉|不好意思|请问|感谢您的咨询|感谢您的提问|感谢咨询|希望能帮到您|希望对您有帮助|"
    "根据(?:以上|上面|上述)?(?:的)?(?:资料|信息|内容|说明|规定)(?:显示)?|hello|hi|sorry|thankyou)*"
)
# What makes a clause a condition of its sentence, or an exception from it.
_CONDITION = re.compile(
    "的$|^(?:如果?|若|凡是?|只要|只有|除非|除|假如|但|不过|且|并且|未|没有|仅|须|限)"
    "|前提|为准|免(?:费|收|运费)|仅限|必须|除外|例外|不含|不包括|以内|以上|以下|超过|不足|不满|最多|最低|至少|满\\d(?!.*(?:送|减|赠|包邮|打|得|享))|起算?$|[前后内]$|期间|情况下"
)
_PROMISE = re.compile("可以|可退|能|支持|免费|全额|赔|补发|换新")
_TAKES_BACK = re.compile("但|不过|除外|例外|其中")
_ROW = frozenset("|-*•·")
# Pairs of characters of the question: where one sentence has several, another with half of them or less is beside it.
NEARER_MIN, NEARER_SHARE = 2, 0.5
_FRAME = re.compile(
    "怎么样?|如何|什么|哪里|哪些|哪个|多少|多久|时候|可以|能不能|需要|是不是|有没有|请问|麻烦|说一?下|我想|了解|一下|具体|注意|条件"
    "|吗|呢|的|了|么|吧|呀|啊|我|你|您|要|会|能|是|有|在|就|还|也|都|把|给|被|算|办|弄"
)
# Two characters that are no mere joint of a sentence.
_NAMING = re.compile(
    "[^的了在会将请您您你我们可以是为到后前内与和或及把就都也等时要有从并且则即由对于给被让请先再还只能需应该这那其此每各"
    "个不未无没上下中里外间且而但若如因所\\da-z]{2}"
)
_MARKUP = re.compile(r"[\[\]<>{}|`*_#\\\n]|:/|//")
_NEGATION = re.compile("不|没|无|未|勿|非|禁|拒|谢绝|别")
_NO_NEGATION = re.compile(
    "不但|不仅|不只|不同|不管|不论|无论|不好意思|不客气|不错|不少|不超过|不低于|不足|不满|不限|是不是|能不能|可不可以|要不要|"
    "非常|分别|特别|级别|类别|个别|区别|别名|别墅|除非|无理由|无线|无忧|无需|没关系"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sentence may be shown; `reason` names the check that failed and holds nothing of the text."""

    ok: bool
    reason: str = ""


def sentences(buffer: str) -> tuple[list[str], str]:
    """The whole sentences at the beginning of `buffer`, each with its end mark, and the unfinished rest."""
    whole: list[str] = []
    start = 0
    for match in _END.finditer(buffer):
        # A mark at the very end may still grow: 「？」 into 「？！」, a full stop into a decimal or an address.
        if match.end() == len(buffer) and buffer[-1] not in "。\n":
            break
        whole.append(buffer[start : match.end()])
        start = match.end()
    return whole, buffer[start:]


def shown(sentence: str) -> str:
    """The sentence as the customer sees it: list numbers become dashes and source marks go, for neither is a fact."""
    return _CITATION.sub("", _MARKER.sub(r"\1- ", sentence))


def repeatable(text: str) -> bool:
    """Whether a customer's words may be said back: nothing in them is an address, a code or markup of any kind."""
    plain = folded(text)
    short = len(text) <= REPEATED_CHARACTERS_MAX
    return short and not addresses(plain) and not codes(plain) and not _MARKUP.search(plain)


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of a source: its clauses, and the rest of the list or table that it stands in."""

    pairs: frozenset[str]
    clauses: tuple[str, ...]
    beside: tuple[str, ...] = ()


class Guard:
    """Checks sentences against `sources`, the texts that the answer to `question` may rest on, and their `titles`.

    A title, like the question, may be repeated and affirms nothing: 「大件可以放快递柜吗」 is no source for it. And a
    sentence must have a word of the question, where that has any, and much of what the sentence nearest to it has.
    Asked how much or how long, it says that, where a source does.
    """

    def __init__(self, sources: Sequence[str], question: str = "", titles: Sequence[str] = ()) -> None:
        asked = folded(question)
        self._question = _bigrams(asked)
        named = _bigrams(folded("\n".join(titles)))
        self._asked = self._question | named
        self._lent = self._question - named
        self._wanted = frozenset(pair for part in _FRAME.split(asked) for pair in _bigrams(part))
        whole = folded("\n".join((*titles, *sources)))
        self._addresses = addresses(whole)
        self._codes = codes(whole)
        self._figures = figures(whole)
        self._words = latin_words(whole)
        self._placeholders = [one for one in PLACEHOLDERS.values() if one not in "\n".join(sources)]
        self._known = _bigrams(whole) | self._question
        self._said = [one for text in sources for one in statements(folded(text))]
        self._how_much = "" if is_beside(question, sources) else question
        self._most = max((len(one.pairs & self._wanted) for one in self._said), default=0)

    def check(self, sentence: str) -> Verdict:
        """Whether `sentence` (as `shown`) stands in the sources."""
        text = folded(sentence)
        # Personal data was masked on its way to somebody else's server; what the source says there is not known to it.
        if any(one in sentence for one in self._placeholders):
            return Verdict(ok=False, reason="masked")
        if _FILLER.fullmatch(_letters(text)):
            return Verdict(ok=True)
        for found, known, reason in (
            (addresses(text), self._addresses, "unsupported_address"),
            (codes(text), self._codes, "unsupported_code"),
            (latin_words(text), self._words, "unsupported_word"),
        ):
            if not found <= known:
                return Verdict(ok=False, reason=reason)
        for number, unit in figures(text):
            same = {known_unit for known_number, known_unit in self._figures if known_number == number}
            if not same or (unit and unit not in same and "" not in same):
                return Verdict(ok=False, reason="unsupported_figure")
        if text.rstrip().endswith("?"):
            return Verdict(ok=False, reason="question_back")
        return self._check_wording(text)

    def _check_wording(self, text: str) -> Verdict:
        if len(_letters(text)) < SENTENCE_CONTENT_MIN:
            return Verdict(ok=False, reason="too_short")
        told = _bigrams(text)
        subject = told
        for clause in _CLAUSE.split(text):
            if _FILLER.fullmatch(_letters(clause)):
                continue
            backing = [one for one in self._said if self._covers(one.pairs, _bigrams(clause))]
            if reason := self._wrong(clause, backing, told):
                return Verdict(ok=False, reason=reason)
            subject = subject.union(*(one.pairs for one in backing))
        spoken_of = len(subject & self._wanted)
        nearer = self._most >= NEARER_MIN and spoken_of <= NEARER_SHARE * self._most
        if (self._wanted and (not spoken_of or nearer)) or is_beside(self._how_much, [text]):
            return Verdict(ok=False, reason="beside_the_point")
        return Verdict(ok=True)

    def _wrong(self, clause: str, backing: Sequence[Statement], told: frozenset[str]) -> str:
        """What is wrong with a clause of a reply that rests on these sentences, "" for nothing."""
        if not backing:
            return "unsupported_wording"
        if _made_up(clause, self._known):
            return "made_up_word"
        pairs = _bigrams(clause)
        if self._contradicts(clause, pairs):
            return "contradicts_source"
        reasons = [self._of_another(one, pairs) or wrong_in(one, clause, told, self._question) for one in backing]
        if all(reasons):
            return reasons[0]
        parts = [part for one in backing for part in one.clauses]
        every = [part for one in self._said for part in one.clauses]
        left_out = word_left_out(clause, parts) or subject_left_out(clause, every, told | self._question)
        return "left_out" if left_out else ""

    def _covers(self, known: frozenset[str], pairs: frozenset[str]) -> bool:
        """Whether the wording of a clause stands in one source sentence; a short one must stand there whole."""
        if len(pairs) < SUPPORTED_MIN:
            return bool(pairs) and pairs <= known
        supported, added = pairs & known, pairs - self._asked
        if len(supported) >= CLAUSE_COVERED_MIN * len(pairs):
            return True
        enough = len(added) >= ADDED_MIN and len(supported) >= LENT_SHARE_MAX * len(pairs)
        return enough and len(added & known) >= ADDED_COVERED_MIN * len(added)

    def _of_another(self, source: Statement, pairs: frozenset[str]) -> str:
        """Whether the question's subject stands in this sentence's place although other sentences speak of it: what is
        said of gift cards is not said of instalments.
        """
        lent = (pairs & self._lent) - source.pairs
        elsewhere = sum(any(pair in other.pairs for other in self._said) for pair in lent)
        return "said_of_another" if elsewhere >= LENT_MAX else ""

    def _contradicts(self, clause: str, pairs: frozenset[str]) -> bool:
        """One says no where the other does not: 「可以退」 out of 「不可以退」, or the other way round."""
        found = max(self._said, key=lambda one: len(pairs & one.pairs), default=None)
        if found is None or len(pairs & found.pairs) < POLARITY_OVERLAP_MIN * len(pairs):
            return False
        near = max(found.clauses, key=lambda part: len(_bigrams(part) & pairs))
        return bool(_negations(clause)) != bool(_negations(near))


def statements(text: str) -> list[Statement]:
    """What a folded text says, sentence by sentence; rows of a list or a table know each other."""
    found: list[Statement] = []
    for line in text.split("\n"):
        rows = tuple(one for one in text.split("\n") if one[:1] in _ROW) if line[:1] in _ROW else ()
        parts = [one for one in re.split("[。!?;]+", line) if _letters(one)]
        for place, part in enumerate(parts):
            # 「…。但定制的除外。」: what takes something back belongs to what it takes it from.
            more = parts[place + 1] if place + 1 < len(parts) and _TAKES_BACK.match(parts[place + 1].strip()) else ""
            clauses = tuple(one for one in _CLAUSE.split(f"{part}，{more}") if _letters(one))
            found.append(Statement(_bigrams(part), clauses, rows))
    return found


def wrong_in(source: Statement, clause: str, told: frozenset[str], asked: frozenset[str]) -> str:
    """What is wrong with a clause that rests on this sentence, "" for nothing: a condition of it that neither the reply
    (`told`) nor the question has, or a figure that the sentence gives for something else.
    """
    for condition in source.clauses:
        pairs = _bigrams(condition)
        if _CONDITION.search(_letters(condition)) and len((told | asked) & pairs) < CONDITION_TOLD_MIN * len(pairs):
            return "condition_dropped"
    numbers = {number for number, _ in figures(clause)}
    if not numbers:
        bare = _PROMISE.search(clause) and not _its_case_is_told(source, clause, told | asked)
        return "condition_dropped" if bare else ""
    parts = source.beside or source.clauses
    having = [one for one in parts if numbers <= {number for number, _ in figures(one)}]
    spoken = _named(clause) | asked
    own = frozenset().union(*(_named(one) for one in having)) if having else frozenset()
    others = frozenset().union(*(_named(one) for one in parts if one not in having))
    return "figure_of_another" if (others - own) & spoken and not (own - others) & spoken else ""


def _its_case_is_told(source: Statement, clause: str, told: frozenset[str]) -> bool:
    """Whether the reply says of what case a promise is made, which the sentence says just before it."""
    pairs = _bigrams(clause)
    overlaps = [len(_bigrams(one) & pairs) for one in source.clauses]
    place = overlaps.index(max(overlaps))
    case = _bigrams(source.clauses[place - 1]) if place else frozenset()
    return len(case & told) >= CASE_TOLD_MIN * len(case)


def _named(clause: str) -> frozenset[str]:
    return _bigrams(re.sub(r"\d+", " ", clause))


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def _bigrams(text: str) -> frozenset[str]:
    plain = _letters(text)
    return frozenset(plain[i : i + 2] for i in range(len(plain) - 1))


def _made_up(clause: str, known: frozenset[str]) -> bool:
    """Whether two characters stand together as nowhere in what is `known`, and not where two known words meet: a name
    that a model put together, such as 「玉心」 out of 「玉石」 and 「岩心」.
    """
    plain = _letters(clause)
    pairs = [plain[at : at + 2] for at in range(len(plain) - 1)]
    for at, pair in enumerate(pairs):
        if pair not in known and _NAMING.fullmatch(pair):
            between = 0 < at < len(pairs) - 1 and pairs[at - 1] in known and pairs[at + 1] in known
            if not between:
                return True
    return False


def _negations(text: str) -> int:
    return len(_NEGATION.findall(_NO_NEGATION.sub("", text)))
