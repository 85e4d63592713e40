"""What was found for a message, read in its conversation: follow-ups with their subject, each of several questions."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.dialogue.context.choice import (
    ANSWER_MIN,
    NONE_MIN,
    OFFER_MIN,
    Candidate,
    Choice,
    Likeness,
    Spoken,
    choose,
    to_choose_from,
)
from bot.dialogue.context.wording import (
    FollowUp,
    clauses,
    cores,
    coverage,
    follow_up,
    is_another_thing,
    passage_on,
    width,
)
from bot.dialogue.policy import RELEVANT_MIN, Knowledge, is_told_better, told_more
from bot.dialogue.smalltalk import normalised
from bot.dialogue.types import Turn, Utterance
from knowledge.answers import beginning
from knowledge.contrasts import clash
from knowledge.differences import is_displaced
from knowledge.types import Entry, SearchDecision, SearchResult

# So few columns (two a Chinese character) are looked at once more, though an entry surely answers them, where the one
# before says it, too.
BARE_WIDTH_MAX, BARE_COVERAGE = 16, 0.5
OPTIONS_MAX = 3
# What the words alone are answered with needs to be less probable in the conversation.
AGREED_MIN = 0.7
# From this coverage an entry has something to say to the words; and how sure a document must be on them with their
# subject, whose own words are in it anyway.
SPEAKS_MIN, RELEVANT_TOGETHER_MIN = 0.3, RELEVANT_MIN + 1
_ACTED = re.compile(r"action: (?P<name>\S+)(?: for (?P<entry>.+))?")
_WORD_FOR_WORD = "search: word for word, top="
_RANKS = {"none": 0, "clarify": 1, "answer": 2}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message comes to: what was found for it, and why another than its own words was looked for.

    `entry` and `said`: the entry answered before has this to say to it.
    """

    found: SearchResult
    why: str = ""
    entry: Entry | None = None
    said: str = ""


async def in_context(
    turn: Turn, found: SearchResult, knowledge: Knowledge, told: Collection[str] = (), *, guessed: bool = False
) -> Reading:
    """A message's reading in its conversation. Where its own words were not enough, or lean on what was said before,
    all its rewritings are searched for at once, and the most probable entry is taken that is not `told` already.

    `guessed`: what was found does something and not only says something, and its words alone do not surely want that.
    """
    if found.hits and found.hits[0].score == 1.0:
        return Reading(found)
    turn = replace(turn, history=_with_entries(turn.history, knowledge))
    lean, spoken = follow_up(turn.text, turn.history), spoken_of(turn.history)
    if lean and found.decision == "answer" and _is_of_another_kind(lean.query, found, turn, knowledge):
        reading = await _read(turn, replace(found, decision="none"), knowledge, told, lean, spoken)
        said = reading.entry or reading.found.decision != "none" or reading.found.relevance >= RELEVANT_MIN
        return reading if said else Reading(_asked_back(found), "context: of another kind than was spoken of")
    if found.decision == "answer" and (lean is None or not (guessed or _leans(lean, spoken, turn, knowledge))):
        return Reading(found)
    return await _read(turn, found, knowledge, told, lean, spoken)


async def _read(
    turn: Turn,
    found: SearchResult,
    knowledge: Knowledge,
    told: Collection[str],
    lean: FollowUp | None,
    spoken: Mapping[str, Spoken],
) -> Reading:
    bare = dict.fromkeys([lean.words, *cores(turn.text)] if lean else cores(turn.text))
    with_subject = [lean.query, *filter(None, [lean.transferred])] if lean and spoken else []
    queries = [*with_subject, *(text for text in bare if normalised(text) != normalised(turn.text))]
    said = [text for text in clauses(turn.text) if text not in bare] if found.hits else []
    results = await knowledge.search_all([*queries, *said], channel=turn.channel) if queries or said else []
    sure = (one for one in results[len(queries) :] if one.decision == "answer")
    parts = (*results[len(with_subject) : len(queries)], *(one for one in sure if one.hits[0].id == found.hits[0].id))
    if told_more(found):
        parts = tuple(one for one in parts if one.hits and one.hits[0].score == 1.0)
    alone = (found, *(one for one in parts if not _is_of_another_kind(turn.text, one, turn, knowledge)))
    own = max(alone, key=lambda one: (_RANKS[one.decision], one.probability))
    if lean is None or not spoken or (not lean.surely and own is not found and own.decision == "answer"):
        return Reading(own)

    def entry_of(id_: str) -> Entry | None:
        return None if id_ in told else knowledge.entry(id_, turn.channel)

    entries = to_choose_from(own, results[0], spoken, entry_of)
    choice = choose(lean, own, results[0], spoken, entries, await _likeness(lean, entries, knowledge))
    if lean.transferred and (another := _of_another(lean, results[1], choice, spoken)):
        return another
    return _in_a_document(lean, own, results[0], choice) or _chosen(lean, own, choice, spoken)


