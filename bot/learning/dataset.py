"""From the knowledge base and its conversations to the files of a training run."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bot.security.redaction import masked
from bot.storage import decisions, knowledge, training
from finetune.atomic import write_lines
from finetune.data import Conversation, Labelled, Message, normalise, read_conversations, settle, split
from knowledge.text import plain
from knowledge.types import Entry

if TYPE_CHECKING:
    from bot.storage.database import Database

QUERY_CHARACTERS_MAX = 500
ANSWER_MATCH_CHARACTERS_MIN = 12
# Fewer held-out labels than wanted say little: similar questions are then held out beside them.
HELDOUT_WANTED, HELDOUT_MIN, HELDOUT_SHARE = 30, 8, 0.12


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to learn from. `problems` are lines of the given file that are no conversation."""

    entries: tuple[Entry, ...]
    conversations: tuple[Conversation, ...] = ()
    problems: tuple[str, ...] = ()
    company: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run's files hold, and what was left out: labels of unknown entries, texts with contradictory labels."""

    entries: int
    train: int
    heldout: int
    labelled: int = 0
    mined: int = 0
    out_of_scope: int = 0
    unknown: int = 0
    contradictory: int = 0
    problems: tuple[str, ...] = ()


async def gather(database: "Database", dialogs: Path | None = None, company: str = "") -> Material:
    """The live entries, what the reviewers' decisions say, and the stored conversations that have anything to teach,
    with those of a file beside them.

    A customer's conversation goes by the hash of its id, in which decisions and conversations meet.

    Raises:
        FinetuneError: the file cannot be read or holds no conversation.
    """
    read, problems = await asyncio.to_thread(read_conversations, dialogs) if dialogs else ([], [])
    async with database.reading() as session:
        changes = await knowledge.changes_since(session, 0)
        stored = [_stored(one) async for one in training.conversations(session, teaching=True)]
        decided = [
            Conversation(one.source, (Message("user", one.text, one.entry_id, reviewed=True),))
            for one in await decisions.labels(session)
        ]
    entries = tuple(unit for unit in changes.upserts if isinstance(unit, Entry))
    return Material(entries, (*read, *decided, *stored), tuple(str(problem) for problem in problems), company)


def _stored(one: training.TrainingConversation) -> Conversation:
    id_ = one.id if one.imported else decisions.source_of(one.id)
    return Conversation(id_, tuple(Message(m.role, m.text, m.faq_id, m.reviewed, m.machine) for m in one.messages))


@dataclass(frozen=True, slots=True)
class Labels:
    """Labelled customer messages, one label a text, with the counts of what was dropped.

    `sources` are the conversations that said any of it, also where several said the same.
    """

    examples: tuple[Labelled, ...]
    mined: int
    unknown: int
    contradictory: int
    sources: tuple[str, ...] = ()


def labels(material: Material) -> Labels:
    """What people labelled, and what staff answered in an entry's own words. The bot's own replies teach nothing.

    Personal data in the customers' words is masked: no model is to learn it.
    """
    known = {entry.id for entry in material.entries}
    owners: dict[str, set[str]] = {}
    for entry in material.entries:
        for phrasing in entry.phrasings:
            owners.setdefault(normalise(phrasing), set()).add(entry.id)
    found: list[Labelled] = []
    unknown = contradictory = 0
    answers = {normalise(entry.answer): entry.id for entry in material.entries if entry.answer}
    for conversation in material.conversations:
        for text, entry_id, reviewed in _labelled(conversation, answers):
            if entry_id is not None and entry_id not in known:
                unknown += 1
                continue
            own = owners.get(normalise(text), set())
            if own and (entry_id is None or entry_id not in own):
                contradictory += 1  # the knowledge base itself says otherwise
                continue
            found.append(Labelled(masked(text), entry_id, conversation.id, reviewed))
    # In an order of their own, so that the same labels make the same files whatever order they were given in.
    examples, tied = settle(sorted(found, key=lambda one: (one.text, one.entry or "", one.group)))
    mined = sum(not example.reviewed for example in examples)
    sources = tuple(sorted({one.group for one in found}))
    return Labels(tuple(examples), mined, unknown, contradictory + tied, sources)


def _labelled(conversation: Conversation, answers: dict[str, str]) -> Iterator[tuple[str, str | None, bool]]:
    """(customer's words, entry id or None, whether a person said so)."""
    asked: Message | None = None
    for message in conversation.messages:
        text = message.content.strip()[:QUERY_CHARACTERS_MAX]
        if message.role == "user":
            asked = None if message.reviewed else message
            if message.reviewed and normalise(text):
                yield text, message.faq_id, True
        elif message.role == "assistant" and asked is not None and not message.machine:
            given = normalise(message.content)
            if len(given) >= ANSWER_MATCH_CHARACTERS_MIN and given in answers:
                yield asked.content.strip()[:QUERY_CHARACTERS_MAX], answers[given], False
            asked = None


