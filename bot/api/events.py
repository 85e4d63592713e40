"""Server-Sent Events (WHATWG HTML, 9.2): the one way in which the API streams."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiohttp import web

KEEPALIVE_SECONDS = 15.0
log = logging.getLogger("kefu.events")
Events = AsyncGenerator[tuple[str, str, dict[str, Any]]]


def wants_stream(request: web.Request) -> bool:
    """Whether the caller asks for Server-Sent Events."""
    return "text/event-stream" in request.headers.get("Accept", "")


async def merged(*sources: Events) -> Events:
    """Several streams as one, which ends with the first of them that does."""
    out: asyncio.Queue[tuple[str, str, dict[str, Any]] | None] = asyncio.Queue()

    async def pump(source: Events) -> None:
        try:
            async with aclosing(source) as items:
                async for item in items:
                    out.put_nowait(item)
        except Exception:
            # Better an ended connection, which comes back, than one that keeps silent.
            log.exception("a stream of events failed")
        finally:
            out.put_nowait(None)

    tasks = [asyncio.create_task(pump(source)) for source in sources]
    try:
        while (item := await out.get()) is not None:
            yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def send_events(request: web.Request, events: Events) -> web.StreamResponse:
    """A response of (event, id, data), an empty id being none, with comments while there is nothing to say."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    upcoming: asyncio.Task[tuple[str, str, dict[str, Any]]] | None = None
    try:
        async with aclosing(events) as stream:
            try:
                while True:
                    upcoming = upcoming or asyncio.ensure_future(anext(stream))
                    done, _ = await asyncio.wait({upcoming}, timeout=KEEPALIVE_SECONDS)
                    if not done:
                        await response.write(b": still here\n\n")
                        continue
                    event, id_, data = upcoming.result()
                    upcoming = None
                    head = f"id: {id_}\n" if id_ else ""
                    body = json.dumps(data, ensure_ascii=False)
                    await response.write(f"event: {event}\n{head}data: {body}\n\n".encode())
            except StopAsyncIteration:
                pass
            finally:
                if upcoming is not None and not upcoming.done():
                    upcoming.cancel()
                    await asyncio.gather(upcoming, return_exceptions=True)
    except ConnectionResetError:
        return response  # the reader left; what was told of goes on without it
    await response.write_eof()
    return response
