"""From conversations to questions worth reviewing: judged, masked and grouped by meaning, a batch at a time.

Only what came since the last run is read. Each batch is one transaction with the place it reached, so that a run may
be killed anywhere and goes on from there; memory holds one batch, and a vector (1.5 KB) for each group there is.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot.learning import clusters
from bot.learning.signals import Estimate, Said, estimate, turns
from bot.security.redaction import masked
from bot.storage import evidence, grouping, review
from bot.storage.evidence import Asked, Cursor
from bot.storage.grouping import Found, Group
from bot.storage.values import new_id, now
from knowledge.text import clean_line, normalise, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.knowledge_base import KnowledgeBase
    from bot.storage.database import Database
    from knowledge.encoders import TransformerEncoder
    from knowledge.types import Vectors

BATCH_TURNS = 2000
# How long after a message what was said next is evidence; a turn is judged when that time is over.
QUIET = timedelta(minutes=30)
TEXT_CHARACTERS_MAX = 500
MASKED_CHARACTERS_MAX = 2000


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: turns looked at, of them judged and unanswered, questions newly found, items newly opened."""

    turns: int = 0
    judged: int = 0
    unanswered: int = 0
    found: int = 0
    opened: int = 0

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.turns + other.turns,
            self.judged + other.judged,
            self.unanswered + other.unanswered,
            self.found + other.found,
            self.opened + other.opened,
        )


@dataclass(frozen=True, slots=True)
class Bad:
    """A turn that was probably not answered: the question without personal data, and its wording's key."""

    asked: Said
    text: str
    key: str
    estimate: Estimate


@dataclass(slots=True)
class _Groups:
    """The groups of a run: `ids` by cluster number; `founded` are not written yet; `moved` were decided meanwhile."""

    clusters: clusters.Clusters
    encoder: "TransformerEncoder"
    ids: list[str] = field(default_factory=list)
    founded: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)

    def assign(self, vectors: "Vectors") -> list[str]:
        numbers = self.clusters.assign(vectors)
        while len(self.ids) < len(self.clusters):
            self.ids.append(new_id())
            self.founded.add(self.ids[-1])
        return [self.moved.get(self.ids[number], self.ids[number]) for number in numbers]

    def id_of(self, item_id: str) -> str:
        """The id for an item that is not there to be joined: its own where it was just founded, else a new one."""
        if item_id not in self.founded:
            # Whatever led to the old id leads to the new one from now on.
            fresh = new_id()
            self.moved |= {old: fresh for old, new in self.moved.items() if new == item_id} | {item_id: fresh}
            return fresh
        self.founded.discard(item_id)
        return item_id


async def mine(
    database: "Database",
    knowledge_base: "KnowledgeBase",
    on_progress: "Callable[[int, int], Awaitable[None]]",
    quiet: timedelta = QUIET,
    batch_turns: int = BATCH_TURNS,
) -> Report:
    """Everything since the last run, thumbs that came late included.

    `on_progress(done, total)` is awaited between batches and may raise to stop there.
    """
    until, total = now() - quiet, Report()
    async with database.reading() as session:
        place = await evidence.cursor(session)
        rated = await evidence.asked_and_rated(session, place.rated, until, place.seq)
        waiting = await evidence.waiting(session, place.seq, until)
    if not rated and not waiting:
        return total
    groups = await _open_groups(database, knowledge_base)
    for start in range(0, len(rated), batch_turns):
        last = start + batch_turns >= len(rated)
        reached = replace(place, rated=until) if last else place
        total += await _work(database, groups, rated[start : start + batch_turns], reached)
    place = Cursor(place.seq, until)
    while True:
        await on_progress(total.turns, len(rated) + waiting)
        async with database.reading() as session:
            asked = await evidence.asked_after(session, place.seq, until, batch_turns)
        if not asked:
            return total
        place = replace(place, seq=asked[-1].seq)
        total += await _work(database, groups, asked, place)


async def _open_groups(database: "Database", knowledge_base: "KnowledgeBase") -> _Groups:
    """The groups there are, with vectors of the encoder in use: those of another are made anew."""
    served = knowledge_base.served
    background = served.index.background
    alike = clusters.threshold(background.mean, background.deviation)
    found = _Groups(clusters.Clusters(served.encoder.dimension, alike), served.encoder)
    async with database.reading() as session:
        async for part in grouping.groups(session):
            stale = [one for one in part if one.encoder != found.encoder.id]
            renewed: dict[str, bytes] = {}
            if stale:
                vectors = await asyncio.to_thread(served.encoder.encode, [plain(one.question) for one in stale])
                renewed = {one.id: clusters.packed(v) for one, v in zip(stale, vectors, strict=True)}
                async with database.session() as writing:
                    rows = [
                        {"id": id_, "vector": raw, "centre": raw, "encoder": found.encoder.id}
                        for id_, raw in renewed.items()
                    ]
                    await grouping.save_items(writing, rows, ())
            found.clusters.add(clusters.stacked([renewed.get(one.id, one.vector) for one in part]))
            found.ids += [one.id for one in part]
    return found


