"""The knowledge base as one searchable thing: add, update, remove, search, save."""

import threading
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from knowledge import rank, store
from knowledge.calibrate import Calibration, shipped
from knowledge.rerankers import rerank
from knowledge.shelf import Question, Shelf, Text, texts_of
from knowledge.text import normalise, plain, tokens
from knowledge.twins import Search as TwinSearch
from knowledge.twins import Twin
from knowledge.types import (
    Encoder,
    HitKind,
    Passage,
    ProgressCallback,
    Reranker,
    SearchResult,
    SyncReport,
    TextKind,
    Unit,
    Vectors,
)

UNITS_PER_STEP = 256
TEXTS_PER_SAVE = 5000
LOOKED_AT_MAX = 20_000
TWIN_BLOCK = 4096
OPTIONS_MAX = 3
BACKGROUND_SAMPLE = 512
# Everyday questions that have little to do with each other: what "unrelated" looks like to an encoder before the
# company's own entries say it, and a counterweight while these are few.
GENERIC_QUESTIONS = (
    "怎么退货", "发票什么时候开", "快递几天能到", "会员有什么优惠", "忘记密码怎么办",
    "支持货到付款吗", "商品有色差怎么办", "如何修改收货地址", "可以用花呗分期吗", "保修期是多久",
    "怎么联系人工客服", "优惠券怎么用不了", "你们几点上班", "这个药饭前吃还是饭后吃", "信用卡额度怎么提升",
    "路由器连不上网", "航班延误可以改签吗", "孩子发烧要去医院吗", "怎样注销账号", "尺码偏大还是偏小",
    "今天天气怎么样", "请问怎么申请贷款", "软件闪退怎么解决", "电影票能退吗",
)  # fmt: skip
GENERIC_WEIGHT = 30


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How much is searchable: enabled entries, enabled passages, and the texts indexed for both."""

    entries: int
    passages: int
    texts: int


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
        self._folder = folder
        snapshot = store.load(folder, encoder.id, encoder.dimension) if folder else store.Snapshot()
        self.note = snapshot.note
        self._kept = snapshot.vectors
        self._looked_at: dict[bytes, Vectors] = {}
        self._shelves: dict[HitKind, Shelf] = {kind: Shelf(encoder.dimension) for kind in ("faq", "passage")}
        self._lock = threading.Lock()
        self._writing = threading.RLock()
        self._generic = self._encode([(plain(text), "query") for text in GENERIC_QUESTIONS], None)[0]
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

        `note` says why a snapshot that is there is not used. Raises OSError where the folder cannot be read.
        """
        return cls(folder, encoder, calibration, reranker)

    def close(self) -> None:
        """Let go of everything; nothing is saved."""
        with self._writing, self._lock:
            self._shelves = {kind: Shelf(self.encoder.dimension) for kind in ("faq", "passage")}
            self._kept = {}

    @property
    def size(self) -> IndexSize:
        with self._lock:
            faq, passage = self._shelves["faq"], self._shelves["passage"]
            return IndexSize(faq.searchable_units, passage.searchable_units, len(faq) + len(passage))

    @property
    def background(self) -> rank.Background:
        return self._background

    def synchronise(self, units: Iterable[Unit], on_progress: ProgressCallback | None = None) -> SyncReport:
        """Make the index hold exactly these units: what is gone is removed, what is new or changed is encoded."""
        with self._writing:
            units = list(units)
            wanted = {(_kind(unit), unit.id) for unit in units}
            with self._lock:
                gone = [
                    (kind, id_) for kind, shelf in self._shelves.items() for id_ in shelf if (kind, id_) not in wanted
                ]
                for kind, id_ in gone:
                    self._shelves[kind].remove(id_)
            report = self.apply(units, on_progress=on_progress)
            self._kept = {}
            return replace(report, removed=len(gone))

    def apply(
        self, upserts: Iterable[Unit] = (), removals: Iterable[str] = (), on_progress: ProgressCallback | None = None
    ) -> SyncReport:
        """Add or update units and remove those of the given ids (unknown ids are ignored). Searchable at return."""
        added = updated = unchanged = encoded = removed = unsaved = 0
        with self._writing:
            removals = list(removals)
            with self._lock:
                for id_ in removals:
                    removed += sum(shelf.remove(id_) for shelf in self._shelves.values())
            changed: list[tuple[Unit, list[Text]]] = []
            for unit in upserts:
                known = self._shelves[_kind(unit)].texts(unit.id)
                texts = texts_of(unit)
                unchanged += known == texts
                added += known is None
                updated += known is not None and known != texts
                if known != texts:
                    changed.append((unit, texts))
            if changed and on_progress is not None:
                on_progress(0, len(changed))
            for start in range(0, len(changed), UNITS_PER_STEP):
                step = changed[start : start + UNITS_PER_STEP]
                encoded_now = self._put(step, _part(on_progress, start, len(step), len(changed)))
                encoded += encoded_now
                unsaved += encoded_now
                if unsaved >= TEXTS_PER_SAVE:
                    self.save()
                    unsaved = 0
                if on_progress is not None:
                    on_progress(min(start + UNITS_PER_STEP, len(changed)), len(changed))
            if changed or removed:
                self._background = self._measure_background()
        return SyncReport(added, updated, removed, unchanged, encoded)

    def search(
        self, query: str, k: int = 10, *, dense_only: bool = False, admits: Callable[[str], bool] | None = None
    ) -> SearchResult:
        """The `k` best entries and passages for a query, with the decision. An empty query finds nothing.

        `dense_only` ranks by similarity alone: no lexical score and no exact match. `admits` tells by its id whether a
        unit may be found; the others count as not being there, for the decision too.
        """
        return self.search_all([query], k, dense_only=dense_only, admits=admits)[0]

    def search_all(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        dense_only: bool = False,
        admits: Callable[[str], bool] | None = None,
        held_out: Sequence[str] = (),
    ) -> list[SearchResult]:
        """`search` for many queries, which are encoded in batches.

        `held_out[i]` is the id of an entry that then lacks the very wording of query i.
        """
        simple = [plain(query) for query in queries]
        asked = [text for text in simple if text] if k > 0 else []
        vectors = iter(self.encoder.encode(asked, "query") if asked else ())
        return [
            self._search(query, Question(next(vectors), tokens(text), normalise(query)), k, dense_only, admits, held)
            if text and k > 0
            else SearchResult(query, (), (), "none", 0.0, 0.0)
            for query, text, held in zip(queries, simple, held_out or [""] * len(simple), strict=True)
        ]

    def _search(
        self,
        query: str,
        question: Question,
        k: int,
        dense_only: bool,
        admits: Callable[[str], bool] | None,
        held_out: str,
    ) -> SearchResult:
        calibration, background = self.calibration, self._background
        with self._lock:
            found = {kind: shelf.matches(question, max(k, 20), admits) for kind, shelf in self._shelves.items()}
        faqs = [match for match in found["faq"] if not (match.exact and match.id == held_out)]
        hits = rank.rank(faqs, background, dense_only=dense_only)
        if self.reranker is not None and not dense_only:
            hits = rerank(hits, query, self.reranker, background)
        passages = rank.rank(found["passage"], background, kind="passage", dense_only=dense_only)
        features = rank.features(hits, background)
        probability = calibration.probability(features) if hits else 0.0
        decision = (
            rank.decide(probability, calibration.answer_threshold, calibration.clarify_threshold) if hits else "none"
        )
        score = hits[0].score if dense_only and hits else probability
        offered = rank.options(hits, background, OPTIONS_MAX) if decision == "clarify" else ()
        return SearchResult(
            query, tuple(hits[:k]), tuple(passages[:k]), decision, score, probability, offered, features,
            rank.relevance(passages, background),
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
        kept: dict[bytes, Vectors] = {}
        parts = []
        for start in range(0, len(asked), UNITS_PER_STEP):
            parts.append(self._question_vectors(asked[start : start + UNITS_PER_STEP], kept))
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
        self._looked_at = kept
        return search.judge()

    def _question_vectors(self, asked: Sequence[tuple[str, str]], kept: dict[bytes, Vectors]) -> Vectors:
        """Vectors of questions, those of the entries where they have them; what is encoded goes into `kept`."""
        simple = [plain(question) for _, question in asked]
        with self._lock:
            shelf = self._shelves["faq"]
            found = {
                text: vector
                for (id_, _), text in zip(asked, simple, strict=True)
                if (vector := shelf.question_vector(id_, text)) is not None
            }
        new = [text for text in dict.fromkeys(simple) if text not in found]
        encoded = self._encode([(text, "query") for text in new], None)[0]
        if len(kept) < LOOKED_AT_MAX:
            kept.update(zip((store.key(text, "query") for text in new), encoded, strict=True))
        found |= dict(zip(new, encoded, strict=True))
        return np.array([found[text] for text in simple], dtype=np.float32)

    def save(self) -> None:
        """Write the vectors of what is indexed now to the folder. Raises SnapshotError; the old file then stays."""
        if self._folder is None:
            return
        with self._writing:
            with self._lock:
                # Before the first synchronisation is through, what it has not come to yet is still needed.
                vectors = dict(self._kept)
                vectors |= zip(
                    (store.key(plain(text), "query") for text in GENERIC_QUESTIONS), self._generic, strict=True
                )
                vectors |= {key: row for shelf in self._shelves.values() for key, row in shelf.vectors()}
            store.save(self._folder, self.encoder.id, self.encoder.dimension, vectors)

    def _put(self, changed: Sequence[tuple[Unit, list[Text]]], on_progress: ProgressCallback | None) -> int:
        flat = [(text.simple, text.kind) for _, texts in changed for text in texts]
        vectors, encoded = self._encode(flat, on_progress)
        start = 0
        with self._lock:
            for unit, texts in changed:
                self._shelves[_kind(unit)].put(unit.id, texts, vectors[start : start + len(texts)])
                start += len(texts)
        return encoded

    def _encode(
        self, texts: Sequence[tuple[str, TextKind]], on_progress: ProgressCallback | None
    ) -> tuple[Vectors, int]:
        """Vectors of texts, from the snapshot where it has them; and how many had to be encoded."""
        keys = [store.key(*text) for text in texts]
        kept = ChainMap(self._kept, self._looked_at)
        known = {key: kept[key] for key in keys if key in kept}
        kinds: tuple[TextKind, ...] = ("query", "passage")
        unknown = {
            kind: {key: text for key, (text, its) in zip(keys, texts, strict=True) if its == kind and key not in known}
            for kind in kinds
        }
        done, total = 0, sum(map(len, unknown.values()))
        for kind, new in unknown.items():
            if new:
                told = _part(on_progress, done, len(new), total)
                known.update(zip(new, self.encoder.encode(list(new.values()), kind, told), strict=True))
                done += len(new)
        rows = np.array([known[key] for key in keys], dtype=np.float32).reshape(len(keys), self.encoder.dimension)
        return rows, sum(key not in kept for key in set(keys))

    def _measure_background(self) -> rank.Background:
        with self._lock:
            sample = self._shelves["faq"].sample(BACKGROUND_SAMPLE)
        mean, deviation = _spread(self._generic)
        if len(sample) > 1:
            own_mean, own_deviation = _spread(sample)
            share = len(sample) / (len(sample) + GENERIC_WEIGHT)
            mean, deviation = (share * own_mean + (1 - share) * mean, share * own_deviation + (1 - share) * deviation)
        return rank.Background(mean, max(deviation, 1e-3))


def _part(on_progress: ProgressCallback | None, start: int, count: int, whole: int) -> ProgressCallback | None:
    """For a piece of work that is `count` of `whole`, from `start` on: its own progress as progress of the whole."""
    if on_progress is None:
        return None

    def tell(done: int, total: int, note: str = "") -> None:
        on_progress(start + count * done // total, whole, note)

    return tell


def _spread(vectors: Vectors) -> tuple[float, float]:
    """Mean and standard deviation of the similarity between different rows."""
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return float(pairs.mean()), float(pairs.std())


def _kind(unit: Unit) -> HitKind:
    return "passage" if isinstance(unit, Passage) else "faq"
