"""From an installed adapter to the one being served: verify, activate, follow, roll back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import KefuError, StoppingError, sentence
from bot.learning.gate import admit
from bot.storage import adapters, audit, shadows
from bot.storage.adapters import KINDS, Adapter, Kind
from bot.storage.database import Database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.config import Settings
    from bot.engines.base import Engine
    from bot.knowledge_base import KnowledgeBase
    from bot.learning.shadow import Shadow
    from bot.learning.watch import Watch

log = logging.getLogger("kefu.releases")


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch under way: `name` None is the base model; units re-encoded so far, of how many."""

    kind: Kind
    name: str | None
    done: int = 0
    total: int = 0


def folder_of(settings: "Settings", name: str | None) -> Path | None:
    """Where an adapter lies; None for the base model."""
    return settings.data / "adapters" / name if name else None


def base_folder(settings: "Settings", kind: Kind) -> Path:
    """The base model that adapters of this kind must have been trained on. Raises ModelError."""
    from finetune.models import model_folder

    return model_folder(settings.encoder if kind == "encoder" else settings.generator, settings.models)


def verify(settings: "Settings", name: str, kind: Kind) -> None:
    """Raises FinetuneError where the adapter is missing, altered, not signed here, or of another base model."""
    from finetune import registry
    from finetune.models import model_checksum
    from finetune.signing import Signer

    folder = settings.data / "adapters" / name
    registry.verify(folder, model_checksum(base_folder(settings, kind)), Signer(settings.data))


def check_usable(settings: "Settings", name: str, kind: Kind) -> None:
    """`verify`, and that every weight is a number: what a switch asks for. Raises FinetuneError."""
    from finetune.lora import check_finite

    verify(settings, name, kind)
    check_finite(settings.data / "adapters" / name)


def state_of(settings: "Settings", adapter: Adapter, active: dict[str, str | None]) -> str:
    """`active`, `ready`, `damaged` or `missing`; reads the adapter's files."""
    if not (settings.data / "adapters" / adapter.name).is_dir():
        return "missing"
    try:
        verify(settings, adapter.name, as_kind(adapter.kind))
    except Exception as problem:  # noqa: BLE001 - whatever is wrong with it, it cannot be used
        log.warning("adapter %s cannot be used: %s", adapter.name, problem)
        return "damaged"
    return "active" if active.get(adapter.kind) == adapter.name else "ready"


def as_kind(value: str) -> Kind:
    """A kind by its name. Raises KefuError."""
    for kind in KINDS:
        if kind == value:
            return kind
    raise KefuError("unknown_kind", f"没有 {value} 这一类模型", f"There is no kind of model called {value}")


async def activate(
    database: Database,
    settings: "Settings",
    name: str,
    actor: str,
    person: str | None = None,
    within: "Callable[[AsyncSession], Awaitable[None]] | None" = None,
    *,
    override: bool = False,
) -> Kind:
    """Verify an adapter and make it the active one; a running service follows by itself. Returns its kind.

    `within` is part of the same transaction and may object. Raises NotFoundError, FinetuneError where it must not be
    loaded, or ConflictError where its verdict withholds it and nobody overrides that; what was active stays so.
    """
    async with database.reading() as session:
        adapter = await adapters.get(session, name)
    kind = as_kind(adapter.kind)
    await asyncio.to_thread(check_usable, settings, name, kind)
    judged = admit(adapter.manifest, override=override)
    async with database.session() as session:
        if within:
            await within(session)
        if await adapters.activate(session, kind, name, person):
            await audit.record(session, actor, "adapters.activate", name, {"kind": kind, **judged})
    return kind


async def activate_found(
    database: Database, settings: "Settings", name: str, actor: str, *, override: bool
) -> dict[str, Any]:
    """`activate` of what is installed, registered or not yet: {"kind", "active"}. Raises as `activate` does."""
    await discover(database, settings)
    return {"kind": await activate(database, settings, name, actor, override=override), "active": name}


async def rollback(database: Database, kind: Kind, actor: str, person: str | None = None) -> str | None:
    """Go back to what was active before; returns its name, None for the base model. Raises ConflictError."""
    async with database.session() as session:
        name = await adapters.rollback(session, kind, person)
        await audit.record(session, actor, "adapters.rollback", name or "base", {"kind": kind})
    return name


async def rollback_last(database: Database, kind: str | None, actor: str) -> dict[str, Any]:
    """`rollback` of a kind, None for the one that was switched last: {"kind", "active"}. Raises KefuError."""
    if kind is None:
        async with database.reading() as session:
            last = {one: await adapters.history(session, one) for one in KINDS}
        switched = [(done[-1].created_at, one) for one, done in last.items() if done]
        kind = max(switched)[1] if switched else "encoder"
    return {"kind": kind, "active": await rollback(database, as_kind(kind), actor)}