def _asked_back(found: SearchResult) -> SearchResult:
    return replace(found, decision="clarify", options=tuple(hit.id for hit in found.hits[:OPTIONS_MAX]))


def _is_of_another_kind(whole: str, found: SearchResult, turn: Turn, knowledge: Knowledge) -> bool:
    """Whether the entry found for a part of a text is about another kind than the whole of it names: 「PPR-9089
    壁厚多少」 is not answered with what 「壁厚多少」 finds of PPR-9088, neither after talk of PPR-9089.
    """
    entry = knowledge.entry(found.hits[0].id, turn.channel) if found.hits else None
    return entry is not None and clash(whole, entry.phrasings, entry.answer)


async def _likeness(lean: FollowUp, entries: Sequence[Entry], knowledge: Knowledge) -> Likeness:
    asked, told = await asyncio.gather(
        knowledge.alike(lean.query, [one.question for one in entries], "query"),
        knowledge.alike(lean.words, [beginning(one) for one in entries], "passage"),
    )
    return Likeness(asked, told)


def _in_a_document(lean: FollowUp, own: SearchResult, together: SearchResult, choice: Choice) -> Reading | None:
    """What no entry speaks of, where a document does: of the words alone, where they need not lean on anything, or of
    what they lean on. It is written from there, or quoted.
    """
    best = choice.candidates[0] if choice.candidates else None
    if own.decision == "answer" or (best and best.probability >= ANSWER_MIN):
        return None
    told = own.relevance >= RELEVANT_MIN and (own.decision == "none" or is_told_better(own))
    if not lean.surely and told:
        return Reading(own)
    if own.decision != "none":
        return None
    near = choice.candidates[:OPTIONS_MAX]
    speaks = any(coverage(lean.words, one.entry, foreign=lean.foreign) >= SPEAKS_MIN for one in near)
    if speaks or choice.none >= NONE_MIN or together.relevance < RELEVANT_TOGETHER_MIN:
        return None
    why = f"context: no entry speaks of it, a document does, relevance={together.relevance:.2f}"
    return Reading(replace(own, passages=together.passages, relevance=together.relevance), why)


def _chosen(lean: FollowUp, own: SearchResult, choice: Choice, spoken: Mapping[str, Spoken]) -> Reading:
    if not choice.candidates or choice.none >= NONE_MIN:
        return Reading(own)
    best = choice.candidates[0]
    if not lean.surely and spoken.get(best.entry.id) == "answered" and _asks_else(lean.words, best.entry):
        return Reading(own, f"context: {best.entry.id} says nothing of what is asked for instead")
    entry, why = best.entry, f"context: {best.entry.id} p={best.probability:.3f}, {own.decision} {own.probability:.3f}"
    another = any(clash(text, entry.phrasings, entry.answer) for text in (lean.words, lean.query))
    another = another or (lean.form and is_another_thing(lean.words, entry))
    agreed = own.decision == "answer" and own.hits[0].id == entry.id
    if best.probability < (AGREED_MIN if agreed else ANSWER_MIN) or another:
        offered = [one for one in choice.candidates[:OPTIONS_MAX] if one.probability >= OFFER_MIN]
        return Reading(_as_found(own, _with_own(own, offered, choice), "clarify"), why)
    if spoken.get(entry.id) == "answered" and entry.answer.strip() and not entry.action:
        return Reading(own, why, entry, passage_on(lean.words, entry))
    return Reading(_as_found(own, choice.candidates, "answer"), why)


def _with_own(own: SearchResult, offered: Sequence[Candidate], choice: Choice) -> Sequence[Candidate]:
    """What is offered, with the entry that the words alone would be answered with."""
    mine = next((one for one in choice.candidates if own.hits and one.entry.id == own.hits[0].id), None)
    if own.decision != "answer" or mine is None or mine in offered:
        return offered
    return (*offered[: OPTIONS_MAX - 1], mine)


def _of_another(lean: FollowUp, result: SearchResult, choice: Choice, spoken: Mapping[str, Spoken]) -> Reading | None:
    """What was found for the subject asked of something else, where that answers, or where the entry spoken of would,
    which says nothing of it.
    """
    top = result.hits[0].id if result.hits else ""
    best = choice.candidates[0].entry if choice.candidates else None
    why = f"context: asked of another, {lean.transferred}"
    if result.decision == "answer" and spoken.get(top) != "answered":
        return Reading(result, why)
    if best and spoken.get(best.id) == "answered" and _asks_else(lean.transferred, best):
        options = tuple(hit.id for hit in result.hits[:OPTIONS_MAX])
        return Reading(replace(result, decision="clarify", options=options) if top == best.id else result, why)
    return None


def _asks_else(words: str, entry: Entry) -> bool:
    """Whether words are a question as an entry has it but for one of which it says nothing: 双十一优惠 is no question
    about 黑五优惠.
    """
    return is_displaced(words, entry.phrasings, entry.answer)


