"""Every table. Times are UTC, naive in the database; ids are opaque strings made by the service."""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = JSON().with_variant(JSON(), "sqlite")


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {
        dict[str, Any]: Json,
        list[Any]: Json,
        datetime: DateTime,
        date: Date,
        str: Text,
    }


class Revision(Base):
    """Counters that tell other processes what moved: `knowledge`, `adapters`, `settings`."""

    __tablename__ = "revisions"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, default=0)


class Document(Base):
    """A file as uploaded; the bytes lie in uploads/<sha256>. A deleted one is in the trash until it is purged."""

    __tablename__ = "documents"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(32))
    revision: Mapped[int] = mapped_column(BigInteger, default=0, index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(40))
    deleted_at: Mapped[datetime | None]


class FaqEntry(Base):
    """A FAQ entry. `content_hash` is of the normalised question and answer, for finding duplicates.

    `valid_from` and `valid_until` are days (the last one included), `channels` where it is answered; empty: anywhere.
    """

    __tablename__ = "entries"
    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    question: Mapped[str]
    answer: Mapped[str] = mapped_column(Text, default="")
    similar_questions: Mapped[list[Any]] = mapped_column(default=list)
    negative_questions: Mapped[list[Any]] = mapped_column(default=list)
    category: Mapped[str | None] = mapped_column(String(200), index=True)
    tags: Mapped[list[Any]] = mapped_column(default=list)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    action: Mapped[str | None] = mapped_column(String(200))
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    channels: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    document_id: Mapped[str | None] = mapped_column(ForeignKey("documents.id"), index=True)
    position: Mapped[int] = mapped_column(Integer, default=0)
    content_hash: Mapped[str] = mapped_column(String(64), index=True)
    revision: Mapped[int] = mapped_column(BigInteger, default=0, index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class PassageRow(Base):
    """A passage of a longer document."""

    __tablename__ = "passages"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id"), index=True)
    title: Mapped[str]
    text: Mapped[str]
    position: Mapped[int] = mapped_column(Integer, default=0)
    revision: Mapped[int] = mapped_column(BigInteger, default=0, index=True)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class ConversationRow(Base):
    """One conversation. `token_hash` is the SHA-256 of the visitor's token; channels have none.

    `state` says who answers: bot, waiting (the bot, while a person is called), paused (nobody, by an action's wish,
    while a person is called) or human. `bot.storage.handoffs` changes it. A call that nobody asked for (its `UNASKED`)
    leaves it at bot. `nickname` is what the platform calls the customer, "" where it does not say.
    """

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    channel: Mapped[str] = mapped_column(String(64))
    account: Mapped[str] = mapped_column(String(128), default="")
    user: Mapped[str] = mapped_column(String(256), default="")
    group: Mapped[str] = mapped_column(String(256), default="")
    nickname: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    token_hash: Mapped[str | None] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(16), default="zh")
    state: Mapped[str] = mapped_column(String(16), default="bot")
    slots: Mapped[dict[str, Any]] = mapped_column(default=dict)
    events: Mapped[list[Any]] = mapped_column(default=list)
    imported: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    updated_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    __table_args__ = (Index("ix_conversations_owner", "channel", "account", "user", "group"),)


class MessageRow(Base):
    """One message. `seq` orders an installation; `reviewed` makes `faq_id` a person's label (NULL: out of scope).

    `author` is who of the staff wrote it, as the audit names them.
    `answered` is the estimate of `bot.learning.signals` for a customer's message, NULL where there is none (yet).
    """

    __tablename__ = "messages"
    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    text: Mapped[str]
    author: Mapped[str | None] = mapped_column(String(160))
    client_id: Mapped[str | None] = mapped_column(String(128))
    reply_to: Mapped[str | None] = mapped_column(String(40))
    decision: Mapped[str | None] = mapped_column(String(16))
    sources: Mapped[list[Any]] = mapped_column(default=list)
    suggestions: Mapped[list[Any]] = mapped_column(default=list)
    generated: Mapped[bool] = mapped_column(Boolean, default=False)
    score: Mapped[float | None] = mapped_column(Float)
    probability: Mapped[float | None] = mapped_column(Float)
    reasons: Mapped[list[Any]] = mapped_column(default=list)
    image_url: Mapped[str | None]
    latency_ms: Mapped[int | None] = mapped_column(Integer)
    reviewed: Mapped[bool] = mapped_column(Boolean, default=False)
    faq_id: Mapped[str | None] = mapped_column(String(128))
    answered: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    __table_args__ = (Index("ix_messages_client", "conversation_id", "client_id", unique=True),)


