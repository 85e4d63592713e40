"""What to do with what was found: answer, ask back, write an answer from passages, or say so and offer a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bot.dialogue.injection import addresses_a_model
from bot.dialogue.smalltalk import normalised
from bot.dialogue.types import Source
from knowledge.differences import is_bare
from knowledge.rank import OPTION_DISTANCE
from knowledge.types import Entry, Hit, Passage, SearchResult, TextKind

if TYPE_CHECKING:
    from bot.config import Settings

# Of `knowledge.rank.relevance`. Measured on 50 questions that the demo's documents answer (46 above it) and on 900 that
# they do not, from the demo's golden set and two other companies (9 above it, 8 of them about an instalment account).
RELEVANT_MIN = 2.5
# Below this probability that the best entry answers, a relevant passage goes before asking back. Of 98 questions that
# the demo's documents answer 47 were asked back, 32 of them with a relevant passage; of 115 for its entries 21, and 1.
TOLD_MAX = 0.55
# By how much more of the question than the first entry a relevant passage must speak of (`SearchResult.passage_lead`)
# to be told in its place, even where that would answer: of the demo, 8 of 46 questions for its documents that an
# entry answered, all by one that is beside them, and none of 94 for its entries (0.03 was the most).
LEAD_MIN = 0.05
WORD_CHARACTERS_MAX = 3
# A form takes the conversation over, and what comes next is read as meant for it: it begins on no less, unless the
# message has something for it.
FORM_MIN = 0.9
# After two questions back for nothing, what is likely meant is told from this on rather than a person fetched.
LAST_MIN = 0.7
# Further passages come along while they score nearly as well as the best.
PASSAGE_DISTANCE = 0.02


class Knowledge(Protocol):
    """The live knowledge base, as far as a turn needs it. `entry` and `passage` know enabled ones only.

    With a channel, `search` and `entry` know only what is answered there today. `alike`: see `Index.alike`.
    """

    async def search(self, query: str, k: int = 10, *, channel: str | None = None) -> SearchResult: ...

    async def search_all(
        self, queries: Sequence[str], k: int = 10, *, channel: str | None = None
    ) -> list[SearchResult]: ...

    async def alike(self, query: str, texts: Sequence[str], kind: TextKind) -> list[float]: ...

    def expect(self, query: str) -> None: ...

    def entry(self, entry_id: str, channel: str | None = None) -> Entry | None: ...

    def passage(self, passage_id: str) -> Passage | None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a turn; `of` takes them from the settings."""

    question_characters_max: int = 2000
    clarify_options_max: int = 3
    passages_max: int = 4
    generate_tokens_max: int = 200
    first_piece_seconds: float = 20.0
    generation_seconds: float = 60.0

    @classmethod
    def of(cls, settings: "Settings") -> "Limits":
        return cls(
            settings.question_characters_max,
            settings.clarify_options_max,
            settings.passages_max,
            settings.generate_tokens_max,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search result comes to: entries that answer or are offered, or sources that an answer is written from."""

    step: Literal["answer", "clarify", "passages", "nothing"]
    reason: str
    entries: tuple[Entry, ...] = ()
    sources: tuple[Source, ...] = ()


def plan(result: SearchResult, knowledge: Knowledge, limits: Limits) -> Plan:
    """The next step for a search result."""
    top = result.hits[0] if result.hits else None
    found = f"search: {result.decision} p={result.probability:.3f} score={result.score:.3f}"
    if top:
        found += f" top={top.id}"
    sources = relevant(result, knowledge, limits)
    entry = knowledge.entry(top.id) if top else None
    if result.decision == "answer" and entry and (entry.action or not (sources and told_more(result))):
        return Plan("answer", found, (entry,))
    if result.decision == "clarify" and not (sources and is_told_better(result)):
        ids = result.options or tuple(hit.id for hit in result.hits[: limits.clarify_options_max])
        offered = [entry for id_ in ids[: limits.clarify_options_max] if (entry := knowledge.entry(id_))]
        if offered:
            return Plan("clarify", found, tuple(offered))
    if sources:
        return Plan("passages", f"{found}; passages: {len(sources)}, relevance={result.relevance:.2f}", sources=sources)
    return Plan("nothing", f"{found}; passages: relevance={result.relevance:.2f} < {RELEVANT_MIN}")


def is_told_better(result: SearchResult) -> bool:
    """Whether a text that is surely on the subject says more than a question back: no entry came near enough, or it
    speaks of more that is asked; and it is not a word alone, which names a subject and leaves open what is asked of it.
    """
    a_word = is_bare(result.query) or len(normalised(result.query)) <= WORD_CHARACTERS_MAX
    return (result.probability < TOLD_MAX or told_more(result)) and not a_word


def told_more(result: SearchResult) -> bool:
    """Whether a passage that is surely on the subject speaks of more that is asked than the first entry."""
    return result.relevance >= RELEVANT_MIN and result.passage_lead >= LEAD_MIN


def unsure_of_form(found: Plan, result: SearchResult, knowledge: Knowledge, limits: Limits) -> Plan:
    """Where a form would begin on a guess: it is offered, beside what else may be meant."""
    if result.probability >= FORM_MIN:
        return found
    floor = result.hits[0].score - OPTION_DISTANCE * result.unit
    near = (hit.id for hit in result.hits[: limits.clarify_options_max] if hit.score >= floor)
    return Plan("clarify", f"{found.reason}; no form begins", tuple(e for id_ in near if (e := knowledge.entry(id_))))


def likely(found: Plan, result: SearchResult) -> Entry | None:
    """The entry that would be offered first, where it is likely enough to be told rather than a person fetched; None
    where it is not, or runs an action.
    """
    first = found.entries[0] if found.step == "clarify" and found.entries else None
    if first is None or first.action or not first.answer.strip() or result.hits[0].id != first.id:
        return None
    return first if result.probability >= LAST_MIN else None


def relevant(result: SearchResult, knowledge: Knowledge, limits: Limits) -> tuple[Source, ...]:
    """The passages an answer may be written from, best first; none where the best is not surely on the subject.

    One that gives a model orders is no source, neither to write from nor to quote.
    """
    if not result.passages or result.relevance < RELEVANT_MIN:
        return ()
    floor = result.passages[0].score - PASSAGE_DISTANCE
    near = [hit for hit in result.passages[: limits.passages_max] if hit.score >= floor]
    found = ((hit, passage) for hit in near if (passage := knowledge.passage(hit.id)))
    return tuple(passage_source(one, hit) for hit, one in found if not addresses_a_model(f"{one.title}\n{one.text}"))


def word_for_word(text: str, result: SearchResult, knowledge: Knowledge) -> Entry | None:
    """The entry that has the message among its phrasings: the company's own words go before any built-in reply."""
    plain = normalised(text)
    for hit in result.hits:
        entry = knowledge.entry(hit.id)
        if entry and any(normalised(phrasing) == plain for phrasing in entry.phrasings):
            return (hit.same_as and knowledge.entry(hit.same_as)) or entry
    return None


def entry_source(entry: Entry, score: float) -> Source:
    return Source(title=entry.question, quote=entry.answer, score=score, faq_id=entry.id)


def passage_source(passage: Passage, hit: Hit) -> Source:
    return Source(title=passage.title, quote=passage.text, score=hit.score, document_id=passage.document_id)
