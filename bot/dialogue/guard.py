"""What a model wrote is shown only where the sources say it: figures, names and wording, sentence by sentence.

A wrong refusal costs little (the source is quoted instead), a wrong figure costs the company. So the checks are
strict: every figure with its unit, every address, code and foreign word must stand in the sources; each clause must be
mostly in the words of one source sentence; and none may deny what that sentence affirms, or the other way round.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.dialogue.figures import addresses, codes, figures, folded, latin_words
from bot.security.redaction import PLACEHOLDERS

CLAUSE_COVERED_MIN = 0.7
# A clause may also repeat the question's words: then what it adds to them must come from the source, and be enough.
ADDED_COVERED_MIN = 0.66
ADDED_MIN = 3
SUPPORTED_MIN = 3
POLARITY_OVERLAP_MIN = 0.4
SENTENCE_CONTENT_MIN = 5
HELD_CHARACTERS_MAX = 400

_END = re.compile(r"[。！？!?；;\n]+[」』”\"')）】]*|(?<!\d)\.(?=\s)")
_CLAUSE = re.compile("[，,；;：:。！？!?\n（）()]+")
_MARKER = re.compile(r"(?m)^(\s*)(?:\d{1,2}[.、)）]|[①-⑳])\s*(?=\S)")
_CITATION = re.compile(r"\s*[\[【]\d{1,2}[\]】]")
_FILLER = re.compile(
    "(?:您好|你好|亲|亲亲|好的|是的|抱歉|很抱歉|不好意思|请问|感谢您的咨询|感谢您的提问|感谢咨询|希望能帮到您|希望对您有帮助|"
    "根据(?:以上|上面|上述)?(?:的)?(?:资料|信息|内容|说明|规定)(?:显示)?|hello|hi|sorry|thankyou)*"
)
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


class Guard:
    """Checks sentences against `sources`, the texts (titles included) that the answer to `question` may rest on."""

    def __init__(self, sources: Sequence[str], question: str = "") -> None:
        self._asked = _bigrams(folded(question))
        whole = folded("\n".join(sources))
        self._addresses = addresses(whole)
        self._codes = codes(whole)
        self._figures = figures(whole)
        self._words = latin_words(whole)
        self._placeholders = [one for one in PLACEHOLDERS.values() if one not in "\n".join(sources)]
        self._sentences = [(_bigrams(text), text) for text in _source_sentences(whole)]

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
        for clause in _CLAUSE.split(text):
            pairs = _bigrams(clause)
            if _FILLER.fullmatch(_letters(clause)) or (len(pairs) < SUPPORTED_MIN and not _NEGATION.search(clause)):
                continue
            if not any(self._covers(known, pairs) for known, _ in self._sentences):
                return Verdict(ok=False, reason="unsupported_wording")
            if self._contradicts(clause, pairs):
                return Verdict(ok=False, reason="contradicts_source")
        return Verdict(ok=True)

    def _covers(self, known: frozenset[str], pairs: frozenset[str]) -> bool:
        """Whether the wording of a clause stands in one source sentence."""
        supported, added = pairs & known, pairs - self._asked
        if len(supported) >= CLAUSE_COVERED_MIN * len(pairs):
            return True
        enough = len(added) >= ADDED_MIN and len(supported) >= SUPPORTED_MIN
        return enough and len(added & known) >= ADDED_COVERED_MIN * len(added)

    def _contradicts(self, clause: str, pairs: frozenset[str]) -> bool:
        """One says no where the other does not: 「可以退」 out of 「不可以退」, or the other way round."""
        overlap, said = max(((len(pairs & known), text) for known, text in self._sentences), default=(0, ""))
        if overlap < POLARITY_OVERLAP_MIN * len(pairs):
            return False
        near = max(_CLAUSE.split(said), key=lambda part: len(_bigrams(part) & pairs))
        return bool(_negations(clause)) != bool(_negations(near))


def _source_sentences(text: str) -> Iterator[str]:
    for line in re.split("[。！？!?；;\n]+", text):
        if line.strip():
            yield line


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def _bigrams(text: str) -> frozenset[str]:
    plain = _letters(text)
    return frozenset(plain[i : i + 2] for i in range(len(plain) - 1))


def _negations(text: str) -> int:
    return len(_NEGATION.findall(_NO_NEGATION.sub("", text)))
