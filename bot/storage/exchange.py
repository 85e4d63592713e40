"""A customer's message and the reply to it, for `Database.write`: what a turn costs beside its answer."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from bot.dialogue.types import Answer, Utterance
from bot.storage.conversations import (
    Conversation,
    Message,
    Opening,
    conversation_of_row,
    message_of_row,
    opened_row,
    source_json,
)
from bot.storage.tables import ConversationRow, MessageRow
from bot.storage.values import new_id, now

CONVERSATIONS: Any = ConversationRow.__table__
MESSAGES: Any = MessageRow.__table__

# Every column that a message is shown with, so that each is added by the same statement.
_EMPTY: dict[str, Any] = {
    "client_id": None, "author": None, "reply_to": None, "decision": None, "sources": [], "suggestions": [],
    "generated": False, "score": None, "probability": None, "reasons": [], "image_url": None, "latency_ms": None,
}  # fmt: skip
# Made once: to build a statement takes longer than to run it.
_FIND = select(CONVERSATIONS).where(CONVERSATIONS.c.id == bindparam("of"))
_OPEN = insert(CONVERSATIONS)
_CHANGE = {
    name: update(CONVERSATIONS).where(CONVERSATIONS.c.id == bindparam("of")).values({name: bindparam("new")})
    for name in ("language", "nickname", "slots", "events", "updated_at")
}
_SAME = select(MESSAGES).where(
    MESSAGES.c.conversation_id == bindparam("of"), MESSAGES.c.client_id == bindparam("client")
)
_REPLY = select(MESSAGES).where(MESSAGES.c.reply_to == bindparam("message")).order_by(MESSAGES.c.seq).limit(1)
_ADD = insert(MESSAGES).returning(MESSAGES.c.seq)
_SAID = (
    select(*(MESSAGES.c[name] for name in ("role", "text", "decision", "suggestions", "sources", "reasons")))
    .where(MESSAGES.c.conversation_id == bindparam("of"), MESSAGES.c.seq < bindparam("before"))
    .order_by(MESSAGES.c.seq.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to be kept. `history` is how many utterances before it are wanted, `opening` the conversation that it
    begins where there is none yet. The same `client_id` twice in a conversation is one message.
    """

    conversation_id: str
    text: str
    client_id: str | None = None
    language: str | None = None
    history: int = 0
    opening: Opening | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as kept, the conversation as it was before, and what was said there. `reply` is that of a known one."""

    conversation: Conversation
    message: Message
    new: bool
    reply: Message | None
    history: tuple[Utterance, ...]


def keep(connection: Connection, incoming: Incoming) -> Kept | None:
    """Keep a message; None where its conversation is gone."""
    id_ = incoming.conversation_id
    row: Any = connection.execute(_FIND, {"of": id_}).first()
    if row is None and incoming.opening is not None:
        opened = opened_row(id_, incoming.opening)
        connection.execute(_OPEN, opened)
        row = SimpleNamespace(**opened)
    if row is None:
        return None
    conversation = conversation_of_row(row)
    if incoming.language and incoming.language != conversation.language:
        _change(connection, id_, "language", incoming.language)
    nickname = incoming.opening.nickname if incoming.opening else ""
    if nickname and nickname != conversation.nickname:
        _change(connection, id_, "nickname", nickname)
    if incoming.client_id is not None:
        same = connection.execute(_SAME, {"of": id_, "client": incoming.client_id}).first()
        if same is not None:
            found = connection.execute(_REPLY, {"message": same.id}).first()
            answer = message_of_row(found) if found else None
            return Kept(conversation, message_of_row(same), new=False, reply=answer, history=())
    message = _add(connection, id_, role="user", text=incoming.text, client_id=incoming.client_id)
    said = utterances(connection, id_, message.seq, incoming.history) if incoming.history else ()
    return Kept(conversation, message, new=True, reply=None, history=said)


def reply(connection: Connection, conversation_id: str, message_id: str, answer: Answer) -> Message:
    """Keep the bot's reply to a message, with the slots and events that the turn left behind."""
    if answer.slots is not None:
        _change(connection, conversation_id, "slots", answer.slots)
    if answer.events is not None:
        _change(connection, conversation_id, "events", list(answer.events))
    return _add(
        connection,
        conversation_id,
        role="bot",
        text=answer.text,
        reply_to=message_id,
        decision=answer.decision,
        sources=[source_json(source) for source in answer.sources],
        suggestions=list(answer.suggestions),
        generated=answer.generated,
        score=answer.score,
        probability=answer.probability,
        reasons=list(answer.reasons),
        image_url=answer.image_url,
        latency_ms=answer.latency_ms,
    )


def utterances(connection: Connection, conversation_id: str, before_seq: int, limit: int) -> tuple[Utterance, ...]:
    """The last `limit` messages before one, as a turn's history."""
    rows = connection.execute(_SAID, {"of": conversation_id, "before": before_seq, "most": limit}).all()
    return tuple(map(_utterance, reversed(rows)))


def _change(connection: Connection, conversation_id: str, name: str, value: Any) -> None:
    connection.execute(_CHANGE[name], {"of": conversation_id, "new": value})


def _add(connection: Connection, conversation_id: str, **said: Any) -> Message:
    row = {**_EMPTY, "id": new_id(), "conversation_id": conversation_id, "created_at": now(), **said}
    seq = connection.execute(_ADD, row).scalar_one()
    _change(connection, conversation_id, "updated_at", row["created_at"])
    return message_of_row(SimpleNamespace(seq=seq, **row))


def _utterance(row: Row[Any]) -> Utterance:
    sources = row.sources or ()
    return Utterance(
        row.role,
        row.text,
        row.decision,
        tuple(row.suggestions or ()),
        tuple(str(source.get("faq_id") or "") for source in sources),
        tuple(str(source.get("title") or "") for source in sources),
        tuple(row.reasons or ()),
    )
