"""Headings that are questions: a level of siblings is judged together, from the top of the document down."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from knowledge.readers.blocks import Block
from knowledge.readers.questions import (
    ASKS_WITHOUT_MARK,
    MARKED,
    SYMPTOM,
    count,
    ends_as_sentence,
    is_aside,
    is_faq_title,
    is_statement,
    says_faq,
    wording,
)

SHARE_MIN = 0.6
_LEVEL_GROUP_MIN = 3


def own(blocks: Sequence[Block], i: int) -> range:
    """A heading and all that stands under it."""
    end = i + 1
    while end < len(blocks) and not (blocks[end].kind == "heading" and blocks[end].level <= blocks[i].level):
        end += 1
    return range(i, end)


def search(blocks: Sequence[Block], scores: Sequence[float], taken: set[int], *, in_faq: bool) -> list[int]:
    """Indices of the headings that are questions. `scores`: how surely each block asks (`questions.asks`)."""
    return _Search(blocks, scores, taken).below(0, len(blocks), in_faq=in_faq)


class _Search:
    def __init__(self, blocks: Sequence[Block], scores: Sequence[float], taken: set[int]) -> None:
        self.blocks, self.scores, self.taken = blocks, scores, taken
        self.heads = [i for i, block in enumerate(blocks) if block.kind == "heading" and i not in taken]
        self.asking_levels = set(self._asking_levels())

    def below(self, low: int, high: int, *, in_faq: bool) -> list[int]:
        """The questions among the headings of a stretch and of what lies under them."""
        children = list(self._children(low, high))
        group = [(i, end) for i, end in children if not self._is_section(i, end)]
        among = {i for i, _ in group}
        believed = self._believed([i for i, _ in group])
        counted = 2 * sum(self._is_counted(i) for i, _ in group) > len(group) > 1
        found = []
        for i, end in children:
            if i in among and self._is_question(i, end, believed=believed, counted=counted, in_faq=in_faq):
                found.append(i)
            else:
                found += self.below(i + 1, end, in_faq=in_faq or says_faq(self.blocks[i].text))
        return found

    def _children(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        heads = self.heads[bisect_left(self.heads, low) : bisect_left(self.heads, high)]
        at = 0
        while at < len(heads):
            head = heads[at]
            at += 1
            while at < len(heads) and self.blocks[heads[at]].level > self.blocks[head].level:
                at += 1
            yield head, heads[at] if at < len(heads) else high

    def _inner(self, i: int, end: int) -> list[int]:
        return self.heads[bisect_left(self.heads, i + 1) : bisect_left(self.heads, end)]

    def _has_body(self, i: int, end: int) -> bool:
        return i + 1 < end and self.blocks[i + 1].kind != "heading" and i + 1 not in self.taken

    def _is_counted(self, i: int) -> bool:
        text = self.blocks[i].text
        return count(text) is not None or wording(text, heading=True) != wording(text)

    def _is_section(self, i: int, end: int) -> bool:
        """Whether a heading stands over questions rather than being one."""
        if is_faq_title(self.blocks[i].text):
            return True
        inner = self._inner(i, end)
        first = inner[0] if inner else end
        lines = [j for j in range(i + 1, first) if self._is_line_question(j)]
        if lines[:1] == [i + 1] and self.scores[i] < SYMPTOM and i + 2 < first and i + 2 not in lines:
            return True
        if len(lines) >= 2 and any(j + 1 < first and j + 1 not in lines for j in lines[:-1]):
            return True
        if not inner or self._has_body(i, end):
            return False
        asking = sum(self.scores[j] >= SYMPTOM for j in inner)
        return self.scores[i] < ASKS_WITHOUT_MARK or 2 * asking >= len(inner)

    def _is_line_question(self, j: int) -> bool:
        block = self.blocks[j]
        if block.kind == "heading" or block.role or block.is_link:
            return False
        return self.scores[j] >= MARKED or (
            self.scores[j] >= ASKS_WITHOUT_MARK
            and not is_statement(block.text)
            and (count(block.text) is not None or block.bold or block.sequence != "")
        )

    def _believed(self, group: Sequence[int]) -> bool:
        asking = [i for i in group if self.scores[i] >= SYMPTOM]
        sure = [i for i in group if self.scores[i] >= ASKS_WITHOUT_MARK]
        if len(group) >= 2 and sure and len(asking) >= SHARE_MIN * len(group):
            return True
        if len(group) >= _LEVEL_GROUP_MIN and len(asking) == len(group):
            return True
        return bool(asking) and self.blocks[group[0]].level in self.asking_levels

    def _asking_levels(self) -> Iterator[int]:
        """Levels at which most headings of the whole document ask."""
        for level in {self.blocks[i].level for i in self.heads}:
            group = [i for i in self.heads if self.blocks[i].level == level and self._has_body(i, len(self.blocks))]
            asking = sum(self.scores[i] >= SYMPTOM for i in group)
            sure = any(self.scores[i] >= ASKS_WITHOUT_MARK for i in group)
            if sure and len(group) >= _LEVEL_GROUP_MIN and asking >= SHARE_MIN * len(group):
                yield level

    def _is_question(self, i: int, end: int, *, believed: bool, counted: bool, in_faq: bool) -> bool:
        score, title = self.scores[i], self.blocks[i].text
        if is_aside(title) or (says_faq(title) and score < ASKS_WITHOUT_MARK):
            return False
        if score >= MARKED:
            return True
        if not (believed or in_faq):
            return False
        if score >= SYMPTOM:
            return True
        if ends_as_sentence(title) and self._has_body(i, end):
            return True  # 「装好以后没有反应。」 among questions; no section is called so
        in_series = not counted or self._is_counted(i)
        plain_title = self._has_body(i, end) and not self._inner(i, end) and not is_statement(title)
        return in_series and (counted or (in_faq and plain_title))
