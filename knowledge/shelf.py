"""The texts of one kind of unit, dense and lexical side by side, and which unit each belongs to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from knowledge import store
from knowledge.dense import DenseIndex
from knowledge.lexical import LexicalIndex
from knowledge.rank import Match
from knowledge.text import normalise, plain, simplify, tokens
from knowledge.types import Passage, TextKind, Unit, Vectors

DENSE_CANDIDATES = 64
LEXICAL_CANDIDATES = 48
DENSE_CANDIDATES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Text:
    """One searchable text of a unit: as written, as encoded, and whether it is a question the unit does not answer."""

    written: str
    simple: str
    kind: TextKind = "query"
    negative: bool = False
    token_list: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A query made ready for any number of shelves: its vector, shape [dimension], tokens and normal form."""

    vector: Vectors
    token_list: Sequence[str]
    normal: str


def texts_of(unit: Unit) -> list[Text]:
    """What of a unit is searchable: nothing while it is disabled."""
    if not unit.enabled:
        return []
    if isinstance(unit, Passage):
        whole = f"{unit.title}\n{unit.text}" if unit.title else unit.text
        simple = simplify(whole)
        return [Text(whole, simple, "passage", token_list=tuple(tokens(simple)))]
    found = {text: False for text in unit.phrasings if text.strip()}
    found.update({text: True for text in unit.negative_questions if text.strip() and text not in found})
    return [
        Text(text, plain(text), negative=negative, token_list=tuple(tokens(text))) for text, negative in found.items()
    ]


