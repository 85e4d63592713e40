"""The knowledge base as one searchable thing: add, update, remove, search, save."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from knowledge import rank
from knowledge.calibrate import Calibration, shipped
from knowledge.contents import Contents
from knowledge.foreign import UNKNOWN_COVERAGE, evened, is_foreign
from knowledge.rerankers import rerank
from knowledge.shelf import Question, Seen, Wanted
from knowledge.text import normalise, plain, tokens
from knowledge.twins import Search as TwinSearch
from knowledge.twins import Twin
from knowledge.types import (
    Encoder,
    Entry,
    Hit,
    IndexSize,
    ProgressCallback,
    Reranker,
    SearchResult,
    SyncReport,
    TextKind,
    Unit,
    Vectors,
)
from knowledge.verdict import judge, surer

QUESTIONS_PER_STEP = 256
TWIN_BLOCK = 4096
# A negative question can take a unit back behind others that did not look as good before.
UNITS_TO_SPARE = 12


class Index:
    """FAQ entries and passages under one encoder. Safe for one writer at a time and any number of readers: encoding
    happens outside the lock that searches take, and a unit changes in one step.
    """

    def __init__(
        self,
        folder: Path | None,
        encoder: Encoder,
        calibration: Calibration | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        self.encoder, self.reranker = encoder, reranker
        self.calibration = calibration or shipped()
        self._contents = Contents(folder, encoder)

    @classmethod
    def open(
        cls,
        folder: Path | None,
        encoder: Encoder,
        calibration: Calibration | None = None,
        reranker: Reranker | None = None,
    ) -> "Index":
        """An index without units that knows the vectors saved in `folder` (None: in memory only).

        `note` says why something that is there is not used. Raises OSError where the folder cannot be read.
        """
        return cls(folder, encoder, calibration, reranker)

    def close(self) -> None:
        """Let go of everything; nothing is saved."""
        self._contents.close()

    @property
    def note(self) -> tuple[str, str] | None:
        """Of what was saved, the first thing that is not used and why, in Chinese and English."""
        notes = self._contents.store.notes
        return notes[0] if notes else None

    @property
    def size(self) -> IndexSize:
        with self._contents.lock:
            faq, passage = self._contents.shelves["faq"], self._contents.shelves["passage"]
            return IndexSize(faq.searchable_units, passage.searchable_units, len(faq) + len(passage))

    @property
    def lacking(self) -> int:
        """How many texts are found by their words alone: their vectors are still to be encoded."""
        return self._contents.lacking

    @property
    def background(self) -> rank.Background:
        return self._contents.background

    def place(self, units: Iterable[Unit]) -> SyncReport:
        """Make the index hold exactly these units without encoding: each is searchable by its words at return, and by
        meaning where its vector is known. `encode_lacking` does the rest.
        """
        return self._contents.place(units)

    def change(self, upserts: Iterable[Unit] = (), removals: Iterable[str] = ()) -> SyncReport:
        """Add or update units and remove those of the given ids (unknown ids are ignored), without encoding: what is
        removed is gone at return, the rest as after `place`. Waits for no encoding under way.
        """
        return self._contents.change(upserts, removals)

    def encode_some(self) -> int:
        """Encode a few of the texts that lack a vector, the newest first; others may read and write meanwhile. Returns
        how many texts were encoded.
        """
        return self._contents.encode_some()

    def encode_lacking(self, on_progress: ProgressCallback | None = None) -> int:
        """`encode_some` until no text lacks its vector; returns how many were encoded."""
        return self._contents.encode_lacking(on_progress)

    def encode_ahead(self) -> int:
        """Encode a few of the answers that `alike` may be asked about and has no vector of; nothing is searchable by
        it. Others may read and write meanwhile. Returns how many are left.
        """
        return self._contents.encode_ahead()

    def synchronise(self, units: Iterable[Unit], on_progress: ProgressCallback | None = None) -> SyncReport:
        """`place` and `encode_lacking`: make the index hold exactly these units."""
        report = self.place(units)
        return replace(report, encoded=self.encode_lacking(on_progress))

    def apply(
        self, upserts: Iterable[Unit] = (), removals: Iterable[str] = (), on_progress: ProgressCallback | None = None
    ) -> SyncReport:
        """`change` and `encode_lacking`: everything is searchable by meaning at return."""
        report = self.change(upserts, removals)
        return replace(report, encoded=self.encode_lacking(on_progress))

    def save(self) -> None:
        """Write what is new to the folder. Raises SnapshotError; what was there then stays.

        Vectors of what is not indexed any more go when their segment is written anew. Before the first `place` nothing
        goes: it may still be wanted.
        """
        self._contents.save()

    def wait_for_rebuild(self, seconds: float | None = None) -> bool:
        """Until the dense indexes are of the right kind and size for what is indexed; whether that is so in time."""
        return self._contents.wait_for_rebuild(seconds)

    def __contains__(self, id_: str) -> bool:
        """Whether there is a unit of this id."""
        with self._contents.lock:
            return any(shelf.texts(id_) is not None for shelf in self._contents.shelves.values())

    def question(self, id_: str) -> str | None:
        """The question of an entry, or the beginning of a passage; None where it is not searchable."""
        with self._contents.lock:
            found = (shelf.texts(id_) for shelf in self._contents.shelves.values())
            return next((texts[0].written for texts in found if texts), None)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        dense_only: bool = False,
        admits: Callable[[str], bool] | None = None,
        age: rank.Age | None = None,
    ) -> SearchResult:
        """The `k` best entries and passages for a query, with the decision. An empty query finds nothing.

        `dense_only` ranks by similarity alone: no lexical score and no exact match. `admits` tells by its id whether a
        unit may be found; the others count as not being there, for the decision too. With `age`, which orders ids by
        when their entries changed, entries of the same question count as one, the one changed last (`rank.fold`).
        """
        return self.search_all([query], k, dense_only=dense_only, admits=admits, age=age)[0]

    def alike(self, query: str, texts: Sequence[str], kind: TextKind = "query") -> list[float]:
        """The similarity between a query and each text, -1..1: of questions ("query"), or of what may answer it
        ("passage"). What is not indexed, nor encoded ahead, is encoded for it, and the encoder remembers it.
        """
        vectors = self._contents.embeddings.vectors([plain(text) for text in texts], kind)
        asked = self.encoder.encode([plain(query)], "query")[0]
        return [float(one) for one in vectors @ asked]

    def expect(self, queries: Sequence[str]) -> None:
        """Encode what is about to be searched for; the encoder remembers a few. What has its vector already is left."""
        simple = {at: text for at, query in enumerate(queries) if (text := plain(query))}
        with self._contents.lock:
            known = self._contents.shelves["faq"].vectors_of({at: normalise(queries[at]) for at in simple})
        if new := [text for at, text in simple.items() if at not in known]:
            self.encoder.encode(new, "query")

    def search_all(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        dense_only: bool = False,
        admits: Callable[[str], bool] | None = None,
        held_out: Sequence[str] = (),
        age: rank.Age | None = None,
    ) -> list[SearchResult]:
        """`search` for many queries, which are encoded in batches.

        `held_out[i]` is the id of an entry that then lacks the very wording of query i.
        """
        asked = list(zip(queries, held_out or [""] * len(queries), strict=True))
        found = self._search_as_written(asked, k, dense_only, admits, age)
        if dense_only:
            return found
        read = self._mistyped(found)
        again = self._search_as_written([(read[at], asked[at][1]) for at in read], k, dense_only, admits, age)
        for at, other in zip(read, again, strict=True):
            found[at] = surer(found[at], other)
        return found

    def _mistyped(self, found: Sequence[SearchResult]) -> dict[int, str]:
        """What questions that are not answered say in the company's own words, by their place."""
        unsure = {at: plain(one.query) for at, one in enumerate(found) if one.decision != "answer"}
        with self._contents.lock:
            shelf = self._contents.shelves["faq"]
            read = {at: shelf.read_as(query) for at, query in unsure.items()}
        return {at: query for at, query in read.items() if query}

    def _search_as_written(
        self,
        asked: Sequence[tuple[str, str]],
        k: int,
        dense_only: bool,
        admits: Callable[[str], bool] | None,
        age: rank.Age | None,
    ) -> list[SearchResult]:
        """What (query, id that is held out) each find."""
        queries = [query for query, _ in asked]
        simple = [plain(query) for query in queries]
        normal = [normalise(query) for query in queries]
        wanted = [at for at, text in enumerate(simple) if text and k > 0]
        # What is asked word for word has its vector already, and waits for no encoder.
        with self._contents.lock:
            vectors = {} if dense_only else self._contents.shelves["faq"].vectors_of({at: normal[at] for at in wanted})
        new = [at for at in wanted if at not in vectors]
        if new:
            vectors |= zip(new, self.encoder.encode([simple[at] for at in new], "query"), strict=True)
        return [
            self._search(query, Question(vectors[at], tokens(simple[at]), normal[at]), k, dense_only, admits, held, age)
            if at in vectors
            else SearchResult(query, (), (), "none", 0.0, 0.0)
            for at, (query, held) in enumerate(asked)
        ]

    def _search(
        self,
        query: str,
        question: Question,
        k: int,
        dense_only: bool,
        admits: Callable[[str], bool] | None,
        held_out: str,
        age: rank.Age | None,
    ) -> SearchResult:
        calibration, background = self.calibration, self._contents.background
        weight = 0.0 if dense_only else rank.LEXICAL_WEIGHT * background.deviation
        wanted = Wanted(max(k, 20), UNITS_TO_SPARE, weight, background.mean, admits)
        with self._contents.lock:
            found = {kind: shelf.matches(question, wanted) for kind, shelf in self._contents.shelves.items()}
        faqs = found["faq"].matches.without(held_out) if held_out else found["faq"].matches
        strange = is_foreign(query, faqs) and not dense_only
        if strange:
            faqs = evened(query, faqs, background)
        hits = rank.rank(faqs, background, dense_only=dense_only)
        if self.reranker is not None and not dense_only:
            hits = rerank(hits, query, self.reranker, background)
        passages = rank.rank(found["passage"].matches, background, kind="passage", dense_only=dense_only)
        with self._contents.lock:
            shelf = self._contents.shelves["faq"]
            questions = {hit.id: shelf.question(hit.id) for hit in hits} if age else {}
            hits, single = rank.fold(hits, questions, age) if age else (hits, hits)
            seen = shelf.look(question, [hit.id for hit in single[:2]])
            told = (
                self._contents.shelves["passage"].covers(shelf.rarities(question), passages[0].id) if passages else 0.0
            )
        if strange:
            seen = replace(seen, covered=(UNKNOWN_COVERAGE,) * len(seen.covered))
        made = judge(query, single, seen, found["faq"], calibration, background, self._contents.lacking_max)
        score = hits[0].score if dense_only and hits else made.probability
        return SearchResult(
            query, tuple(hits[:k]), tuple(passages[:k]), made.decision, score, made.probability, made.options,
            made.features, rank.relevance(passages, background), background.deviation,
            passage_lead=told - _spoken_of(single, seen) if passages else 0.0,
        )  # fmt: skip

    def twins(
        self, asked: Sequence[Entry], ignored: Collection[str] = (), on_progress: ProgressCallback | None = None
    ) -> list[Twin | None]:
        """For each entry of a file, in its order, the entry that asks the same already.

        Compared are what is indexed and the file's own earlier wordings; not the entry itself, what comes later in the
        file, nor the `ignored` ids. What is indexed of the file's entries counts for nothing: they are as the file has
        them, so that before and after an import the same is said. What is encoded for it is kept for the next `apply`,
        which then need not encode it again.
        """
        if not asked:
            return []
        wordings = [(row, plain(text)) for row, entry in enumerate(asked) for text in entry.phrasings]
        vectors = self._look_at([text for _, text in wordings], on_progress)
        rows = [row for row, _ in wordings]
        questions = vectors[np.searchsorted(rows, np.arange(len(asked)))]
        others = {entry.id for entry in asked}.union(ignored)
        search = TwinSearch(asked, questions, self._contents.background_with(questions, others))
        search.compare_with_itself(wordings, vectors)
        with self._contents.lock:
            slots = self._contents.shelves["faq"].slots
        for start in range(0, len(slots), TWIN_BLOCK):
            with self._contents.lock:
                units, found = self._contents.shelves["faq"].wordings(slots[start : start + TWIN_BLOCK])
            wanted = [at for at, (id_, *_) in enumerate(units) if id_ not in others]
            if wanted:
                search.compare([units[at] for at in wanted], found[wanted])
        return search.judge()

    def _look_at(self, texts: Sequence[str], on_progress: ProgressCallback | None) -> Vectors:
        """Vectors of wordings: those of the entries where they have them."""
        parts = []
        self._contents.embeddings.forget_looked_at()
        for start in range(0, len(texts), QUESTIONS_PER_STEP):
            parts.append(self._contents.embeddings.look_at(texts[start : start + QUESTIONS_PER_STEP]))
            if on_progress is not None:
                on_progress(min(start + QUESTIONS_PER_STEP, len(texts)), len(texts))
        return np.concatenate(parts)


def _spoken_of(hits: Sequence[Hit], seen: Seen) -> float:
    """How much of the question the first entry speaks of: all of it where it is asked word for word."""
    return 1.0 if hits and hits[0].score == 1.0 else seen.covered[0] if seen.covered else 0.0
