"""Adapters and their activations. The newest activation of a kind says what is served; NULL is the base model."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError, NotFoundError
from bot.storage import revisions, shadows
from bot.storage.tables import ActivationRow, AdapterRow, Blob
from bot.storage.values import now

Kind = Literal["encoder", "generator"]
KINDS: tuple[Kind, ...] = ("encoder", "generator")
COUNTER = "adapters"
PINNED = "adapters.pinned"


@dataclass(frozen=True, slots=True)
class Adapter:
    """An installed adapter; `manifest` as it lies in its folder."""

    name: str
    kind: str
    manifest: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Activation:
    """One switch, by whom and why: `activate`, `rollback`, `failed` where one could not be made, or `broken` where
    one was rolled back by itself."""

    kind: str
    adapter: str | None
    reason: str
    created_by: str | None
    created_at: datetime


async def register(session: AsyncSession, manifest: dict[str, Any]) -> None:
    """Make an installed adapter known; again is no change but for a renewed manifest."""
    row = await session.get(AdapterRow, manifest["name"])
    if row is None:
        row = AdapterRow(name=manifest["name"], created_at=now())
        session.add(row)
    row.kind, row.manifest, row.removed_at = manifest["kind"], manifest, None
    await revisions.bump(session, COUNTER)


async def installed(session: AsyncSession) -> list[Adapter]:
    """Every adapter that was not removed, newest first."""
    rows = await session.scalars(
        select(AdapterRow)
        .where(AdapterRow.removed_at.is_(None))
        .order_by(AdapterRow.created_at.desc(), AdapterRow.name)
    )
    return [_adapter(row) for row in rows]


async def get(session: AsyncSession, name: str) -> Adapter:
    """One adapter. Raises NotFoundError."""
    row = await session.get(AdapterRow, name)
    if row is None or row.removed_at is not None:
        raise NotFoundError(
            "adapter_not_found",
            f"没有名为 {name} 的适配器；kefu adapters list 列出已有的",
            f"There is no adapter {name}; `kefu adapters list` shows those there are",
        )
    return _adapter(row)


async def history(session: AsyncSession, kind: Kind) -> list[Activation]:
    """Every switch of a kind, oldest first."""
    rows = await session.scalars(select(ActivationRow).where(ActivationRow.kind == kind).order_by(ActivationRow.id))
    return [Activation(row.kind, row.adapter_name, row.reason, row.created_by, row.created_at) for row in rows]


async def active(session: AsyncSession) -> dict[str, str | None]:
    """What is active, by kind; None is the base model."""
    newest = select(func.max(ActivationRow.id)).group_by(ActivationRow.kind)
    rows = await session.scalars(select(ActivationRow).where(ActivationRow.id.in_(newest)))
    return dict.fromkeys(KINDS) | {row.kind: row.adapter_name for row in rows}


async def activate(
    session: AsyncSession, kind: Kind, name: str | None, created_by: str | None, reason: str = "activate"
) -> bool:
    """Make an adapter (None: the base model) the active one; False where it is already."""
    if (await active(session))[kind] == name:
        return False
    session.add(ActivationRow(kind=kind, adapter_name=name, reason=reason, created_by=created_by, created_at=now()))
    if kind == "encoder":
        await shadows.settle(session, name, created_by or "system")
    await revisions.bump(session, COUNTER)
    return True


async def rollback(session: AsyncSession, kind: Kind, created_by: str | None, reason: str = "rollback") -> str | None:
    """Go back to what was active before; returns its name, None for the base model. Each call goes one further back.

    Raises ConflictError where nothing was active before.
    """
    there = {one.name for one in await installed(session)}
    earlier = steps(await history(session, kind), there)
    if len(earlier) < 2:
        raise ConflictError(
            "nothing_to_roll_back",
            "之前没有启用过别的模型，无法回退",
            "No other model was active before, so there is nothing to roll back to",
        )
    await activate(session, kind, earlier[-2], created_by, reason)
    return earlier[-2]


async def before(session: AsyncSession, kind: Kind) -> str | None:
    """What `rollback` would go back to; None is the base model, which is also where nothing was active before."""
    there = {one.name for one in await installed(session)}
    return [None, *steps(await history(session, kind), there)][-2]


async def can_roll_back(session: AsyncSession) -> dict[str, bool]:
    """By kind, whether something was active before what is active now."""
    there = {one.name for one in await installed(session)}
    return {kind: len(steps(await history(session, kind), there)) > 1 for kind in KINDS}


def steps(switches: Iterable[Activation], there: set[str]) -> list[str | None]:
    """What was active, oldest first, with every step that was taken back left out; the base model stands at the start.

    Adapters that are no longer `there` are passed over.
    """
    stack: list[str | None] = [None]
    for switch in switches:
        if switch.reason == "activate":
            stack.append(switch.adapter)
        else:
            while len(stack) > 1 and stack[-1] != switch.adapter:
                stack.pop()
    kept: list[str | None] = []
    for name in stack:
        if (name is None or name in there) and (not kept or kept[-1] != name):
            kept.append(name)
    return kept


async def remove(session: AsyncSession, name: str) -> None:
    """Forget an adapter. Raises ConflictError for an active one, NotFoundError."""
    await get(session, name)
    if name in (await active(session)).values():
        raise ConflictError(
            "adapter_active",
            f"适配器 {name} 正在使用，请先回退或启用别的",
            f"The adapter {name} is active; roll back or activate another first",
        )
    row = await session.get_one(AdapterRow, name)
    row.removed_at = now()
    await shadows.end(session, "removed", "system", only=name)
    await revisions.bump(session, COUNTER)


async def pinned(session: AsyncSession) -> set[str]:
    """The adapters that are kept however old they are."""
    row = await session.get(Blob, PINNED)
    return set(json.loads(row.value)) if row else set()


async def pin(session: AsyncSession, name: str, *, wanted: bool) -> None:
    """Keep an adapter however old it is, or no longer. Raises NotFoundError."""
    await get(session, name)
    now_pinned = await pinned(session)
    kept = sorted(now_pinned | {name} if wanted else now_pinned - {name})
    await session.merge(Blob(name=PINNED, value=json.dumps(kept).encode()))
    await revisions.bump(session, COUNTER)


def _adapter(row: AdapterRow) -> Adapter:
    return Adapter(row.name, row.kind, row.manifest, row.created_at)
