"""A reviewer's decision: what it changes in the knowledge base, what is learnt from it, and how it is taken back.

Everything a decision does is one transaction: a process killed in it leaves the question open and the knowledge base
as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError, InvalidError, NotFoundError
from bot.storage import audit, decisions, knowledge, review
from bot.storage.decisions import Decision, Label, source_of
from bot.storage.review import Question
from knowledge.readers.limits import Limits
from knowledge.text import clean_line, normalise
from knowledge.types import Entry

Action = Literal["entry", "similar", "negative", "new", "out_of_scope", "ignore"]
# What closes a subject for good: the next such question joins it in silence. The others teach, and if a question like
# it still goes wrong, that is news.
DISMISSING = ("out_of_scope", "ignore")
LISTS = {"similar": "similar_questions", "negative": "negative_questions"}
PHRASINGS_MAX = Limits().phrasings_max


@dataclass(frozen=True, slots=True)
class Choice:
    """What a reviewer decided. `entry_id` for entry, similar and negative; `entry` for new; `question` is the wording
    to add for similar and negative, the item's own where None. `questions` are the ones it holds for, of those that
    were `shown`; both empty: all that the queue shows."""

    action: Action
    revision: int
    entry_id: str | None = None
    entry: Entry | None = None
    question: str | None = None
    questions: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """A decision as kept; `revision` is the knowledge base's where it changed."""

    decision_id: int
    entry_id: str | None
    labels: int
    revision: int | None


async def decide(session: AsyncSession, item_id: str, choice: Choice, actor: str) -> Done:
    """Carry out and keep a decision, in the caller's transaction.

    Raises NotFoundError, ConflictError where somebody was first, InvalidError.
    """
    item = await review.item(session, item_id)
    held = await _held(session, item_id, choice)
    state = "dismissed" if choice.action in DISMISSING else "done"
    await review.close(session, item_id, choice.revision, state, actor)  # type: ignore[arg-type]
    entry_id, question, revision = await _change(session, choice, item.question)
    labels = _labels(held, choice.action, entry_id)
    decision = await decisions.record(
        session, item_id, choice.action, question, actor, entry_id, revision, labels
    )  # fmt: skip
    left = [one for one in choice.shown if one not in choice.questions]
    if choice.questions and left:
        await review.split_off(session, [one.id for one in await review.questions_by_id(session, item_id, left)])
        await review.recount(session, [item_id])
    detail = {"decision": decision, "labels": len(labels)} | ({"entry": entry_id} if entry_id else {})
    await audit.record(session, actor, f"review.{choice.action}", item_id, detail)
    return Done(decision, entry_id, len(labels), revision)


async def undo(session: AsyncSession, item_id: str, revision: int, actor: str) -> Done:
    """Take the decision on an item back, with what it changed in the knowledge base; the item is open again.

    Raises NotFoundError; ConflictError where there is none, somebody was first, or the new entry was edited since.
    """
    decision = await decisions.standing(session, item_id)
    if decision is None:
        raise ConflictError("nothing_to_undo", "这一条没有可以撤销的处理", "There is nothing to take back here")
    await review.reopen(session, item_id, revision)
    moved = await _change_back(session, decision)
    await decisions.undo(session, decision.id, actor)
    await audit.record(session, actor, "review.undo", item_id, {"decision": decision.id})
    return Done(decision.id, decision.entry_id, 0, moved)


async def _held(session: AsyncSession, item_id: str, choice: Choice) -> list[Question]:
    """The questions that the decision holds for."""
    if not choice.questions:
        return await review.questions(session, [item_id])
    found = await review.questions_by_id(session, item_id, choice.questions)
    if not found:
        raise InvalidError(
            "no_questions", "所选的问题已经不在这一条里", "None of the questions chosen is here any more"
        )
    return found


async def _change(
    session: AsyncSession, choice: Choice, named: str
) -> tuple[str | None, str, int | None]:  # fmt: skip
    """(entry id, wording, the knowledge base's revision or None) after what the decision changes there."""
    if choice.action in DISMISSING:
        return None, named, None
    if choice.action == "new":
        if choice.entry is None:
            raise InvalidError("no_entry", "缺少新问答的内容", "The new entry is missing")
        stored = await knowledge.add_entry(session, choice.entry)
        return choice.entry.id, choice.entry.question, stored.revision
    if not choice.entry_id:
        raise InvalidError("no_faq_id", "请先选一条问答", "Choose an entry first")
    stored = await knowledge.get_entry(session, choice.entry_id)
    wording = clean_line(choice.question or "") or named
    if choice.action == "entry":
        return choice.entry_id, wording, None
    field = LISTS[choice.action]
    have = getattr(stored.entry, field)
    asked = stored.entry.phrasings if choice.action == "similar" else have
    if any(normalise(one) == normalise(wording) for one in asked):
        return choice.entry_id, wording, None
    if len(have) >= PHRASINGS_MAX:
        raise InvalidError(
            "too_many_phrasings",
            f"这条问答已经有 {len(have)} 个问法，不能再加",
            f"This entry has {len(have)} wordings already; no more can be added",
        )
    changed = await knowledge.update_entry(session, choice.entry_id, {field: (*have, wording)})
    return choice.entry_id, wording, changed.revision


async def _change_back(session: AsyncSession, decision: Decision) -> int | None:
    if decision.entry_revision is None or decision.entry_id is None:
        return None
    try:
        stored = await knowledge.get_entry(session, decision.entry_id)
    except NotFoundError:
        return None  # deleted since: nothing is left of the change
    if decision.action == "new":
        if stored.revision != decision.entry_revision:
            raise ConflictError(
                "entry_changed",
                "新建的这条问答后来又改过，撤销会丢掉那些修改；请到「知识库」里处理",
                "The entry was edited since; undoing would lose that. Change it in the knowledge room",
                {"faq_id": decision.entry_id},
            )
        return await knowledge.remove_entry(session, decision.entry_id)
    field = LISTS[decision.action]
    left = tuple(one for one in getattr(stored.entry, field) if normalise(one) != normalise(decision.question))
    return (await knowledge.update_entry(session, decision.entry_id, {field: left})).revision


def _labels(held: Sequence[Question], action: Action, entry_id: str | None) -> list[Label]:
    """What is learnt: nothing from what is ignored, nor from a question that an entry does not answer."""
    if action in ("ignore", "negative"):
        return []
    distinct: dict[Any, Label] = {}
    for one in held:
        source = source_of(one.conversation_id)
        distinct.setdefault((source, one.key), Label(source, one.text, entry_id))
    return list(distinct.values())
