"""The values that flow through the knowledge base: entries and passages in, hits out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
TextKind = Literal["query", "passage"]
HitKind = Literal["faq", "passage"]
SearchDecision = Literal["answer", "clarify", "none"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One FAQ entry. `answer` is Markdown and may be empty where `action` names a business action.

    It is answered from the beginning of the day `valid_from` to the end of the day `valid_until`, on the `channels` it
    names; None and () are without bound.
    """

    id: str
    question: str
    answer: str = ""
    similar_questions: tuple[str, ...] = ()
    negative_questions: tuple[str, ...] = ()
    category: str | None = None
    tags: tuple[str, ...] = ()
    enabled: bool = True
    action: str | None = None
    document_id: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    channels: tuple[str, ...] = ()

    @property
    def phrasings(self) -> tuple[str, ...]:
        """Every way to ask it: the question first, then the similar ones."""
        return (self.question, *self.similar_questions)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a longer document, with the path of headings above it as `title`."""

    id: str
    document_id: str
    title: str
    text: str
    position: int = 0
    enabled: bool = True


Unit = Entry | Passage


@dataclass(frozen=True, slots=True)
class Hit:
    """One candidate of a search, entry level: `phrasing` is the wording of it that came closest.

    `dense` is the inner product of unit vectors, `lexical` the lexical score scaled to 0..1, `score` what ranked it;
    `penalty` is what a nearer negative question took from `dense` and `score`. `rerank` is the reranker's word, 0..1,
    where it was asked: the order is then that of both (`rerankers.fuse`). `same_as` is the id of the entry that asks
    the same question and stands for both, being the one changed last (`rank.fold`).
    """

    id: str
    kind: HitKind
    phrasing: str
    dense: float
    lexical: float
    score: float
    penalty: float = 0.0
    rerank: float | None = None
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found and what may be done with it.

    `hits` are FAQ entries, best first; `passages` are passages, best first. `score` ranks queries by how surely the top
    entry answers; `probability` is its calibrated form, 0..1. `options` are the entry ids to offer when asking back.
    `features` are what the calibration reads (`rank.FEATURES`). `relevance` says how surely the best passage is on the
    subject (`rank.relevance`); 0 where there is none; `passage_lead` by how much more of the question it speaks of than
    the first entry (a difference of `coverage`, -1..1). `unit` is how far similarities of unrelated questions lie apart
    (`rank.Background`): what differences of `dense` count in. `read_as` is the query in the company's own words where
    it was found by these, having been mistyped (`spelling.read_as`).
    """

    query: str
    hits: tuple[Hit, ...]
    passages: tuple[Hit, ...]
    decision: SearchDecision
    score: float
    probability: float
    options: tuple[str, ...] = ()
    features: tuple[float, ...] = ()
    relevance: float = 0.0
    unit: float = 1.0
    read_as: str = ""
    passage_lead: float = 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that could not be taken over.

    `reason`: no_question, no_answer, not_calculated (a formula without a value), duplicate_id, duplicate, malformed,
    bad_date, bad_flag (neither yes nor no), dates_reversed, too_long, too_many, no_columns, hidden_sheet,
    broken_metadata (of a web page), scanned_page or unreadable_text (a page of a PDF); for a file within a zip file
    also the code of its `errors.ReadError`. `detail` names the column or field it is about, and what stands there.
    """

    place: str
    reason: str
    question: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a file held. `places[i]` says where `entries[i]` stood; an entry whose file gave it no id has the id "".

    Passages carry the id "" and the document_id "": both are given where the document is registered.
    """

    entries: tuple[Entry, ...] = ()
    places: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a change did to an index: units added, updated (searchable text changed), removed and left as they were.

    `encoded` counts the texts that had to be encoded.
    """

    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    encoded: int = 0


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How much is searchable: enabled entries, enabled passages, and the texts indexed for both."""

    entries: int
    passages: int
    texts: int


class ProgressCallback(Protocol):
    """Told how far a long piece of work is. What it raises stops the work there; what is done by then is kept."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


class Reranker(Protocol):
    """Reads a query and a text together. `id` names weights and preprocessing."""

    @property
    def id(self) -> str: ...

    def score(self, query: str, texts: Sequence[str]) -> Vectors:
        """Log-odds that each text asks what the query asks, float32, shape [len(texts)]."""
        ...


class Encoder(Protocol):
    """Turns texts into unit vectors. `id` names weights and preprocessing: vectors of different ids never mix."""

    @property
    def id(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def encode(
        self, texts: Sequence[str], kind: TextKind = "query", on_progress: ProgressCallback | None = None
    ) -> Vectors:
        """Unit vectors, float32, shape [len(texts), dimension]."""
        ...
