"""The live knowledge base: the database is the truth, the index follows it, and searches see one state or the other."""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bot import snapshots
from bot.calibrations import load_calibration
from bot.encoding import Encoding
from bot.errors import UnavailableError
from bot.expected import Expected
from bot.metrics import Metrics
from bot.retrievers import load_encoder, load_reranker
from bot.served import Encode, Served, assemble, unless
from bot.storage import adapters, knowledge
from bot.storage.database import Database
from bot.visibility import Visibility
from bot.zone import company_zone
from knowledge.scope import Refusal, Scope
from knowledge.types import Entry, Passage, ProgressCallback, SearchResult, TextKind, Unit

if TYPE_CHECKING:
    from bot.config import Settings
    from knowledge.calibrate import Calibration
    from knowledge.index import Index
    from knowledge.rerankers import TransformerReranker
    from knowledge.twins import Twin

SAVE_SECONDS = 3.0
# Who writes waits until so few can be found by meaning, too, and not for what others import.
TEXTS_WAITED_FOR_AT_CHANGES = 100
SEARCH_THREADS = 4
OPEN_SECONDS_MAX = 60.0
# Told of each search: the adapter that was asked, and its seconds; None where it failed.
OnSearch = Callable[[str | None, float | None], None]

log = logging.getLogger("kefu.knowledge_base")


