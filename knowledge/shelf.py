"""The texts of one kind of unit, dense and lexical side by side, and which unit each belongs to."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.coverage import coverage
from knowledge.dense import DenseIndex
from knowledge.lexical import LexicalIndex
from knowledge.rank import LEXICAL_POWER, Matches
from knowledge.segments import Ids
from knowledge.spelling import read_as
from knowledge.store import Store
from knowledge.text import normalise, plain, simplify, tokens
from knowledge.types import Passage, TextKind, Unit, Vectors

DENSE_CANDIDATES = 64
LEXICAL_CANDIDATES = 48
DENSE_CANDIDATES_MAX = 4096
NO_ROW = -1
EXACT_FIRST = 10.0


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a shelf is looked for: at least so many units and some to spare, of those that `admits` does not refuse.

    `lexical_weight` says what full lexical agreement is worth as similarity, `no_similarity` what counts as the
    similarity of a text that is not encoded yet.
    """

    units: int
    spare: int
    lexical_weight: float
    no_similarity: float
    admits: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The wordings that came near; `by_words` are the units whose best wording has no vector yet, `lacking` is the
    share of all texts without one.
    """

    matches: Matches
    by_words: frozenset[str] = frozenset()
    lacking: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the units found first speak of: the `coverage` of each, the wordings and the answer of the very first, and
    how many units there are.
    """

    covered: tuple[float, ...]
    wordings: tuple[str, ...]
    answer: str
    units: int


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
    """Texts in numbered slots, each with the row of the store that holds its vector, if any. Not thread-safe."""

    def __init__(self, store: Store) -> None:
        self.dense = DenseIndex(store)
        self._store = store
        self._lexical = LexicalIndex()
        self._units: dict[str, tuple[list[Text], list[int]]] = {}
        self._slots: dict[int, tuple[str, Text]] = {}
        self._free: list[int] = []
        self._exact: dict[str, set[int]] = {}
        # Equal texts share a row.
        self._slots_of_row: dict[int, list[int]] = {}
        self._without_row: dict[int, None] = {}
        # By slot: the row, and a number that the texts of a unit have in common, negative for its negative questions.
        self._row = np.full(1024, NO_ROW, dtype=np.int64)
        self._unit = np.zeros(1024, dtype=np.int64)
        self._units_ever = 0
        self._answers: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._units))

    @property
    def searchable_units(self) -> int:
        return sum(bool(slots) for _, slots in self._units.values())

    @property
    def rows(self) -> Ids:
        """The rows of the store that are in use here."""
        return np.fromiter(self._slots_of_row, dtype=np.int64, count=len(self._slots_of_row))

    @property
    def lacking(self) -> int:
        """How many texts have no vector yet."""
        return len(self._without_row)

    def lacking_texts(self, count: int) -> list[tuple[int, Text]]:
        """(slot, text) of up to so many texts without a vector, the last that came first."""
        return [(slot, self._slots[slot][1]) for slot in islice(reversed(self._without_row), count)]

    def texts(self, id_: str) -> list[Text] | None:
        """The texts of a unit; None where it is unknown."""
        known = self._units.get(id_)
        return known[0] if known else None

    def put(self, units: Iterable[tuple[str, list[Text], Sequence[int]]]) -> None:
        """Add units or replace them: id, texts and the rows of these in the store, `NO_ROW` where there is none yet."""
        given: list[tuple[int, int]] = []
        for id_, texts, rows in units:
            if id_ in self._units:
                self.give(given)
                given = []
                self._take_down(id_)
            slots = self._shelve(id_, texts)
            given.extend((slot, row) for slot, row in zip(slots, rows, strict=True) if row != NO_ROW)
        self.give(given)

    def _shelve(self, id_: str, texts: list[Text]) -> list[int]:
        # Numbers in use and free ones together are always 0..n-1; the next new one follows them.
        slots = [self._free.pop() if self._free else len(self._slots) + i for i in range(len(texts))]
        highest = max(slots, default=0)
        if highest >= len(self._row):
            more = max(highest, len(self._row))
            self._row = np.concatenate([self._row, np.full(more, NO_ROW, dtype=np.int64)])
            self._unit = np.concatenate([self._unit, np.zeros(more, dtype=np.int64)])
        self._units_ever += 1
        for slot, text in zip(slots, texts, strict=True):
            self._slots[slot] = id_, text
            self._unit[slot] = -self._units_ever if text.negative else self._units_ever
            self._lexical.add(slot, text.token_list)
            self._exact.setdefault(normalise(text.written), set()).add(slot)
            self._without_row[slot] = None
        self._units[id_] = texts, slots
        return slots

    def give(self, rows: Iterable[tuple[int, int]]) -> None:
        """Say where the vectors of texts are that had none: (slot, row) each."""
        fresh = []
        for slot, row in rows:
            del self._without_row[slot]
            self._row[slot] = row
            sharing = self._slots_of_row.setdefault(row, [])
            if not sharing:
                fresh.append(row)
            sharing.append(slot)
        self.dense.add(np.array(fresh, dtype=np.int64))

    def fill(self, rows: Iterable[tuple[int, Text, int]]) -> None:
        """`give`, for what `lacking_texts` told before: (slot, text, row) each. What changed since is left alone."""
        self.give((slot, row) for slot, text, row in rows if slot in self._without_row and self._slots[slot][1] is text)

    def remove(self, id_: str) -> bool:
        """Forget a unit; says whether it was known."""
        if id_ not in self._units:
            return False
        self._take_down(id_)
        self._answers.pop(id_, None)
        return True

    def _take_down(self, id_: str) -> None:
        texts, slots = self._units.pop(id_)
        for slot, text in zip(slots, texts, strict=True):
            del self._slots[slot]
            self._lexical.remove(slot)
            same = self._exact[normalise(text.written)]
            same.discard(slot)
            if not same:
                del self._exact[normalise(text.written)]
            self._let_go(slot)
        self._free.extend(slots)

    def hear(self, answers: Iterable[tuple[str, str]]) -> None:
        """Keep what units say, (id, answer) each: not searched, but looked at when one is found."""
        self._answers.update(answers)

    def look(self, question: Question, ids: Sequence[str]) -> Seen:
        """What these units speak of, the best one first; for `covered` their own very words are left out."""
        asked = self.rarities(question)
        covered = []
        for id_ in ids:
            others = [text.token_list for text in self._own(id_) if normalise(text.written) != question.normal]
            covered.append(coverage(asked, others, self._answers.get(id_, "")))
        wordings = tuple(text.written for text in self._own(ids[0])) if ids else ()
        return Seen(tuple(covered), wordings, self._answers.get(ids[0], "") if ids else "", len(self._units))

    def rarities(self, question: Question) -> dict[str, float]:
        """The weight of each of a question's tokens among the wordings here."""
        return self._lexical.rarities(question.token_list)

    def covers(self, asked: Mapping[str, float], id_: str) -> float:
        """The `coverage` of a unit that is searched as a whole: a passage."""
        texts = self._own(id_)
        return coverage(asked, [text.token_list for text in texts], "\n".join(text.written for text in texts))

    def question(self, id_: str) -> str:
        """The normal form of a unit's first wording."""
        return next((normalise(text.written) for text in self.texts(id_) or () if not text.negative), "")

    def _own(self, id_: str) -> list[Text]:
        return [text for text in self.texts(id_) or () if not text.negative]

    def read_as(self, query: str) -> str | None:
        """What a question says in the words of the wordings here where it was mistyped (`spelling.read_as`)."""
        return read_as(query, self._lexical.vocabulary)

    def vectors_of(self, normal: Mapping[int, str]) -> dict[int, Vectors]:
        """The vectors of wordings by their normal form, shape [dimension] each, under the same keys; of those known."""
        found: dict[int, Vectors] = {}
        for key, form in normal.items():
            row = next((self._row[slot] for slot in self._exact.get(form, ()) if self._row[slot] != NO_ROW), None)
            if row is not None:
                found[key] = self._store.view.vectors(np.array([row], dtype=np.int64))[0]
        return found

    def matches(self, question: Question, wanted: Wanted) -> Found:
        """The wordings of the units nearest to a query by meaning, by words or equal to it, with both scores each."""
        scores = self._lexical.scores(question.token_list)
        exact = self._exact.get(question.normal, set())
        if wanted.admits is None:
            by_words = _largest(scores, LEXICAL_CANDIDATES)
        else:
            admits = wanted.admits
            by_words = self._largest_admitted(scores, admits)
            exact = {slot for slot in exact if admits(self._slots[slot][0])}
        near = self._nearest(question.vector, wanted)
        slots = np.array(list({*near, *by_words, *exact}), dtype=np.int64)
        found = self._similarities(slots, question.vector, wanted.no_similarity)
        best = self._ahead(slots, found + wanted.lexical_weight * scores[slots] ** LEXICAL_POWER, exact, wanted)
        by_words_only = frozenset(self._slots[slot][0] for slot in best if self._row[slot] == NO_ROW)
        lacking = len(self._without_row) / max(len(self._slots), 1)
        return Found(self._every_wording(best, question, wanted, scores, exact), by_words_only, lacking)

    def _every_wording(
        self, best: list[int], question: Question, wanted: Wanted, scores: Vectors, exact: set[int]
    ) -> Matches:
        """Of the units of these slots: ranking looks at those, too, that did not come near by themselves."""
        ids = [self._slots[slot][0] for slot in best]
        units = [self._units[id_] for id_ in ids]
        slots = np.fromiter(chain.from_iterable(own for _, own in units), dtype=np.int64)
        return Matches(
            ids=ids,
            counts=[len(own) for _, own in units],
            phrasings=[text.written for texts, _ in units for text in texts],
            dense=self._similarities(slots, question.vector, wanted.no_similarity),
            lexical=scores[slots],
            negative=self._unit[slots] < 0,
            exact=np.isin(slots, list(exact)) if exact else np.zeros(len(slots), dtype=np.bool_),
        )

    def _similarities(self, slots: NDArray[np.int64], vector: Vectors, unknown: float) -> Vectors:
        """Of the texts in `slots`, float32 in their order; `unknown` for those without a vector."""
        rows = self._row[slots]
        encoded = rows != NO_ROW
        found = np.full(len(slots), unknown, dtype=np.float32)
        found[encoded] = self._store.view.similarities(rows[encoded], vector)
        return found

    def _ahead(self, slots: NDArray[np.int64], scores: Vectors, exact: set[int], wanted: Wanted) -> list[int]:
        """Of each of the units that lie ahead the best of its texts in `slots`; ranking need not look at others."""
        scores = scores.copy()
        if exact:
            scores[np.isin(slots, list(exact))] += EXACT_FIRST
        units = self._unit[slots]
        order = np.argsort(-scores, kind="stable")
        order = order[units[order] > 0]
        first = np.sort(np.unique(units[order], return_index=True)[1])[: wanted.units + wanted.spare]
        best: list[int] = slots[order[first]].tolist()
        return best

    def wordings(self, slots: Sequence[int]) -> tuple[list[tuple[str, str, str]], Vectors]:
        """Of these slots what is there, encoded and not negative: (unit id, its question, wording) each; vectors."""
        found = [
            slot
            for slot in slots
            if slot in self._slots and not self._slots[slot][1].negative and self._row[slot] != NO_ROW
        ]
        texts = [self._slots[slot] for slot in found]
        return [(id_, self._units[id_][0][0].written, text.written) for id_, text in texts], self._store.view.vectors(
            self._row[found]
        )

    @property
    def slots(self) -> Sequence[int]:
        """The numbers of all texts."""
        return list(self._slots)

    def sample(self, count: int, without: Collection[str] = ()) -> Vectors:
        """Vectors of the first texts of up to `count` units, the same ones for the same units; not of some ids."""
        first = {id_: slots[0] for id_, (_, slots) in self._units.items() if slots and id_ not in without}
        ids, rows = list(first), self._row[list(first.values())]
        known = sorted(ids[at] for at in np.flatnonzero(rows != NO_ROW).tolist())
        step = max(len(known) / count, 1.0)
        chosen = [first[known[int(i * step)]] for i in range(int(len(known) / step))]
        return self._store.view.vectors(self._row[chosen])

    def _let_go(self, slot: int) -> None:
        """Of its row."""
        row = int(self._row[slot])
        self._row[slot] = NO_ROW
        if row == NO_ROW:
            del self._without_row[slot]
            return
        sharing = self._slots_of_row[row]
        sharing.remove(slot)
        if not sharing:
            del self._slots_of_row[row]
            self.dense.remove(np.array([row], dtype=np.int64))

    def _nearest(self, vector: Vectors, wanted: Wanted) -> list[int]:
        count = DENSE_CANDIDATES
        while True:
            rows = self.dense.search(vector, count).tolist()
            found = [slot for row in rows for slot in self._slots_of_row[row]]
            if wanted.admits is not None:
                found = [slot for slot in found if wanted.admits(self._slots[slot][0])]
            # One unit of many wordings can fill the list: look further until others have come into sight.
            if len(rows) < count or len(np.unique(np.abs(self._unit[found]))) >= wanted.units:
                return found
            if count >= DENSE_CANDIDATES_MAX:
                return found if wanted.admits is None else self._nearest_admitted(vector, wanted.admits)
            count *= 4

    def _nearest_admitted(self, vector: Vectors, admits: Callable[[str], bool]) -> list[int]:
        """Where few are admitted, these are compared one by one."""
        admitted = [slot for id_, (_, own) in self._units.items() if own and admits(id_) for slot in own]
        slots = np.array(admitted, dtype=np.int64)
        slots = slots[self._row[slots] != NO_ROW]
        similarities = self._store.view.similarities(self._row[slots], vector)
        nearest: list[int] = slots[np.argsort(-similarities)[:DENSE_CANDIDATES_MAX]].tolist()
        return nearest

    def _largest_admitted(self, scores: Vectors, admits: Callable[[str], bool]) -> list[int]:
        positive = np.flatnonzero(scores)
        ordered = positive[np.argsort(-scores[positive])].tolist()
        return list(islice((slot for slot in ordered if admits(self._slots[slot][0])), LEXICAL_CANDIDATES))


def _largest(scores: Vectors, count: int) -> list[int]:
    """Numbers of the `count` largest positive scores, in no order."""
    positive: Any = np.flatnonzero(scores)
    if len(positive) > count:
        positive = positive[np.argpartition(-scores[positive], count)[:count]]
    found: list[int] = positive.tolist()
    return found