def _as_found(own: SearchResult, chosen: Sequence[Candidate], decision: SearchDecision) -> SearchResult:
    """The candidates in place of what the words alone found."""
    probability = chosen[0].probability
    options = tuple(one.entry.id for one in chosen) if decision == "clarify" else ()
    hits = tuple(replace(one.hit, score=one.probability) for one in chosen)
    # No passage was compared with the entry that is first now.
    return replace(
        own, hits=hits, decision=decision, score=probability, probability=probability, options=options, passage_lead=0.0
    )


def _leans(lean: FollowUp, spoken: dict[str, Spoken], turn: Turn, knowledge: Knowledge) -> bool:
    """Whether words that an entry answers are to be read with their subject all the same."""
    if lean.surely or width(normalised(lean.words)) > BARE_WIDTH_MAX:
        return lean.surely
    said = (knowledge.entry(id_, turn.channel) for id_, how in spoken.items() if how == "answered")
    return any(entry is not None and coverage(lean.words, entry) >= BARE_COVERAGE for entry in said)


def spoken_of(history: Sequence[Utterance]) -> dict[str, Spoken]:
    """The entries that the last reply from any answered from or offered, and those of the last answer, and how."""
    said = [one for one in reversed(history) if one.role in ("bot", "human")]
    spoken: dict[str, Spoken] = {}
    for place, one in enumerate(said):
        ids = [id_ for id_ in one.options if id_ and id_ not in spoken]
        if one.decision == "clarify" and not spoken:
            spoken |= dict.fromkeys(ids, "offered")
        if one.decision == "action" and ids:
            return spoken | dict.fromkeys(ids, "earlier")
        if one.decision in ("answer", "handoff") and ids:
            return spoken | dict.fromkeys(ids, "earlier" if place else "answered")
    return spoken


def acted(history: Sequence[Utterance]) -> list[tuple[str, str]]:
    """For each utterance, the action that answered and the id of the entry it answered for, "" where there is none:
    what goes on with an action is for the entry that it began with.
    """
    found: list[tuple[str, str]] = []
    began: dict[str, str] = {}
    for one in history:
        matches = (_ACTED.fullmatch(reason) for reason in one.reasons) if one.decision == "action" else ()
        name, id_ = next(((match["name"], match["entry"] or "") for match in matches if match), ("", ""))
        if id_:
            began[name] = id_
        found.append((name, began.get(name, "")))
    return found


def _with_entries(history: Sequence[Utterance], knowledge: Knowledge) -> tuple[Utterance, ...]:
    """The history with the entry behind each action, and the one whose words led to a person: such replies have no
    source, and yet a subject.
    """
    said = zip(history, acted(history), strict=True)
    entries = [(one, knowledge.entry(found) if (found := id_ or _told(one)) else None) for one, (_, id_) in said]
    return tuple(
        replace(one, options=(entry.id,), titles=(entry.question,)) if entry else one for one, entry in entries
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One question of several in a message: the entry that surely answers it, else the one it may mean, if any."""

    question: str
    entry: Entry | None
    score: float
    offered: Entry | None = None


async def each(questions: Sequence[str], turn: Turn, knowledge: Knowledge) -> tuple[Part, ...]:
    """What answers each of several questions; one leans on the one before it. Empty unless two have their own answer,
    or one has and the others have something to offer.
    """
    results = await knowledge.search_all(questions, channel=turn.channel)
    found: list[Part] = []
    told: list[str] = []
    history = turn.history
    for question, result in zip(questions, results, strict=True):
        if result.hits and result.hits[0].id in told and _asks_no_more(question, knowledge.entry(result.hits[0].id)):
            continue
        read = (await in_context(replace(turn, text=question, history=history), result, knowledge, told)).found
        top = read.hits[0] if read.hits else None
        entry = knowledge.entry(top.id, turn.channel) if top and read.decision != "none" else None
        if entry is not None and entry.action:
            return ()
        sure = read.decision == "answer" and entry is not None and bool(entry.answer.strip())
        found.append(Part(question, entry if sure else None, top.score if top else 0.0, None if sure else entry))
        if entry is not None and sure:
            told.append(entry.id)
            history = (*history, Utterance("user", question), _said(entry))
    found = [part for part in found if part.entry or part.offered is None or part.offered.id not in told]
    return tuple(found) if len(set(told)) >= 2 or (told and any(part.offered for part in found)) else ()


def _asks_no_more(question: str, entry: Entry | None) -> bool:
    """Whether a question says, in whatever order, nothing that one wording of the entry does not."""
    said = set(normalised(question))
    return entry is not None and any(said <= set(normalised(wording)) for wording in entry.phrasings)


def _said(entry: Entry) -> Utterance:
    return Utterance("bot", entry.answer, "answer", (), (entry.id,), (entry.question,))


def _told(one: Utterance) -> str:
    """The id of the entry that a handoff answered with, "" for none."""
    reasons = one.reasons if one.decision == "handoff" else ()
    found = next((reason for reason in reasons if reason.startswith(_WORD_FOR_WORD)), "")
    return found.removeprefix(_WORD_FOR_WORD)