class HandoffRow(Base):
    """One call for a person, from the wish to its end; at most one of a conversation is open. `taken_by` and
    `ended_by` are actors as the audit names them, `ended_by` also `customer` or `service`."""

    __tablename__ = "handoffs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    cause: Mapped[str] = mapped_column(String(32))
    requested_at: Mapped[datetime]
    taken_by: Mapped[str | None] = mapped_column(String(160))
    taken_at: Mapped[datetime | None] = mapped_column(DateTime, index=True)
    ended_by: Mapped[str | None] = mapped_column(String(160))
    ended_at: Mapped[datetime | None]
    ended_how: Mapped[str | None] = mapped_column(String(16))
    __table_args__ = (
        Index("ix_handoffs_one_open", "conversation_id", unique=True, sqlite_where=text("ended_at IS NULL")),
        Index("ix_handoffs_queue", "ended_at", "taken_by", "requested_at"),
    )


class FeedbackRow(Base):
    """A visitor's thumb on a reply."""

    __tablename__ = "feedback"
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    rating: Mapped[str] = mapped_column(String(8))
    comment: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)


class JobRow(Base):
    """A piece of background work; survives the process."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    note: Mapped[str] = mapped_column(Text, default="")
    extra: Mapped[dict[str, Any]] = mapped_column(default=dict)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    owner: Mapped[str | None] = mapped_column(String(64))
    created_by: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)


class AdapterRow(Base):
    """An adapter installed in adapters/<name>; `manifest` as on disk."""

    __tablename__ = "adapters"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class ActivationRow(Base):
    """Append-only: the newest row of a kind is the active adapter; NULL is the base model."""

    __tablename__ = "activations"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    adapter_name: Mapped[str | None] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(String(32), default="activate")
    created_by: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]


class UserRow(Base):
    """A member of staff."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str]
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


class StaffSessionRow(Base):
    """A sign-in; only the SHA-256 of the cookie is kept."""

    __tablename__ = "staff_sessions"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ApiKeyRow(Base):
    """A program's key; only its SHA-256 is kept, and its first characters to recognise it by."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(String(16))
    prefix: Mapped[str] = mapped_column(String(16))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditRow(Base):
    """Who did what, append-only. `detail` holds ids and counts, never message text or secrets."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    actor: Mapped[str] = mapped_column(String(160))
    action: Mapped[str] = mapped_column(String(64), index=True)
    target: Mapped[str] = mapped_column(String(160), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)


class ChannelRow(Base):
    """A channel set up in the console. `sealed` holds its parameters, encrypted with the installation's key."""

    __tablename__ = "channels"
    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ChannelMemoryRow(Base):
    """A small value that a channel remembers, such as a cursor."""

    __tablename__ = "channel_memory"
    channel: Mapped[str] = mapped_column(String(130), primary_key=True)
    key: Mapped[str] = mapped_column(String(191), primary_key=True)
    value: Mapped[list[Any]]
    updated_at: Mapped[datetime]


class InboxRow(Base):
    """A message that a platform was told is taken. `channel` and `key` know it again; its words go once it is done."""

    __tablename__ = "inbox"
    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    channel: Mapped[str] = mapped_column(String(130))
    key: Mapped[str] = mapped_column(String(191))
    recipient: Mapped[str] = mapped_column(String(40))
    inbound: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[dict[str, Any] | None]
    received_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    __table_args__ = (
        Index("ix_inbox_key", "channel", "key", unique=True),
        Index("ix_inbox_state", "state", "seq"),
        Index("ix_inbox_recipient", "recipient", "seq"),
    )


class OutboxRow(Base):
    """A message on its way to a platform: queued, sending, held, sent, dead or dropped. `uncertain` counts the attempts
    that may have reached the customer although nobody said so; its words go once it is sent. `inbox_seq` is what it
    answers, `message_id` the message of the staff that it carries, NULL for neither: a notice, or a first word."""

    __tablename__ = "outbox"
    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    channel: Mapped[str] = mapped_column(String(130))
    recipient: Mapped[str] = mapped_column(String(40))
    inbox_seq: Mapped[int | None] = mapped_column(BigInteger, index=True)
    message_id: Mapped[str | None] = mapped_column(String(40))
    address: Mapped[dict[str, Any]]
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    uncertain: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[dict[str, Any] | None]
    due_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    settled_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_outbox_due", "channel", "state", "due_at"),
        Index("ix_outbox_recipient", "recipient", "state", "seq"),
        Index("ix_outbox_state", "state", "seq"),
    )


class Blob(Base):
    """Small secrets and markers of the installation, such as the first password's fingerprint."""

    __tablename__ = "blobs"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)