class KnowledgeBase:
    """One per process. `open()` first; then `search()` from any task, `refresh()` when the database moved."""

    def __init__(
        self,
        database: Database,
        settings: "Settings",
        metrics: Metrics | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database, self._settings, self._metrics = database, settings, metrics
        self._served: Served | None = None
        self._before: tuple[Served, int] | None = None  # with the revision that its index is in step with
        self.on_search: OnSearch = lambda _adapter, _seconds: None
        self._visibility = Visibility(settings.channels, company_zone(settings), clock)
        self._units: dict[str, Unit] = {}
        self._ages: dict[str, tuple[int, int]] = {}
        self._revision = 0
        self._writing, self._switching = asyncio.Lock(), asyncio.Lock()
        self._saving: asyncio.Task[None] | None = None
        self._reranker: TransformerReranker | None = None
        self._searches = ThreadPoolExecutor(SEARCH_THREADS, "search")
        self._expected = Expected(lambda queries: self.served.index.expect(queries))
        self._stopping, self._opened = threading.Event(), asyncio.Event()
        self._encoding = Encoding(lambda: self._served.index if self._served else None, self._stopping, self._save_soon)
        self._ahead = False

    @property
    def ready(self) -> bool:
        return self._served is not None

    @property
    def revision(self) -> int:
        """The revision of the database that searches see."""
        return self._revision

    @property
    def served(self) -> Served:
        """Encoder and index of this moment, which belong together. Raises UnavailableError before `open()` is done."""
        if self._served is None:
            raise UnavailableError(
                "not_ready", "服务正在启动，请稍候", "The service is starting; try again in a moment"
            )
        return self._served

    @property
    def adapter(self) -> str | None:
        """The name of the encoder adapter being served, None for the base model."""
        return self.served.adapter

    @property
    def encoding(self) -> tuple[int, int] | None:
        """While changes, or what a start found without vectors, are being encoded: how many are done, of how many."""
        return self._encoding.progress

    @property
    def thresholds(self) -> tuple[float, float]:
        """The probabilities from which it is answered directly, and asked back."""
        entries = self.served.index.size.entries
        return self.calibration.answer_threshold, self.calibration.clarify_threshold_among(entries)

    @property
    def calibration(self) -> "Calibration":
        """What the probabilities come from."""
        return self.served.index.calibration

    @property
    def counts(self) -> tuple[int, int]:
        """How many entries and passages are served."""
        entries = sum(isinstance(unit, Entry) for unit in self._units.values())
        return entries, len(self._units) - entries

    @property
    def wordings(self) -> int:
        """How many questions and similar questions are served."""
        return sum(len(unit.phrasings) for unit in self._units.values() if isinstance(unit, Entry) and unit.enabled)

    def entry(self, entry_id: str, channel: str | None = None) -> Entry | None:
        """A live, enabled entry; with a channel, one that is answered there today."""
        unit = self._units.get(entry_id)
        if not isinstance(unit, Entry) or (channel and not self._visibility.scope(channel, None).admits(unit)):
            return None
        return unit

    def passage(self, passage_id: str) -> Passage | None:
        """A live passage."""
        return unit if isinstance(unit := self._units.get(passage_id), Passage) else None

    async def open(self, on_progress: ProgressCallback | None = None, *, answer_early: bool = False) -> None:
        """Load the encoder with its active adapter and the index's snapshot, and bring both to the database's state.

        `answer_early`: where much has to be encoded, or a part of the snapshot was damaged, do that in the background;
        what has no vector yet is found by its words meanwhile, and answered only where it is asked word for word. And
        encode ahead what is compared in conversations (`Index.encode_ahead`).

        Raises the errors of `knowledge` where the base model cannot be loaded. An adapter that cannot be loaded is
        left out with a log line: answers of the base model are better than none.
        """
        async with self.database.reading() as session:
            changes = await knowledge.changes_since(session, 0)
            name = (await adapters.active(session))["encoder"]
        units = {unit.id: unit for unit in changes.upserts}
        folder = self._settings.data / "adapters" / name if name else None
        try:
            encode: Encode = "few" if answer_early else "all"
            served = await asyncio.to_thread(self._build, folder, units, on_progress, encode)
        except Exception:
            if folder is None:
                raise
            log.exception("the encoder adapter %s cannot be used; serving the base model", name)
            served = await asyncio.to_thread(self._build, None, units, on_progress, encode)
        self._units, self._revision, self._served = units, changes.revision, served
        self._ages = dict(changes.ages)
        self._visibility.bind(units.values())
        self._opened.set()
        self._measure()
        self._save_soon()
        if lacking := served.index.lacking:
            log.warning("%d texts have no vector yet and are found by their words meanwhile", lacking)
        self._ahead = answer_early
        self._encoding.begin(ahead=self._ahead)

    async def wait_open(self) -> None:
        """Until `open()` is done: what is asked of a starting service is answered a few seconds later, not refused.

        Raises UnavailableError where that takes a minute.
        """
        if not self._opened.is_set():  # each turn asks
            with suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), OPEN_SECONDS_MAX)
        _ = self.served

    def stop(self) -> None:
        """End encoding after the batch that is under way: what is encoded is saved, the next start does the rest."""
        self._stopping.set()

    async def close(self) -> None:
        """Stop, write the snapshot and let go of everything."""
        self.stop()
        await self._encoding.end()
        if self._saving:
            self._saving.cancel()
            with suppress(asyncio.CancelledError):
                await self._saving
        await self.let_go()
        served, self._served = self._served, None
        if served:
            await asyncio.to_thread(served.save_and_close)
        self._expected.close()
        self._searches.shutdown(wait=False, cancel_futures=True)

    async def search(
        self, query: str, k: int = 10, *, channel: str | None = None, category: str | None = None
    ) -> SearchResult:
        """The best `k` entries and passages that hold today, and the decision. Entries of one question count as one.

        With `channel`, what is not answered there is left out; with `category`, all other entries are. Raises
        UnavailableError before `open()` is done.
        """
        return (await self.search_all([query], k, channel=channel, category=category))[0]

    async def search_all(
        self, queries: Sequence[str], k: int = 10, *, channel: str | None = None, category: str | None = None
    ) -> list[SearchResult]:
        """`search` for several queries, encoded together."""
        served = self.served
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            results = await self.search_in(served.index, queries, k, channel=channel, category=category)
        except Exception:
            self.on_search(served.adapter, None)
            raise
        self.on_search(served.adapter, clock() - started)
        if self._metrics:
            self._metrics.search_seconds.observe(clock() - started)
        return results

    async def alike(self, query: str, texts: Sequence[str], kind: TextKind) -> list[float]:
        """How alike the encoder that serves finds them, see `Index.alike`."""
        return await asyncio.to_thread(self.served.index.alike, query, texts, kind)

    def expect(self, query: str) -> None:
        """Begin to encode what is about to be searched for, while its message is being stored."""
        if self._served is not None and not self._stopping.is_set():
            self._expected.add(query)

    async def search_in(
        self, index: "Index", queries: Sequence[str], k: int, *, channel: str | None, category: str | None = None
    ) -> list[SearchResult]:
        """What an index of these units finds of what may be found there today: the served one, or one beside it."""
        admits = self._visibility.admits(self._visibility.scope(channel, category), self._units)
        return await asyncio.get_running_loop().run_in_executor(
            self._searches, lambda: index.search_all(queries, k, admits=admits, age=self._age)
        )

    def _age(self, entry_id: str) -> tuple[int, int, str]:
        return *self._ages.get(entry_id, (0, 0)), entry_id

    def within(self, channel: str | None, category: str | None) -> tuple[Scope, dict[str, tuple[Refusal, ...]]]:
        """The scope of a search now, and what of the entries it hides, and why."""
        return (scope := self._visibility.scope(channel, category)), self._visibility.refused(scope, self._units)

    def check_channel(self, channel: str) -> None:
        """Raises InvalidError for a channel that nothing here is called by."""
        self._visibility.check_channel(channel)

    def look_up(
        self, queries: Sequence[str], admits: Callable[[str], bool] | None = None, held_out: Sequence[str] = ()
    ) -> list[SearchResult]:
        """What many queries find on any day and channel, see `Index.search_all`; blocking, for a thread."""
        return self.served.index.search_all(queries, admits=admits, held_out=held_out)

    def twins(
        self, asked: Sequence[Entry], ignored: Collection[str] = (), on_progress: ProgressCallback | None = None
    ) -> "list[Twin | None]":
        """For each entry of a file the entry that asks the same, see `Index.twins`; blocking, for a thread."""
        return self.served.index.twins(asked, ignored, on_progress)

    async def refresh(self, _value: int = 0) -> int:
        """Apply what moved in the database; returns the revision now served. Fits `Watcher.register`.

        What is new is found by its words at return, and word for word; it is encoded in the background, so that no
        change waits for another's encoding.
        """
        async with self._writing:
            served = self.served
            async with self.database.reading() as session:
                changes = await knowledge.changes_since(session, self._revision)
            if changes.revision != self._revision:
                self._visibility.bind(changes.upserts)
                await asyncio.to_thread(served.index.change, changes.upserts, changes.removals)
                self._take(changes)
        return self._revision

    async def recalibrate(self, _value: int = 0) -> None:
        """Read the calibration again: somebody saved a new one. Fits `Watcher.register("settings", …)`."""
        served = self.served
        folder = self._settings.data / "adapters" / served.adapter if served.adapter else None
        served.index.calibration = await asyncio.to_thread(load_calibration, self._settings, folder)

    def _take(self, changes: knowledge.Changes) -> None:
        for unit_id in changes.removals:
            self._units.pop(unit_id, None)
            self._ages.pop(unit_id, None)
        self._units |= {unit.id: unit for unit in changes.upserts}
        self._ages |= changes.ages
        self._visibility.settle(changes.upserts, changes.removals)
        self._revision = changes.revision
        self._measure()
        self._save_soon()
        self._encoding.begin(ahead=self._ahead)

    async def wait_for(self, revision: int, timeout_seconds: float = 10.0) -> bool:
        """Wait until a write of `revision` is searchable; whether it is. False where that takes longer, or not open.

        Vectors are waited for, too, where few lack; behind a large import it is searchable by its words first.
        """
        if self.ready and self._revision < revision:
            # Not cancelled at the timeout: the change is wanted all the same.
            await asyncio.wait({asyncio.ensure_future(self.refresh())}, timeout=timeout_seconds)
        if self._served and self._served.index.lacking <= TEXTS_WAITED_FOR_AT_CHANGES:
            await self.wait_encoded(timeout_seconds)
        return self.ready and self._revision >= revision

    async def wait_encoded(self, timeout_seconds: float) -> bool:
        """Wait until no text lacks its vector; whether that is so within the time."""
        return await self._encoding.wait(timeout_seconds)

    async def switch_encoder(self, adapter_folder: Path | None, on_progress: ProgressCallback | None = None) -> None:
        """Serve another encoder: a second index is built beside the first, catches up, and takes over at once.

        Searches go on with the old pair until then. Where anything fails the old pair stays. It is kept until
        `let_go`: the way back to it is a matter of milliseconds.
        """
        async with self._switching:
            wanted = adapter_folder.name if adapter_folder else None
            if wanted == self.served.adapter:
                return
            kept, self._before = self._before, None
            if kept and kept[0].adapter == wanted:
                fresh, revision = kept
                fresh.index.calibration = await asyncio.to_thread(load_calibration, self._settings, adapter_folder)
            else:
                if kept:
                    await asyncio.to_thread(kept[0].save_and_close)
                fresh, revision = await self.beside(adapter_folder, "all", on_progress)
            async with self._writing:
                changes = await self.bring_in_step(fresh, revision)
                self._visibility.bind(changes.upserts)
                before, self._served = self.served, fresh
                self._before = before, self._revision
                self._take(changes)
            await asyncio.to_thread(before.save)
            self._save_soon()

    async def let_go(self) -> None:
        """Close the pair that the last switch left."""
        before, self._before = self._before, None
        if before:
            await asyncio.to_thread(before[0].save_and_close)

    async def beside(
        self, adapter_folder: Path | None, encode: Encode, on_progress: ProgressCallback | None = None
    ) -> tuple[Served, int]:
        """Another encoder with an index of what is served, and its revision. The caller closes it."""
        units, revision = dict(self._units), self._revision
        return await asyncio.to_thread(self._build, adapter_folder, units, on_progress, encode), revision

    async def bring_in_step(self, other: Served, revision: int) -> knowledge.Changes:
        """Apply to a pair from `beside` what was written since a revision, without encoding; returns it."""
        async with self.database.reading() as session:
            changes = await knowledge.changes_since(session, revision)
        await asyncio.to_thread(other.index.change, changes.upserts, changes.removals)
        return changes

    def _build(
        self, adapter_folder: Path | None, units: Mapping[str, Unit], on_progress: ProgressCallback | None,
        encode: Encode = "all",
    ) -> Served:  # fmt: skip
        """Encoder and index for an adapter, in step with `units`; blocking, for a thread."""
        encoder = load_encoder(self._settings, adapter_folder)
        self._reranker = self._reranker or load_reranker(self._settings)
        in_use = [one.encoder.id for one in (self._served, self._before and self._before[0]) if one]
        told = unless(self._stopping, on_progress)
        return assemble(self._settings, encoder, self._reranker, units.values(), told, encode, in_use)

    def _save_soon(self) -> None:
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_later(), name="saving the index")

    async def _save_later(self) -> None:
        await asyncio.sleep(SAVE_SECONDS)
        if self._served:
            await asyncio.to_thread(snapshots.save, self._served.index)

    def _measure(self) -> None:
        if self._metrics:
            self._metrics.units.set(len(self._units))
            self._metrics.revision.set(self._revision)
