"""Staff at the desk, as programs with keys of several roles: what the desk's tests share."""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

from bot.security.passwords import new_api_key, token_hash
from bot.storage import people

ASKS = "转人工"


class Staff:
    """Programs with keys of several roles, in the place of people."""

    def __init__(self, talk: Any) -> None:
        self.talk = talk
        self.keys: dict[str, str] = {}

    async def hire(self, name: str, role: str = "agent") -> str:
        self.keys[name] = key = new_api_key()
        async with self.talk.database.session() as session:
            await people.add_key(session, name, role, key[:12], token_hash(key))
        return name

    async def call(self, who: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        return await self.ask(who, method, f"/api/desk{path}", **options)

    async def ask(self, who: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        async with self.talk.client.request(method, path, headers=headers, **options) as response:
            return response.status, await response.json()

    async def box(self, who: str, name: str, **query: Any) -> list[dict[str, Any]]:
        status, body = await self.call(who, "GET", "/conversations", params={"box": name, **query})
        assert status == 200, body
        return list(body["items"])

    async def take(self, who: str, id_: str, **body: str) -> tuple[int, Any]:
        return await self.call(who, "POST", f"/conversations/{id_}/take", json=body)

    async def reply(self, who: str, id_: str, text: str, client_id: str = "r1") -> tuple[int, Any]:
        body = {"text": text, "client_id": client_id}
        return await self.call(who, "POST", f"/conversations/{id_}/messages", json=body)

    @asynccontextmanager
    async def events(self, who: str, **query: str) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        async with self.talk.client.get("/api/desk/events", headers=headers, params=query) as response:
            assert response.status == 200
            yield response.content

    async def told(self, content: Any, kind: str) -> dict[str, Any]:
        """The data of the next event of that kind."""
        event = ""
        async with asyncio.timeout(20):
            async for line in content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == kind:
                    return dict(json.loads(value))
        raise AssertionError(f"no {kind}")


async def staff_of(talk: Any) -> Staff:
    staff = Staff(talk)
    for name in ("ann", "bob"):
        await staff.hire(name)
    return staff