def write_encoder(material: Material, run_dir: Path, seed: int) -> Summary:
    """Writes entries.jsonl, train.jsonl and heldout.jsonl of an encoder run, every text as serving encodes it.

    Held out are whole conversations; where there are few labels, some similar questions too, and these are then not in
    `entries.jsonl`, which is the index that the held-out ones are searched in.
    """
    found = labels(material)
    train, heldout = _split_labelled(material, found, seed)
    hidden = {(example.entry, normalise(example.text)) for example in heldout}
    entries = [
        {
            "id": entry.id,
            "phrasings": [plain(entry.question)]
            + [plain(text) for text in entry.similar_questions if (entry.id, normalise(text)) not in hidden],
        }
        for entry in material.entries
    ]
    write_lines(run_dir / "entries.jsonl", entries)
    said = {example.group for example in found.examples}
    for name, part in (("train", train), ("heldout", heldout)):
        rows = [
            {"text": plain(e.text), "entry": e.entry} | ({"source": e.group} if e.group in said else {}) for e in part
        ]
        write_lines(run_dir / f"{name}.jsonl", rows)
    return Summary(
        entries=len(entries),
        train=len(train),
        heldout=len(heldout),
        labelled=len(found.examples),
        mined=found.mined,
        out_of_scope=sum(example.entry is None for example in found.examples),
        unknown=found.unknown,
        contradictory=found.contradictory,
        problems=material.problems,
    )


def _split_labelled(material: Material, found: Labels, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """The training and held-out parts; nothing is held out where even similar questions are few."""
    labelled = list(found.examples)
    similar = [
        Labelled(similar, entry.id, f"faq\0{entry.id}\0{similar}")
        for entry in material.entries
        for similar in entry.similar_questions
    ]
    for items, wanted in ((labelled, HELDOUT_WANTED), (labelled + similar, HELDOUT_MIN)):
        train, heldout = split(
            items,
            keys=lambda e: [f"group\0{e.group}", f"text\0{normalise(plain(e.text))}"],
            stratum=lambda e: e.entry,
            share=HELDOUT_SHARE,
            seed=seed,
        )
        if sum(example.entry is not None for example in heldout) >= wanted:
            return train, heldout
    return items, []


def write_generator(material: Material, run_dir: Path, seed: int) -> Summary:
    """Writes train.jsonl and heldout.jsonl of a generator run: grounded prompts with the entries' own answers."""
    from bot.learning import grounding

    found = labels(material)
    asked: dict[str, list[Labelled]] = {}
    for example in found.examples:
        if example.entry is not None:
            asked.setdefault(example.entry, []).append(example)
    outside = [example.text for example in found.examples if example.entry is None]
    answered = [entry for entry in material.entries if entry.answer.strip()]
    enriched = [_with_phrasings(entry, [one.text for one in asked.get(entry.id, ())]) for entry in answered]
    train, heldout = split(
        enriched,
        keys=lambda e: [f"id\0{e.id}", f"answer\0{normalise(e.answer)}", *[f"q\0{normalise(p)}" for p in e.phrasings]],
        stratum=lambda _entry: "",
        share=HELDOUT_SHARE,
        seed=seed,
    )
    if len(heldout) < HELDOUT_MIN:
        train, heldout = enriched, []
    # What one conversation asked stays on one side: of the held-out entries only what no training one was asked beside.
    trained = {one.group for entry in train for one in asked.get(entry.id, ())}
    bare = {entry.id: entry for entry in answered}
    heldout = [
        _with_phrasings(bare[one.id], [e.text for e in asked.get(one.id, ()) if e.group not in trained])
        for one in heldout
    ]
    rng = random.Random(seed)  # noqa: S311 - an order, no secret
    examples = grounding.examples(train, enriched, outside, rng, material.company)
    held = grounding.examples(heldout, enriched, [], rng, material.company, per_entry_max=1, refusal_share=0.1)
    rng.shuffle(examples)
    source = {example.text: example.group for example in found.examples}
    for name, rows in (("train", examples), ("heldout", held)):
        for row in rows:
            if group := source.get(row.pop("question")):
                row["source"] = group
        write_lines(run_dir / f"{name}.jsonl", rows)
    return Summary(
        entries=len(answered),
        train=len(examples),
        heldout=len(held),
        labelled=len(found.examples),
        mined=found.mined,
        out_of_scope=len(outside),
        unknown=found.unknown,
        contradictory=found.contradictory,
        problems=material.problems,
    )


def _with_phrasings(entry: Entry, more: Sequence[str]) -> Entry:
    own = Counter(normalise(phrasing) for phrasing in entry.phrasings)
    return replace(entry, similar_questions=(*entry.similar_questions, *[t for t in more if normalise(t) not in own]))
