"""What is indexed: the shelves, the vectors behind them, and how both follow what is written."""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from knowledge import background, by_words, rank
from knowledge.answers import Answers
from knowledge.embeddings import Embeddings
from knowledge.errors import SnapshotError
from knowledge.shelf import Shelf, Text, texts_of
from knowledge.store import Store
from knowledge.text import plain
from knowledge.types import Encoder, Entry, HitKind, Passage, ProgressCallback, SyncReport, TextKind, Unit, Vectors
from knowledge.upkeep import Upkeep

UNITS_PER_STEP = 256
TEXTS_PER_SAVE = 5000
# Encoded in one step, about a second: a question that is asked meanwhile waits for no more than a batch of it. In fewer
# texts the encoder finds fewer of one length, and its last batch is short: 64 cost some percent more each than 256,
# and more than these gain nothing.
TEXTS_PER_STEP = 256
# Of what is encoded ahead, several times as long each.
ANSWERS_PER_STEP = 32
# The background is measured anew when one part in so many has changed, or has got its vector.
MEASURED_ANEW_PART, MEASURED_ANEW_PART_ENCODING = 100, 20
KINDS: tuple[HitKind, ...] = ("faq", "passage")


class Contents:
    """Units by their words at once and by meaning as soon as they are encoded. For one writer at a time and any number
    of readers, who hold `lock`; nothing is encoded under it, nor under what keeps writers apart, so that a change waits
    for no encoder.
    """

    def __init__(self, folder: Path | None, encoder: Encoder) -> None:
        self.lock = threading.Lock()
        self.store = Store(folder, encoder.id, encoder.dimension)
        self.embeddings = Embeddings(encoder, self.store)
        self.shelves: dict[HitKind, Shelf] = {kind: Shelf(self.store) for kind in KINDS}
        self._answers = Answers()
        self._writing = threading.RLock()
        self._in_step = self._closed = False
        self._unsaved = self._unmeasured = 0
        self._lacking_max = by_words.LACKING_MAX
        self._take_saved_indexes()
        self._upkeep = Upkeep([shelf.dense for shelf in self.shelves.values()], self.lock, self._save_quietly)
        self._generic = self.embeddings.rows([(plain(text), "query") for text in background.GENERIC_QUESTIONS])
        self._background = self._measure_background()

    def close(self) -> None:
        """Let go of everything; nothing is saved."""
        self._upkeep.stop()
        with self._writing, self.lock:
            self._in_step, self._closed = False, True
            self.shelves = {kind: Shelf(self.store) for kind in KINDS}
            self.store.close()

    @property
    def lacking(self) -> int:
        """How many texts are found by their words alone: their vectors are still to be encoded."""
        with self.lock:
            return sum(shelf.lacking for shelf in self.shelves.values())

    @property
    def lacking_max(self) -> float:
        """The share of texts without a vector from which on similarity alone decides nothing."""
        return self._lacking_max

    @property
    def background(self) -> rank.Background:
        return self._background

    def background_with(self, questions: Vectors, without: Collection[str]) -> rank.Background:
        """The background of these questions' vectors and of what is indexed, but for the units of some ids."""
        with self.lock:
            sample = self.shelves["faq"].sample(background.SAMPLE, without)
        step = max(len(questions) / background.SAMPLE, 1.0)
        own = questions[[int(at * step) for at in range(int(len(questions) / step))]]
        return background.measure(self.store.view.vectors(self._generic), np.concatenate([sample, own]))

    def place(self, units: Iterable[Unit]) -> SyncReport:
        """Hold exactly these units, without encoding."""
        with self._writing:
            units = list(units)
            wanted = {(kind_of(unit), unit.id) for unit in units}
            with self.lock:
                gone = [
                    (kind, id_) for kind, shelf in self.shelves.items() for id_ in shelf if (kind, id_) not in wanted
                ]
                for kind, id_ in gone:
                    self.shelves[kind].remove(id_)
            self._answers.forget(id_ for _, id_ in gone)
            report = self._put(units)
            self._in_step = True
            self._lacking_max = by_words.LACKING_MAX if self.lacking else by_words.LACKING_NEW_MAX
            self._background = self._measure_background()
        self._upkeep.look()
        return replace(report, removed=len(gone))

    def change(self, upserts: Iterable[Unit], removals: Iterable[str]) -> SyncReport:
        """Add or update units and remove those of the given ids, without encoding."""
        with self._writing:
            removals = list(removals)
            with self.lock:
                removed = sum(shelf.remove(id_) for id_ in removals for shelf in self.shelves.values())
            self._answers.forget(removals)
            report = self._put(upserts)
            self._remeasure(report.added + report.updated + removed)
        self._upkeep.look()
        return replace(report, removed=removed)

    def encode_some(self) -> int:
        """Encode a few of the texts without a vector, the last that came first; returns how many had to be.

        So what somebody edits while an import is encoded does not queue behind it.
        """
        with self._writing:
            with self.lock:
                steps = {kind: shelf.lacking_texts(TEXTS_PER_STEP) for kind, shelf in self.shelves.items()}
            wanted = list(dict.fromkeys((text.simple, text.kind) for step in steps.values() for _, text in step))
            unknown = np.flatnonzero(self.embeddings.known(wanted) < 0).tolist()
        new = [wanted[at] for at in unknown]
        vectors = self.embeddings.encode(new)
        with self._writing:
            if self._closed:
                return 0
            self.embeddings.keep(new, vectors)
            rows = dict(zip(wanted, self.embeddings.known(wanted).tolist(), strict=True))
            with self.lock:
                for kind, step in steps.items():
                    self.shelves[kind].fill((slot, text, rows[text.simple, text.kind]) for slot, text in step)
            self._unsaved += len(new)
            if self._unsaved >= TEXTS_PER_SAVE:  # what took long to encode is kept, should the rest be broken off
                self.save()
            self._remeasure(len(new), MEASURED_ANEW_PART_ENCODING)
            if not self.lacking:
                self._lacking_max = by_words.LACKING_NEW_MAX
                self._background = self._measure_background()
        self._upkeep.look()
        return len(new)

    def encode_lacking(self, on_progress: ProgressCallback | None = None) -> int:
        """`encode_some` until nothing lacks; returns how many texts were encoded."""
        encoded, total = 0, self.lacking
        if total and on_progress is not None:
            on_progress(0, total)
        while self.lacking:
            encoded += self.encode_some()
            if on_progress is not None:
                on_progress(max(total - self.lacking, 0), total)
        return encoded

    def encode_ahead(self) -> int:
        """See `Index.encode_ahead`."""
        with self._writing:
            some = self._answers.some(ANSWERS_PER_STEP)
            wanted: list[tuple[str, TextKind]] = [(text, "passage") for text in some.values()]
            unknown = np.flatnonzero(self.embeddings.known(wanted) < 0).tolist()
        new = list(dict.fromkeys(wanted[at] for at in unknown))
        vectors = self.embeddings.encode(new)
        with self._writing:
            if self._closed:
                return 0
            self.embeddings.keep(new, vectors)
            self._answers.give(some, self.embeddings.known(wanted))
            self._unsaved += len(new)
            return self._answers.waiting

    def save(self) -> None:
        """See `Index.save`."""
        with self._writing:
            with self.lock:
                shelved = [shelf.rows for shelf in self.shelves.values()]
                rows = np.concatenate([self._generic, self._answers.rows, *shelved])
                dense = {kind: shelf.dense for kind, shelf in self.shelves.items() if not shelf.dense.is_exact}
            saved = self.store.files
            files: dict[str, Callable[[Path], None] | None] = {
                kind: one.write if one.is_worth_saving or kind not in saved else None for kind, one in dense.items()
            }
            self.store.save(rows if self._in_step else None, files)
            self._unsaved = 0

    def wait_for_rebuild(self, seconds: float | None = None) -> bool:
        """See `Index.wait_for_rebuild`."""
        return self._upkeep.wait(seconds)

    def _take_saved_indexes(self) -> None:
        saved = self.store.files
        for kind, path in ((kind, saved[kind]) for kind in KINDS if kind in saved):
            try:
                self.shelves[kind].dense.read(path)
            except ValueError as error:
                self.store.notes.append(
                    (f"索引文件 {path} 没有使用：{error}。将重建。", f"{path} is not used: {error}. It is built anew.")
                )

    def _put(self, units: Iterable[Unit]) -> SyncReport:
        """Shelve what has other texts than what is indexed, with the vectors that are known; a step at a time, so that
        searches go on in between.
        """
        added = updated = unchanged = 0
        for some in _steps(units):
            changed: list[tuple[Unit, list[Text]]] = []
            for unit in some:
                known = self.shelves[kind_of(unit)].texts(unit.id)
                texts = texts_of(unit)
                unchanged += known == texts
                added += known is None
                updated += known is not None and known != texts
                if known != texts:
                    changed.append((unit, texts))
            flat = [(text.simple, text.kind) for _, texts in changed for text in texts]
            rows = iter(self.embeddings.known(flat).tolist())
            new: dict[HitKind, list[tuple[str, list[Text], list[int]]]] = {kind: [] for kind in KINDS}
            for unit, texts in changed:
                new[kind_of(unit)].append((unit.id, texts, [next(rows) for _ in texts]))
            with self.lock:
                for kind, shelved in new.items():
                    self.shelves[kind].put(shelved)
                self.shelves["faq"].hear((unit.id, unit.answer) for unit in some if isinstance(unit, Entry))
            heard = self._answers.hear(some)
            self._answers.give(heard, self.embeddings.known([(text, "passage") for text in heard.values()]))
        return SyncReport(added, updated, 0, unchanged)

    def _save_quietly(self) -> None:
        with contextlib.suppress(SnapshotError):  # saving is tried again, and told of, with the next change
            self.save()

    def _remeasure(self, changed: int, part: int = MEASURED_ANEW_PART) -> None:
        """After so many changes; a large knowledge base's background moves little with each."""
        self._unmeasured += changed
        with self.lock:
            size = len(self.shelves["faq"])
        if self._unmeasured * part > size:
            self._background = self._measure_background()

    def _measure_background(self) -> rank.Background:
        self._unmeasured = 0
        with self.lock:
            sample = self.shelves["faq"].sample(background.SAMPLE)
        return background.measure(self.store.view.vectors(self._generic), sample)


def kind_of(unit: Unit) -> HitKind:
    return "passage" if isinstance(unit, Passage) else "faq"


def _steps(units: Iterable[Unit]) -> Iterator[Sequence[Unit]]:
    rest = iter(units)
    while some := list(islice(rest, UNITS_PER_STEP)):
        yield some
