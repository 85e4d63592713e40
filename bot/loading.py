"""Adapters loaded and let go of by a program, as vLLM offers it: registered ones only, on an admin's word.

Which adapter is active is the registry's: nothing here changes it.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from bot import keys
from bot.engines.base import EngineError
from bot.errors import InvalidError, NotFoundError
from bot.security import access
from bot.storage import adapters, audit

if TYPE_CHECKING:
    from bot.engines.base import Engine
    from connectors.openai.wire import AdapterRequest


async def load(request: web.Request, asked: "AdapterRequest") -> None:
    """Load a registered generator adapter now instead of when it is first asked for.

    Raises:
        ForbiddenError: the key is no admin's.
        NotFoundError: no such adapter is registered, or there is no generator.
        InvalidError: it is an encoder's, lies elsewhere, is loaded already or cannot be loaded.
    """
    principal = await access.authorise(request, "admin")
    engine = await _engine_for(request, asked.name)
    folder = request.app[keys.SETTINGS].data / "adapters" / asked.name
    if asked.path and asked.path != asked.name and not await asyncio.to_thread(_same, asked.path, folder):
        raise InvalidError(
            "adapter_path",
            "lora_path 必须是登记过的适配器的文件夹，或者不写；别处的先用 kefu adapters import 导入",
            "lora_path must be the registered adapter's folder, or left out; import others by kefu adapters import",
        )
    if asked.name in engine.loaded:
        raise InvalidError(
            "adapter_loaded",
            f"适配器 {asked.name} 已经载入",
            f"The lora adapter '{asked.name}' has already been loaded.",
        )
    try:
        await engine.load(asked.name)
    except EngineError as error:
        raise InvalidError(error.code, error.zh, error.en) from error
    await _record(request, principal, "adapters.load", asked.name)


async def unload(request: web.Request, asked: "AdapterRequest") -> None:
    """Let go of a loaded adapter that is not the active one. Raises as `load`."""
    principal = await access.authorise(request, "admin")
    engine = await _engine_for(request, asked.name)
    if asked.name == engine.active_adapter:
        raise InvalidError(
            "adapter_active",
            f"适配器 {asked.name} 正在使用：先在后台「模型」里换成别的",
            f"The adapter {asked.name} is in use: activate another one first (console, Models)",
        )
    if asked.name not in engine.loaded:
        raise NotFoundError(
            "adapter_not_loaded",
            f"适配器 {asked.name} 没有载入",
            f"The lora adapter '{asked.name}' cannot be found: it is not loaded.",
        )
    try:
        await engine.unload(asked.name)
    except EngineError as error:
        raise InvalidError(error.code, error.zh, error.en) from error
    await _record(request, principal, "adapters.unload", asked.name)


async def _engine_for(request: web.Request, name: str) -> "Engine":
    async with request.app[keys.DATABASE].reading() as session:
        adapter = await adapters.get(session, name)
    if adapter.kind != "generator":
        raise InvalidError(
            "adapter_kind",
            f"{name} 是向量模型的适配器，这里只载入生成模型的",
            f"{name} is an adapter of the encoder; only the generator's are loaded here",
        )
    engine = request.app[keys.ENGINE]
    if engine is None:
        raise NotFoundError("no_generator", "没有启用生成模型", "The generator is switched off")
    return engine


def _same(path: str, folder: Path) -> bool:
    return Path(path).resolve() == folder.resolve()


async def _record(request: web.Request, principal: access.Principal, what: str, name: str) -> None:
    async with request.app[keys.DATABASE].session() as session:
        await audit.record(session, principal.actor, what, name)
