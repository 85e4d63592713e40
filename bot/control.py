"""A command's short way to the running service: a socket in the data folder, which only the folder's owner may open.

What is asked here, whoever may write the database could do as well; the service only has everything loaded. One line
of JSON is asked, one answered, and the connection ends.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bot.errors import KefuError

FILE_NAME = ".control"
LINE_BYTES_MAX = 4096
CONNECT_SECONDS, ANSWER_SECONDS = 1.0, 20.0
# What may be asked, by its name: takes the rest of the request and returns JSON, or raises what has a sentence.
Handlers = dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]

log = logging.getLogger("kefu.control")


@asynccontextmanager
async def answering(folder: Path, handlers: Handlers) -> AsyncIterator[None]:
    """Answers while the block runs. Where the system has no such sockets, commands go the long way."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(ANSWER_SECONDS):
                asked = json.loads(await reader.readuntil())
                told = await _carry_out(handlers, asked)
                writer.write(json.dumps(told).encode() + b"\n")
                await writer.drain()
        writer.close()

    path = folder / FILE_NAME
    try:
        path.unlink(missing_ok=True)  # of a service that was killed
        server = await asyncio.start_unix_server(answer, path, limit=LINE_BYTES_MAX)
        path.chmod(0o600)
    except OSError as problem:  # a path that is too long, a file system without sockets
        log.info("no control socket: %s", problem)
        yield
        return
    async with server:
        yield
    path.unlink(missing_ok=True)


async def _carry_out(handlers: Handlers, asked: Any) -> dict[str, Any]:
    handler = handlers.get(str(asked.get("do"))) if isinstance(asked, dict) else None
    if handler is None:
        return {"error": {"code": "unknown_command", "zh": "不认识的命令", "en": "Unknown command"}}
    try:
        return await handler(asked)
    except Exception as problem:
        # What each package raises for its users says its code and its sentence in both languages.
        if hasattr(problem, "zh") and hasattr(problem, "en"):
            return {"error": {"code": getattr(problem, "code", "failed"), "zh": problem.zh, "en": problem.en}}
        log.exception("a command of this machine failed")
        return {"error": {"code": "failed", "zh": "服务出错，详情见日志", "en": "The service failed; see its log"}}


def ask(folder: Path, do: str, **values: Any) -> dict[str, Any] | None:
    """What the service that runs from this data folder answers; None where none runs.

    Raises KefuError with the service's own words where it refuses, or where it does not answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_SECONDS)
        try:
            connection.connect(str(folder / FILE_NAME))
        except OSError:
            return None
        try:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(json.dumps({"do": do, **values}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                told = json.loads(lines.readline())
        except (OSError, ValueError) as problem:
            raise KefuError(
                "service_silent",
                "运行中的服务没有回答；也许已经做了，请先查看再重试",
                "The running service did not answer; it may have done it: look before trying again",
            ) from problem
    if error := told.get("error"):
        raise KefuError(error["code"], error["zh"], error["en"])
    return dict(told)