async def discover(database: Database, settings: "Settings") -> None:
    """Make adapters known that were installed but not registered: the process died between the two.

    One that was registered before there were signatures is signed now, where it is as it was registered.
    """
    from finetune import registry
    from finetune.signing import Signer

    home, signer = settings.data / "adapters", Signer(settings.data)
    folders = await asyncio.to_thread(registry.list_folders, home)
    async with database.reading() as session:
        known = {adapter.name: adapter.manifest for adapter in await adapters.installed(session)}
    for folder in folders:
        on_record = known.get(folder.name)
        if on_record and on_record.get("signature"):
            continue
        try:
            if on_record:
                manifest = await asyncio.to_thread(registry.sign, folder, signer, on_record)
            else:
                manifest = await asyncio.to_thread(registry.verify, folder, None, signer)
        except Exception as problem:  # noqa: BLE001 - a stranger's folder is left alone
            log.warning("adapters/%s is not used: %s", folder.name, problem)
            continue
        async with database.session() as session:
            await adapters.register(session, manifest.to_json())


class Releases:
    """Makes this process serve what the database says is active. Register `follow` with the watcher of `adapters`."""

    def __init__(
        self,
        database: Database,
        settings: "Settings",
        knowledge_base: "KnowledgeBase",
        engine: "Engine | None" = None,
        shadow: "Shadow | None" = None,
        watch: "Watch | None" = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._knowledge_base = knowledge_base
        self._engine = engine
        self._shadow = shadow
        self._watch = watch
        self._one_at_a_time = asyncio.Lock()
        self._failed: dict[str | None, str] = {}
        self.switching: Switch | None = None

    def serving(self) -> dict[str, str | None]:
        """What this process serves, by kind, which a switch under way has yet to change."""
        return {
            "encoder": self._knowledge_base.adapter,
            "generator": self._engine.active_adapter if self._engine else None,
        }

    async def follow(self, _value: int = 0) -> None:
        """Bring what is served in step with the newest activations.

        A switch that cannot be made is taken back in the database, on record, so that what is shown as active is what
        answers.
        """
        async with self._one_at_a_time:
            async with self._database.reading() as session:
                wanted = await adapters.active(session)
            for kind in KINDS:
                name = wanted[kind]
                if kind == "generator" and self._engine is None:
                    continue
                serving = self.serving()[kind]
                if name == serving:
                    continue
                self.switching = Switch(kind, name)
                try:
                    await self._switch(kind, name)
                    log.info("%s: now serving %s", kind, name or "the base model")
                    if self._watch:
                        await self._watch.switched(kind, name)
                except StoppingError:
                    raise  # no fault of the adapter: the next start serves it
                except Exception as problem:
                    log.exception("%s: cannot switch to %s", kind, name or "the base model")
                    await self._take_back(kind, name, serving, problem)
                finally:
                    self.switching = None

    async def _switch(self, kind: Kind, name: str | None) -> None:
        folder = folder_of(self._settings, name)
        if name:
            await asyncio.to_thread(check_usable, self._settings, name, kind)
        if kind == "encoder":
            if self._shadow:
                await self._shadow.step_aside()
            await self._knowledge_base.switch_encoder(folder, self._note)
        elif self._engine:
            await self._engine.use_adapter(folder, name)

    def _note(self, done: int, total: int, note: str = "") -> None:  # noqa: ARG002 - the callback's form
        if self.switching:
            self.switching = Switch(self.switching.kind, self.switching.name, done, total)

    async def _take_back(self, kind: Kind, name: str | None, serving: str | None, problem: Exception) -> None:
        self._failed[name] = sentence(problem, "zh")
        async with self._database.session() as session:
            if (await adapters.active(session))[kind] == name:
                await adapters.activate(session, kind, serving, None, reason="failed")
                if name:
                    error = {"zh": sentence(problem, "zh"), "en": sentence(problem, "en")}
                    await shadows.taken_back(session, name, error)
                await audit.record(session, "system", "adapters.failed", name or "base", {"kind": kind})

    async def wait_for(self, kind: Kind, name: str | None) -> None:
        """Follow now, and return when `name` is served. Raises KefuError where the switch failed."""
        self._failed.pop(name, None)
        await self.follow()
        if kind == "generator" and self._engine is None:
            return
        if self.serving()[kind] != name:
            raise KefuError(
                "switch_failed",
                f"切换失败，仍在使用原来的模型：{self._failed.get(name, '')}",
                f"The switch failed; the model before is still serving ({name or 'base model'})",
            )

    def to_json(self) -> dict[str, Any] | None:
        """The switch under way as the API shows it."""
        return asdict(self.switching) if self.switching else None
