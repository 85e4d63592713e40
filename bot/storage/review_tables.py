"""The tables of the review queue: what was not answered, what people decided, and what was learnt from it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Float, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bot.storage.tables import Base

SEQ = BigInteger().with_variant(Integer, "sqlite")


class ReviewItemRow(Base):
    """Questions that mean the same, as one thing to decide.

    `state` is open, done (new questions like it open a new item) or dismissed (they join it in silence). `question` is
    the most central one, `vector` its own and `centre` the group's, under the encoder named; an empty name asks for
    new vectors. `revision` moves with each decision, which is how two people at once are told apart.
    """

    __tablename__ = "review_items"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    question: Mapped[str]
    vector: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    centre: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    encoder: Mapped[str] = mapped_column(String(64), default="")
    state: Mapped[str] = mapped_column(String(16), default="open")
    revision: Mapped[int] = mapped_column(Integer, default=0)
    count: Mapped[int] = mapped_column(Integer, default=0)
    priority: Mapped[float] = mapped_column(Float, default=0.0)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    claimed_by: Mapped[str | None] = mapped_column(String(160))
    claimed_until: Mapped[datetime | None]
    __table_args__ = (Index("ix_review_items_order", "state", "priority"),)


class ReviewQuestionRow(Base):
    """A customer's message that was probably not answered, without personal data; it goes when the message goes."""

    __tablename__ = "review_questions"
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    item_id: Mapped[str] = mapped_column(ForeignKey("review_items.id", ondelete="CASCADE"))
    text: Mapped[str]
    key: Mapped[str] = mapped_column(String(64), index=True)
    answered: Mapped[float] = mapped_column(Float)
    signals: Mapped[list[Any]] = mapped_column(default=list)
    asked_at: Mapped[datetime]
    __table_args__ = (Index("ix_review_questions_item", "item_id", "asked_at"),)


class ReviewDecisionRow(Base):
    """What somebody decided, append-only but for `undone_*`. `entry_revision` is the entry's right after the change
    that came with it, NULL where the knowledge base stayed as it was."""

    __tablename__ = "review_decisions"
    id: Mapped[int] = mapped_column(SEQ, primary_key=True, autoincrement=True)
    item_id: Mapped[str] = mapped_column(String(40), index=True)
    action: Mapped[str] = mapped_column(String(16))
    entry_id: Mapped[str | None] = mapped_column(String(128))
    question: Mapped[str] = mapped_column(Text, default="")
    entry_revision: Mapped[int | None] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(160))
    created_at: Mapped[datetime] = mapped_column(DateTime, index=True)
    undone_by: Mapped[str | None] = mapped_column(String(160))
    undone_at: Mapped[datetime | None]


class ReviewLabelRow(Base):
    """One question a decision spoke of, as it is learnt: the entry that answers it, NULL for out of scope.

    `source` is the hash of its conversation's id: it keeps one conversation on one side of a split, and finds what is
    to be forgotten.
    """

    __tablename__ = "review_labels"
    id: Mapped[int] = mapped_column(SEQ, primary_key=True, autoincrement=True)
    decision_id: Mapped[int] = mapped_column(ForeignKey("review_decisions.id", ondelete="CASCADE"), index=True)
    source: Mapped[str] = mapped_column(String(64), index=True)
    text: Mapped[str]
    entry_id: Mapped[str | None] = mapped_column(String(128))


class DataSetRow(Base):
    """What a training run was given: versions count up, the same examples are the same version.

    `forgotten_at` is set when somebody in it was forgotten later.
    """

    __tablename__ = "data_sets"
    version: Mapped[int] = mapped_column(SEQ, primary_key=True, autoincrement=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    examples: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    forgotten_at: Mapped[datetime | None]


class DataSetSourceRow(Base):
    """A conversation whose words are in a data set: a customer's by the hash of its id, one of a file by its own."""

    __tablename__ = "data_set_sources"
    version: Mapped[int] = mapped_column(ForeignKey("data_sets.version", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(String(256), primary_key=True, index=True)


class TrainingRunRow(Base):
    """Which data set a run, and the adapter of the same name, has seen."""

    __tablename__ = "training_runs"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    version: Mapped[int] = mapped_column(ForeignKey("data_sets.version", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
