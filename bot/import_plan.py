"""What an import will do: pure decisions about which rows are new, changed, the same or gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.storage.knowledge import FIELDS
from bot.storage.values import new_id
from knowledge.text import normalise
from knowledge.types import Entry, Problem

NEAR_DUPLICATE, CONFLICT = "near_duplicate", "conflict"
# What the reader reports of rows that are there already; everything else of it is a failure.
SKIPPED_REASONS = frozenset({"duplicate"})


@dataclass(frozen=True, slots=True)
class Row:
    """An entry of the file, where it stood, and the hash by which duplicates are known."""

    entry: Entry
    place: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Known:
    """An entry of the database."""

    entry: Entry
    content_hash: str


@dataclass(frozen=True, slots=True)
class Item:
    """The fate of one row. `status`: added, updated, skipped or failed.

    `detail` names the field that a reason is about, and its value. `entry` is what the row became, or would; `named`
    says that the file gave its id. `twin` is an entry that asks the same: a `warning`, no refusal.
    """

    file: str
    place: str
    status: str
    reason: str = ""
    question: str = ""
    detail: str = ""
    entry: Entry | None = None
    named: bool = False
    warning: str = ""
    twin: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The id of the entry that the row became; none where it became none."""
        return self.entry.id if self.entry else ""

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            name: getattr(self, name) for name in ("file", "place", "status", "reason", "question")
        }
        shown |= {"detail": self.detail} if self.detail else {}
        return shown | {"warning": self.warning, "twin": self.twin} if self.warning else shown


@dataclass(slots=True)
class Plan:
    """Entries to write (new or again alive, and changed), those to remove by id, and the fate of every row.

    `had` is how many entries the document has that the file is the new version of.
    """

    added: list[tuple[Entry, str]] = field(default_factory=list)
    updated: list[tuple[Entry, str]] = field(default_factory=list)
    removed: dict[str, Entry] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    had: int = 0

    @property
    def changes(self) -> bool:
        return bool(self.added or self.updated or self.removed)


def same_content(one: Entry, other: Entry) -> bool:
    """Whether two entries say the same, wherever they came from."""
    return all(getattr(one, name) == getattr(other, name) for name in FIELDS)


def decide(
    file: str,
    rows: Sequence[Row],
    problems: Sequence[Problem],
    by_id: Mapping[str, Known],
    by_hash: Mapping[str, str],
    replaced: Mapping[str, Known] | None = None,
) -> Plan:
    """The plan for a file.

    Args:
        by_id: live entries of the database that the rows name.
        by_hash: content hash → id of live entries that say the same as a row.
        replaced: every live entry of the document that this file is the new version of, by id.
    """
    plan = Plan(had=len(replaced or {}))
    kept: set[str] = set()
    taken = dict(by_hash)
    questions = {normalise(known.entry.question): id_ for id_, known in (replaced or {}).items()}
    named = {row.entry.id for row in rows if row.entry.id}
    for row in rows:
        entry_id = row.entry.id
        if not entry_id:
            if (twin := taken.get(row.content_hash)) is not None:
                kept.add(twin)
                plan.items.append(Item(file, row.place, "skipped", "duplicate", row.entry.question))
                continue
            # A new version of a file without ids: the same question with another answer stays the same entry.
            earlier = questions.get(normalise(row.entry.question))
            entry_id = earlier if earlier and earlier not in kept and earlier not in named else new_id()
        known = by_id.get(entry_id) or (replaced or {}).get(entry_id)
        kept.add(entry_id)
        taken.setdefault(row.content_hash, entry_id)
        plan.items.append(_place(plan, file, row, replace(row.entry, id=entry_id), known))
    for problem in problems:
        status = "skipped" if problem.reason in SKIPPED_REASONS else "failed"
        plan.items.append(Item(file, problem.place, status, problem.reason, problem.question, problem.detail))
    plan.removed = {id_: known.entry for id_, known in (replaced or {}).items() if id_ not in kept}
    return plan


def _place(plan: Plan, file: str, row: Row, entry: Entry, known: Known | None) -> Item:
    if known is None:
        plan.added.append((entry, row.content_hash))
        return Item(file, row.place, "added", "", entry.question, entry=entry, named=bool(row.entry.id))
    if same_content(entry, known.entry):
        return Item(file, row.place, "skipped", "unchanged", entry.question)
    plan.updated.append((entry, row.content_hash))
    return Item(file, row.place, "updated", "", entry.question, entry=entry)