async def _work(database: "Database", groups: _Groups, asked: Sequence[Asked], reached: Cursor) -> Report:
    """One batch, from its messages to the queue."""
    async with database.reading() as session:
        said = await evidence.around(session, asked, QUIET)
    judged, bad = await asyncio.to_thread(judge, asked, said)
    async with database.reading() as session:
        before = await grouping.items_of_messages(session, [one.id for one in asked])
        alike = await grouping.items_of_keys(session, {one.key for one in bad})
    # Wordings that are queued already need no vector: they join their own.
    unknown = {one.key: one.text for one in bad if one.asked.id not in before and one.key not in alike}
    vectors = await asyncio.to_thread(groups.encoder.encode, [plain(text) for text in unknown.values()])
    places = alike | dict(zip(unknown, await asyncio.to_thread(groups.assign, vectors), strict=True))
    vector_of = dict(zip(unknown, vectors, strict=True))
    async with database.session() as session:
        there = await evidence.still_there(session, asked)  # somebody may have been forgotten meanwhile
        bad = [one for one in bad if one.asked.seq in there]
        before = {one.id: before[one.id] for one in asked if one.id in before and one.seq in there}
        await evidence.keep_estimates(session, {one.seq: judged[one.id].answered for one in asked if one.seq in there})
        again = {one.asked.id: one.estimate for one in bad if one.asked.id in before}
        await grouping.judge_again(session, {id_: (e.answered or 0.0, e.signals) for id_, e in again.items()})
        await grouping.withdraw(session, set(before) - set(again))
        fresh = [one for one in bad if one.asked.id not in before]
        known = await grouping.joinable(session, set(places.values()))
        rows, renamed = _items(fresh, places, vector_of, known, groups)
        opened = {row["id"] for row in rows} - set(known)
        await grouping.save_items(session, rows, opened)
        found = _questions(fresh, places, renamed)
        await grouping.add_questions(session, found)
        await review.recount(session, {*(one.item_id for one in found), *before.values()})
        await evidence.keep_cursor(session, reached)
    return Report(len(asked), sum(e.answered is not None for e in judged.values()), len(bad), len(fresh), len(opened))


def judge(asked: Sequence[Asked], said: dict[str, list[Said]]) -> tuple[dict[str, Estimate], list[Bad]]:
    """The estimate of each of the messages, and those to be reviewed, masked."""
    wanted = {one.id for one in asked}
    found = {one.id: Estimate(None) for one in asked}
    bad: list[Bad] = []
    for messages in said.values():
        for turn in turns(messages):
            if turn.asked.id not in wanted:
                continue
            found[turn.asked.id] = judged = estimate(turn)
            if judged.to_review and (text := shown(turn.asked.text)):
                bad.append(Bad(turn.asked, text, key_of(text), judged))
    return found, sorted(bad, key=lambda one: one.asked.seq)


def shown(text: str) -> str:
    """A customer's words as the queue keeps them: one line without personal data, empty where nothing can be asked."""
    line = clean_line(masked(clean_line(text[:MASKED_CHARACTERS_MAX])))[:TEXT_CHARACTERS_MAX].strip()
    return line if sum(character.isalnum() for character in line) > 1 else ""


def key_of(text: str) -> str:
    """The same for wordings that are the same question."""
    return hashlib.sha256(normalise(text).encode("utf-8", "replace")).hexdigest()


def _items(
    fresh: Iterable[Bad],
    places: dict[str, str],
    vector_of: "dict[str, Vectors]",
    known: dict[str, Group],
    groups: _Groups,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The items' rows after these questions joined, and the ids of those that were not there to be joined."""
    members: dict[str, list[Bad]] = {}
    for one in fresh:
        members.setdefault(places[one.key], []).append(one)
    rows: list[dict[str, Any]] = []
    renamed: dict[str, str] = {}
    for item_id, joined in members.items():
        group = known.get(item_id)
        new = {one.key: one.text for one in joined if one.key in vector_of}
        if group and not new:
            continue
        row = _named(group, list(new.values()), [vector_of[key] for key in new], groups.encoder.id)
        if group is None:
            renamed[item_id] = groups.id_of(item_id)
            moment = joined[0].asked.at
            row = {"question": joined[0].text, "vector": b"", "centre": b"", "encoder": ""} | row
            row |= {"state": review.OPEN, "revision": 0, "count": 0, "priority": 0.0}
            row |= {"first_at": moment, "last_at": moment}
        rows.append({"id": renamed.get(item_id, item_id), **row})
    return rows, renamed


def _named(group: Group | None, texts: list[str], vectors: "list[Vectors]", encoder_id: str) -> dict[str, Any]:
    """A group's centre and most central question after new wordings joined; nothing where none has a vector."""
    if not vectors:
        return {}
    if group and not (group.vector and group.centre):
        group = None  # renamed since the run began, as somebody was forgotten: the new wordings are what is known of it
    old = clusters.unpacked(group.centre) if group else None
    centre = clusters.centre_of(old, group.count if group else 0, clusters.matrix(vectors))
    if group:
        vectors, texts = [clusters.unpacked(group.vector), *vectors], [group.question, *texts]
    best = clusters.most_central(centre, vectors)
    return {
        "question": texts[best], "vector": clusters.packed(vectors[best]), "centre": clusters.packed(centre),
        "encoder": encoder_id,
    }  # fmt: skip


def _questions(fresh: Iterable[Bad], places: dict[str, str], renamed: dict[str, str]) -> list[Found]:
    return [
        Found(
            one.asked.id, renamed.get(places[one.key], places[one.key]), one.text, one.key,
            one.estimate.answered or 0.0, one.estimate.signals, one.asked.at,
        )
        for one in fresh
    ]  # fmt: skip