class Shelf:
    """Texts in numbered slots. Not thread-safe."""

    def __init__(self, dimension: int) -> None:
        self._dense = DenseIndex(dimension)
        self._lexical = LexicalIndex()
        self._units: dict[str, tuple[list[Text], list[int]]] = {}
        self._slots: dict[int, tuple[str, Text]] = {}
        self._free: list[int] = []
        self._exact: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._units))

    @property
    def searchable_units(self) -> int:
        return sum(bool(slots) for _, slots in self._units.values())

    def texts(self, id_: str) -> list[Text] | None:
        """The texts of a unit; None where it is unknown."""
        known = self._units.get(id_)
        return known[0] if known else None

    def put(self, id_: str, texts: list[Text], vectors: Vectors) -> None:
        """Add a unit or replace it; vectors have the shape [len(texts), dimension]."""
        self.remove(id_)
        # Numbers in use and free ones together are always 0..n-1; the next new one follows them.
        slots = [self._free.pop() if self._free else len(self._slots) + i for i in range(len(texts))]
        self._dense.add(slots, vectors)
        for slot, text in zip(slots, texts, strict=True):
            self._slots[slot] = id_, text
            self._lexical.add(slot, text.token_list)
            self._exact.setdefault(normalise(text.written), set()).add(slot)
        self._units[id_] = texts, slots

    def remove(self, id_: str) -> bool:
        """Forget a unit; says whether it was known."""
        if id_ not in self._units:
            return False
        texts, slots = self._units.pop(id_)
        self._dense.remove(slots)
        for slot, text in zip(slots, texts, strict=True):
            del self._slots[slot]
            self._lexical.remove(slot)
            same = self._exact[normalise(text.written)]
            same.discard(slot)
            if not same:
                del self._exact[normalise(text.written)]
        self._free.extend(slots)
        return True

    def matches(
        self, question: Question, units_wanted: int, admits: Callable[[str], bool] | None = None
    ) -> list[Match]:
        """The wordings near a query by meaning, by words or equal to it, with both scores each.

        At least `units_wanted` different units are among them, where there are so many. Units that `admits` refuses by
        their id are left out.
        """
        if not self._slots:
            return []
        scores = self._lexical.scores(question.token_list)
        exact = self._exact.get(question.normal, set())
        if admits is None:
            by_words = _largest(scores, LEXICAL_CANDIDATES)
        else:
            by_words = self._largest_admitted(scores, admits)
            exact = {slot for slot in exact if admits(self._slots[slot][0])}
        similar = self._nearest(question.vector, units_wanted, admits)
        further = [slot for slot in {*by_words, *exact} if slot not in similar]
        if further:
            similar |= dict(zip(further, (self._dense.vectors(further) @ question.vector).tolist(), strict=True))
        found = []
        for slot, dense in similar.items():
            id_, text = self._slots[slot]
            found.append(Match(id_, text.written, dense, float(scores[slot]), text.negative, slot in exact))
        return found

    def question_vector(self, id_: str, simple: str) -> Vectors | None:
        """The vector of a unit's question, where it has this one."""
        texts, slots = self._units.get(id_, ([], []))
        return self._dense.vectors(slots[:1])[0] if slots and texts[0].simple == simple else None

    def wordings(self, slots: Sequence[int]) -> tuple[list[tuple[str, str]], Vectors]:
        """Of these slots what is still there and not negative: (unit id, its question) each, and the vectors."""
        found = [slot for slot in slots if slot in self._slots and not self._slots[slot][1].negative]
        ids = [self._slots[slot][0] for slot in found]
        return [(id_, self._units[id_][0][0].written) for id_ in ids], self._dense.vectors(found)

    @property
    def slots(self) -> Sequence[int]:
        """The numbers of all texts."""
        return list(self._slots)

    def vectors(self) -> Iterator[tuple[bytes, Vectors]]:
        """(key, vector) of every text here."""
        slots = list(self._slots)
        for slot, vector in zip(slots, self._dense.vectors(slots), strict=True):
            text = self._slots[slot][1]
            yield store.key(text.simple, text.kind), vector

    def sample(self, count: int) -> Vectors:
        """Vectors of the first texts of up to `count` units, the same ones for the same units."""
        first = sorted((id_, slots[0]) for id_, (_, slots) in self._units.items() if slots)
        step = max(len(first) / count, 1.0)
        return self._dense.vectors([first[int(i * step)][1] for i in range(int(len(first) / step))])

    def _nearest(self, vector: Vectors, units_wanted: int, admits: Callable[[str], bool] | None) -> dict[int, float]:
        count = DENSE_CANDIDATES
        while True:
            slots, similarities = self._dense.search(vector, count)
            found = dict(zip(slots.tolist(), similarities.tolist(), strict=True))
            if admits is not None:
                found = {slot: near for slot, near in found.items() if admits(self._slots[slot][0])}
            # One unit of many wordings can fill the list: look further until others have come into sight.
            if len(slots) < count or len({self._slots[s][0] for s in found}) >= units_wanted:
                return found
            if count >= DENSE_CANDIDATES_MAX:
                return found if admits is None else self._nearest_admitted(vector, admits)
            count *= 4

    def _nearest_admitted(self, vector: Vectors, admits: Callable[[str], bool]) -> dict[int, float]:
        """Where few are admitted, these are compared one by one."""
        slots = [slot for id_, (_, own) in self._units.items() if own and admits(id_) for slot in own]
        similarities = self._dense.vectors(slots) @ vector
        nearest = np.argsort(-similarities)[:DENSE_CANDIDATES_MAX]
        return {slots[at]: float(similarities[at]) for at in nearest.tolist()}

    def _largest_admitted(self, scores: Vectors, admits: Callable[[str], bool]) -> Sequence[int]:
        positive = np.flatnonzero(scores)
        ordered = positive[np.argsort(-scores[positive])].tolist()
        return list(islice((slot for slot in ordered if admits(self._slots[slot][0])), LEXICAL_CANDIDATES))


def _largest(scores: Vectors, count: int) -> Sequence[int]:
    """Numbers of the `count` largest positive scores, in no order."""
    positive = np.flatnonzero(scores)
    if len(positive) > count:
        positive = positive[np.argpartition(-scores[positive], count)[:count]]
    return [int(slot) for slot in positive]
