"""The values of one turn: what the customer said, what was decided, what is said back, and the events in between."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Decision = Literal["answer", "clarify", "generate", "handoff", "refuse", "chitchat", "action"]
Role = Literal["bot", "human", "user", "system"]


@dataclass(frozen=True, slots=True)
class Utterance:
    """An earlier message of the conversation, oldest first in `Turn.history`.

    `options` are the ids of the entries behind it, those offered in the order of `suggestions` or those it answered
    from, and `titles` their questions or headings; empty where they are not known, as `reasons` are.
    """

    role: Role
    text: str
    decision: Decision | None = None
    suggestions: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One customer message to be answered. `conversation_id` keys slots and forms; `language` is a BCP 47 tag.

    `model` names the generator adapter to use, None for the active one. `earlier` fetches what was said before
    `history`, oldest first: only a reply that has to be written needs it.
    """

    conversation_id: str
    text: str
    history: tuple[Utterance, ...] = ()
    language: str = "zh"
    channel: str = "web"
    model: str | None = None
    slots: dict[str, Any] = field(default_factory=dict)
    events: tuple[dict[str, Any], ...] = ()
    earlier: Callable[[], Awaitable[tuple[Utterance, ...]]] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a reply rests on. `faq_id` for an entry, `document_id` for a passage; `quote` is the text itself."""

    title: str
    quote: str
    score: float
    faq_id: str | None = None
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The finished reply of a turn; storage adds id and time to make the contract's reply of it.

    `reasons` say why it was decided so, in the order of the steps. `slots` and `events` are all that the conversation
    keeps after the turn, None where it did not touch them. `custom` is an action's own payload for its channel;
    `paused` says that the bot is to be silent from here on, until a person hands the conversation back.
    """

    text: str
    decision: Decision
    sources: tuple[Source, ...] = ()
    suggestions: tuple[str, ...] = ()
    generated: bool = False
    probability: float = 0.0
    score: float = 0.0
    reasons: tuple[str, ...] = ()
    latency_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    image_url: str | None = None
    slots: dict[str, Any] | None = None
    events: tuple[dict[str, Any], ...] | None = None
    custom: dict[str, Any] | None = None
    paused: bool = False

    @property
    def said(self) -> Utterance:
        """As the next turn sees it in its history."""
        ids, titles = tuple(one.faq_id or "" for one in self.sources), tuple(one.title for one in self.sources)
        return Utterance("bot", self.text, self.decision, self.suggestions, ids, titles, self.reasons)


@dataclass(frozen=True, slots=True)
class Meta:
    """First event: the decision and its sources, before any text."""

    decision: Decision
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the reply's text. All deltas of a turn joined are the text of `Done.answer`."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """Last event of a turn that went well."""

    answer: Answer


Event = Meta | Delta | Done
