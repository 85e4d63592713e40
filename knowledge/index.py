"""The knowledge base as one searchable thing: add, update, remove, search, save."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from knowledge import background, rank
from knowledge.calibrate import Calibration, shipped
from knowledge.embeddings import Embeddings, part
from knowledge.errors import SnapshotError
from knowledge.rerankers import rerank
from knowledge.segments import Ids
from knowledge.shelf import Question, Shelf, Text, Wanted, texts_of
from knowledge.store import Store
from knowledge.text import normalise, plain, tokens
from knowledge.twins import Search as TwinSearch
from knowledge.twins import Twin
from knowledge.types import (
    Encoder,
    Entry,
    HitKind,
    IndexSize,
    Passage,
    ProgressCallback,
    Reranker,
    SearchResult,
    SyncReport,
    Unit,
    Vectors,
)
from knowledge.upkeep import Upkeep
from knowledge.verdict import judge

UNITS_PER_STEP = 256
TEXTS_PER_SAVE = 5000
# Encoded in one step while the service already answers: what is written meanwhile waits no longer than this takes.
TEXTS_PER_STEP = 64
TWIN_BLOCK = 4096
# The background is measured anew when one part in so many has changed.
MEASURED_ANEW_PART = 100
# A negative question can take a unit back behind others that did not look as good before.
UNITS_TO_SPARE = 12
KINDS: tuple[HitKind, ...] = ("faq", "passage")


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
        self._lock = threading.Lock()
        self._writing = threading.RLock()
        self._store = Store(folder, encoder.id, encoder.dimension)
        self._embeddings = Embeddings(encoder, self._store)
        self._shelves: dict[HitKind, Shelf] = {kind: Shelf(self._store) for kind in KINDS}
        self._in_step = False
        self._unsaved = self._unmeasured = 0
        self._take_saved_indexes()
        self._upkeep = Upkeep([shelf.dense for shelf in self._shelves.values()], self._lock, self._save_quietly)
        self._generic = self._embeddings.rows([(plain(text), "query") for text in background.GENERIC_QUESTIONS])[0]
        self._background = self._measure_background()

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
        self._upkeep.stop()
        with self._writing, self._lock:
            self._in_step = False
            self._shelves = {kind: Shelf(self._store) for kind in KINDS}
            self._store.close()

    @property
    def note(self) -> tuple[str, str] | None:
        """Of what was saved, the first thing that is not used and why, in Chinese and English."""
        return self._store.notes[0] if self._store.notes else None

    @property
    def size(self) -> IndexSize:
        with self._lock:
            faq, passage = self._shelves["faq"], self._shelves["passage"]
            return IndexSize(faq.searchable_units, passage.searchable_units, len(faq) + len(passage))

    @property
    def lacking(self) -> int:
        """How many texts are found by their words alone: their vectors are still to be encoded."""
        with self._lock:
            return sum(shelf.lacking for shelf in self._shelves.values())

    @property
    def background(self) -> rank.Background:
        return self._background

    def synchronise(self, units: Iterable[Unit], on_progress: ProgressCallback | None = None) -> SyncReport:
        """Make the index hold exactly these units: what is gone is removed, what is new or changed is encoded."""
        report = self.place(units)
        return replace(report, encoded=self.encode_lacking(on_progress))

    def place(self, units: Iterable[Unit]) -> SyncReport:
        """Make the index hold exactly these units without encoding: each is searchable by its words at return, and by
        meaning where its vector is known. `encode_lacking` does the rest.
        """
        with self._writing:
            units = list(units)
            wanted = {(_kind(unit), unit.id) for unit in units}
            with self._lock:
                gone = [
                    (kind, id_) for kind, shelf in self._shelves.items() for id_ in shelf if (kind, id_) not in wanted
                ]
                for kind, id_ in gone:
                    self._shelves[kind].remove(id_)
            changed, report = self._compare(units)
            for start in range(0, len(changed), UNITS_PER_STEP):
                step = changed[start : start + UNITS_PER_STEP]
                self._put(step, self._embeddings.known([(one.simple, one.kind) for _, texts in step for one in texts]))
            self._in_step = True
            self._background = self._measure_background()
        self._upkeep.look()
        return replace(report, removed=len(gone))

    def encode_lacking(self, on_progress: ProgressCallback | None = None) -> int:
        """Encode what has no vector yet, step by step; others may write between the steps. Returns how many texts."""
        encoded, total = 0, self.lacking
        if total and on_progress is not None:
            on_progress(0, total)
        while True:
            with self._writing:
                with self._lock:
                    steps = {kind: shelf.lacking_texts(TEXTS_PER_STEP) for kind, shelf in self._shelves.items()}
                if not any(steps.values()):
                    break
                for kind, step in steps.items():
                    rows, new = self._embeddings.rows([(text.simple, text.kind) for _, text in step])
                    with self._lock:
                        self._shelves[kind].give(
                            (slot, row) for (slot, _), row in zip(step, rows.tolist(), strict=True)
                        )
                    encoded += new
                    self._save_after(new)
                    self._remeasure(new)
            if on_progress is not None:
                on_progress(max(total - self.lacking, 0), total)
        with self._writing:
            if encoded and self._in_step:
                self._background = self._measure_background()
        self._upkeep.look()
        return encoded

    def apply(
        self, upserts: Iterable[Unit] = (), removals: Iterable[str] = (), on_progress: ProgressCallback | None = None
    ) -> SyncReport:
        """Add or update units and remove those of the given ids (unknown ids are ignored). Searchable at return."""
        encoded = removed = 0
        with self._writing:
            removals = list(removals)
            with self._lock:
                for id_ in removals:
                    removed += sum(shelf.remove(id_) for shelf in self._shelves.values())
            changed, report = self._compare(list(upserts))
            if changed and on_progress is not None:
                on_progress(0, len(changed))
            for start in range(0, len(changed), UNITS_PER_STEP):
                step = changed[start : start + UNITS_PER_STEP]
                flat = [(text.simple, text.kind) for _, texts in step for text in texts]
                rows, new = self._embeddings.rows(flat, part(on_progress, start, len(step), len(changed)))
                self._put(step, rows)
                encoded += new
                self._save_after(new)
                if on_progress is not None:
                    on_progress(min(start + UNITS_PER_STEP, len(changed)), len(changed))
            self._remeasure(len(changed) + removed)
        self._upkeep.look()
        return replace(report, removed=removed, encoded=encoded)

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
        simple = [plain(query) for query in queries]
        normal = [normalise(query) for query in queries]
        asked = [at for at, text in enumerate(simple) if text and k > 0]
        # What is asked word for word has its vector already, and waits for no encoder.
        with self._lock:
            vectors = {} if dense_only else self._shelves["faq"].vectors_of({at: normal[at] for at in asked})
        new = [at for at in asked if at not in vectors]
        if new:
            vectors |= zip(new, self.encoder.encode([simple[at] for at in new], "query"), strict=True)
        return [
            self._search(query, Question(vectors[at], tokens(simple[at]), normal[at]), k, dense_only, admits, held, age)
            if at in vectors
            else SearchResult(query, (), (), "none", 0.0, 0.0)
            for at, (query, held) in enumerate(zip(queries, held_out or [""] * len(queries), strict=True))
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
        calibration, background = self.calibration, self._background
        weight = 0.0 if dense_only else rank.LEXICAL_WEIGHT * background.deviation
        wanted = Wanted(max(k, 20), UNITS_TO_SPARE, weight, background.mean, admits)
        with self._lock:
            found = {kind: shelf.matches(question, wanted) for kind, shelf in self._shelves.items()}
        faqs = [match for match in found["faq"].matches if not (match.exact and match.id == held_out)]
        hits = rank.rank(faqs, background, dense_only=dense_only)
        if self.reranker is not None and not dense_only:
            hits = rerank(hits, query, self.reranker, background)
        passages = rank.rank(found["passage"].matches, background, kind="passage", dense_only=dense_only)
        with self._lock:
            shelf = self._shelves["faq"]
            questions = {hit.id: shelf.question(hit.id) for hit in hits} if age else {}
            hits, single = rank.fold(hits, questions, age) if age else (hits, hits)
            seen = shelf.look(question, [hit.id for hit in single[:2]])
        made = judge(query, single, seen, found["faq"], calibration, background)
        score = hits[0].score if dense_only and hits else made.probability
        return SearchResult(
            query, tuple(hits[:k]), tuple(passages[:k]), made.decision, score, made.probability, made.options,
            made.features, rank.relevance(passages, background),
        )  # fmt: skip

    def twins(
        self,
        asked: Sequence[tuple[str, str]],
        ignored: Collection[str] = (),
        on_progress: ProgressCallback | None = None,
    ) -> list[Twin | None]:
        """For each (entry id, question) of a file, in its order, the entry that asks the same already.

        Compared are what is indexed and the file's own earlier questions, whether they are indexed by now or not; not
        the entry itself, what comes later in the file, nor the `ignored` ids. What is encoded for it is kept for the
        next `apply`, which then need not encode it again.
        """
        parts = []
        self._embeddings.forget_looked_at()
        for start in range(0, len(asked), UNITS_PER_STEP):
            parts.append(self._question_vectors(asked[start : start + UNITS_PER_STEP]))
            if on_progress is not None:
                on_progress(min(start + UNITS_PER_STEP, len(asked)), len(asked))
        if not parts:
            return []
        search = TwinSearch(asked, np.concatenate(parts), self._background)
        search.compare_with_itself()
        with self._lock:
            slots = self._shelves["faq"].slots
        for start in range(0, len(slots), TWIN_BLOCK):
            with self._lock:
                units, vectors = self._shelves["faq"].wordings(slots[start : start + TWIN_BLOCK])
            wanted = [at for at, (id_, _) in enumerate(units) if id_ not in ignored]
            if wanted:
                search.compare([units[at] for at in wanted], vectors[wanted])
        return search.judge()

    def save(self) -> None:
        """Write what is new to the folder. Raises SnapshotError; what was there then stays.

        Vectors of what is not indexed any more go when their segment is written anew. Before the first `place` nothing
        goes: it may still be wanted.
        """
        with self._writing:
            with self._lock:
                rows = np.concatenate([self._generic, *(shelf.rows for shelf in self._shelves.values())])
                dense = {kind: shelf.dense for kind, shelf in self._shelves.items() if not shelf.dense.is_exact}
            saved = self._store.files
            files: dict[str, Callable[[Path], None] | None] = {
                kind: one.write if one.is_worth_saving or kind not in saved else None for kind, one in dense.items()
            }
            self._store.save(rows if self._in_step else None, files)
            self._unsaved = 0

    def wait_for_rebuild(self, seconds: float | None = None) -> bool:
        """Until the dense indexes are of the right kind and size for what is indexed; whether that is so in time."""
        return self._upkeep.wait(seconds)

    def _take_saved_indexes(self) -> None:
        saved = self._store.files
        for kind, path in ((kind, saved[kind]) for kind in KINDS if kind in saved):
            try:
                self._shelves[kind].dense.read(path)
            except ValueError as error:
                self._store.notes.append(
                    (f"索引文件 {path} 没有使用：{error}。将重建。", f"{path} is not used: {error}. It is built anew.")
                )

    def _compare(self, units: Sequence[Unit]) -> tuple[list[tuple[Unit, list[Text]]], SyncReport]:
        """What of these units has other texts than what is indexed."""
        added = updated = unchanged = 0
        changed: list[tuple[Unit, list[Text]]] = []
        for unit in units:
            known = self._shelves[_kind(unit)].texts(unit.id)
            texts = texts_of(unit)
            unchanged += known == texts
            added += known is None
            updated += known is not None and known != texts
            if known != texts:
                changed.append((unit, texts))
        with self._lock:
            self._shelves["faq"].hear((unit.id, unit.answer) for unit in units if isinstance(unit, Entry))
        return changed, SyncReport(added, updated, 0, unchanged)

    def _put(self, changed: Sequence[tuple[Unit, list[Text]]], rows: Ids) -> None:
        numbers, start = rows.tolist(), 0
        new: dict[HitKind, list[tuple[str, list[Text], list[int]]]] = {kind: [] for kind in KINDS}
        for unit, texts in changed:
            new[_kind(unit)].append((unit.id, texts, numbers[start : start + len(texts)]))
            start += len(texts)
        with self._lock:
            for kind, units in new.items():
                self._shelves[kind].put(units)

    def _save_after(self, encoded: int) -> None:
        """What took long to encode is kept, should the rest be broken off."""
        self._unsaved += encoded
        if self._unsaved >= TEXTS_PER_SAVE:
            self.save()

    def _save_quietly(self) -> None:
        with contextlib.suppress(SnapshotError):  # saving is tried again, and told of, with the next change
            self.save()

    def _question_vectors(self, asked: Sequence[tuple[str, str]]) -> Vectors:
        """Vectors of questions: those of the entries where they have them."""
        return self._embeddings.look_at([plain(question) for _, question in asked])

    def _remeasure(self, changed: int) -> None:
        """After so many changes; a large knowledge base's background moves little with each."""
        self._unmeasured += changed
        with self._lock:
            size = len(self._shelves["faq"])
        if self._unmeasured * MEASURED_ANEW_PART > size:
            self._background = self._measure_background()

    def _measure_background(self) -> rank.Background:
        self._unmeasured = 0
        with self._lock:
            sample = self._shelves["faq"].sample(background.SAMPLE)
        return background.measure(self._store.view.vectors(self._generic), sample)


def _kind(unit: Unit) -> HitKind:
    return "passage" if isinstance(unit, Passage) else "faq"
