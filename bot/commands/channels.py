"""`kefu channels`: the ways in for other programs, whether each works, and what could not be delivered."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say, terminal_language
from connectors.kinds import KINDS

if TYPE_CHECKING:
    import aiohttp

    from bot.config import Settings
    from bot.messaging.sources import Configured
    from bot.storage.letters import About, Letter

CHECK_SECONDS = 5.0
GLANCE_CHARACTERS = 80

# Where to look for what has no signature, and what it must answer.
OWN_CHECKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "rest": ("/webhooks/rest/", (200,)),
    "openai": ("/v1/models", (401,)),
    "callback": ("/webhooks/callback/webhook", (200,)),
}


@dataclass(frozen=True, slots=True)
class Channel:
    """A way in. `closed` is whether it asks for a token, a key or a signature; `opens` whether Kefu opens the
    connection itself, and nobody is told of `path`.
    """

    kind: str
    name: str
    path: str
    closed: bool
    source: str = "built-in"
    opens: bool = False

    @property
    def access(self) -> str:
        """Who may use it, for a person."""
        if not self.closed:
            name = KINDS[self.kind].open_without
            return say(f"未设 {name}，任何人可用", f"open to anyone: no {name} is set")
        if self.opens:
            return say("由 Kefu 连接平台", "Kefu connects to the platform")
        if self.source == "built-in" or KINDS[self.kind].open_without == "token":
            return say("需要 token 或密钥", "token or key needed")
        return say("平台签名", "signed by the platform")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("channels", help=say("消息渠道", "messaging channels"))
    kinds = parser.add_subparsers(dest="what", metavar=say("操作", "WHAT"), required=True)
    listed = kinds.add_parser("list", parents=[results()], help=say("列出渠道", "list the channels"))
    listed.set_defaults(run=list_channels)
    checked = kinds.add_parser(
        "check", parents=[results()], help=say("逐个检查能否使用", "check that each of them works")
    )
    checked.set_defaults(run=check)
    letters = kinds.add_parser(
        "undelivered", parents=[results()], help=say("没能送达的回复", "replies that could not be delivered")
    )
    letters.set_defaults(run=undelivered)
    for name, zh, en in (
        ("resend", "重新发送没能送达的回复", "send replies again that could not be delivered"),
        ("drop", "放弃没能送达的回复", "give replies up that could not be delivered"),
    ):
        one = kinds.add_parser(name, parents=[results()], help=say(zh, en))
        one.add_argument("ids", nargs="*", metavar="ID", help=say("回复的编号", "ids of the replies"))
        one.add_argument("--all", action="store_true", dest="everything", help=say("全部", "all of them"))
        one.set_defaults(run=settle)


async def configured(settings: "Settings") -> "list[Configured]":
    """The messaging channels of the file and of the console. Raises ConfigError for one that cannot be."""
    from bot.messaging.sources import in_console, in_file, merged
    from bot.security.vault import Vault
    from bot.storage.database import opened

    async with opened(settings.database) as database:
        return merged(in_file(settings), await in_console(database, Vault(settings.data)))


def shown(settings: "Settings", found: "Sequence[Configured]") -> list[Channel]:
    """Every way in that a service with these settings has."""
    from bot.channels import rest_token

    return [
        Channel("rest", "rest", "/webhooks/rest/webhook", closed=rest_token(settings) is not None),
        Channel("openai", "openai", "/v1/chat/completions", closed=True),
        *(
            Channel(one.kind, one.name, one.path, one.is_closed, one.source, one.opens)
            for one in found
            if one.kind != "rest"
        ),
    ]


def list_channels(args: argparse.Namespace, settings: "Settings") -> int:
    """Print what there is."""
    import asyncio
    import json

    channels = shown(settings, asyncio.run(configured(settings)))
    if args.json:
        print(json.dumps([asdict(channel) for channel in channels], ensure_ascii=False))
        return 0
    for channel in channels:
        print(f"{channel.kind:<10} {'-' if channel.opens else channel.path:<32} {channel.access}")
    return 0


def check(args: argparse.Namespace, settings: "Settings") -> int:
    """Ask the running service at each channel's address, and each platform; exit 1 where one is not as it should be."""
    import asyncio
    import json

    found = asyncio.run(_check_all(settings))
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for one in found:
            print(f"{'✓' if one['ok'] else '✗'} {one['kind']}/{one['name']}  {one['message']}")
    return 0 if all(one["ok"] for one in found) else 1


def _base(settings: "Settings") -> str:
    """Where the service of this data folder listens, as it says itself; else where the settings would have it."""
    from contextlib import suppress

    from bot import control
    from bot.errors import KefuError

    told = None
    with suppress(KefuError):
        told = control.ask(settings.data, "where")
    if told and told.get("address"):
        return str(told["address"])
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - not bound to here
    return f"http://{host}:{settings.port}"


async def _check_all(settings: "Settings") -> list[dict[str, object]]:
    import asyncio

    import aiohttp

    from bot.messaging.checking import look_at

    base = await asyncio.to_thread(_base, settings)
    timeout = aiohttp.ClientTimeout(total=CHECK_SECONDS)
    messengers = await configured(settings)
    by_id = {one.id: one for one in messengers}
    found = []
    async with aiohttp.ClientSession(base, timeout=timeout) as session:
        for channel in shown(settings, messengers):
            one = await check_one(session, base, channel)
            if platform := by_id.get(f"{channel.kind}/{channel.name}") if channel.source != "built-in" else None:
                # The platform's side is looked at even where our own does not answer: both have their own next step.
                looked = await look_at(platform)
                told = [each.zh if terminal_language() == "zh" else each.en for each in looked]
                one["message"] = say("；", "; ").join(part.rstrip("。.") for part in (str(one["message"]), *told))
                one["ok"] = bool(one["ok"]) and all(each.ok for each in looked)
            found.append(one)
    return found


async def check_one(session: "aiohttp.ClientSession", base: str, channel: Channel) -> dict[str, object]:
    """What the service at `base`, the base of `session`, answers at a channel's address: the channel with `ok` and a
    message in the terminal's language."""
    import aiohttp

    # An unsigned call is refused, and not unknown.
    path, expected = OWN_CHECKS.get(channel.kind, (channel.path, (400, 401, 403, 405)))
    try:
        async with session.get(path) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        message = say(
            f"{base} 没有应答：这个数据目录的服务没有启动（kefu serve），或者用的是别的数据目录（--data）。",
            f"{base} does not answer: the service of this data folder is not running (kefu serve), or it runs on "
            "another (--data).",
        )
        return {**asdict(channel), "ok": False, "message": message}
    if status not in expected:
        known = " | ".join(map(str, expected))
        message = say(
            f"{base}{path} 返回 {status}，应为 {known}：这个端口上可能是别的程序，或者服务启动后改过配置。",
            f"{base}{path} answers {status}, expected {known}: another program may have this port, "
            "or the configuration changed since the start.",
        )
        return {**asdict(channel), "ok": False, "message": message}
    return {**asdict(channel), "ok": True, "message": say(f"{base}{channel.path} 正常", f"{base}{channel.path} works")}


def undelivered(args: argparse.Namespace, settings: "Settings") -> int:
    """Print the replies that were given up or wait for the customer, newest first: to whom, and to what question."""
    import asyncio
    import json

    from bot.messaging.customers import customer_of
    from bot.security.redaction import masked
    from bot.storage.letters import words

    language = terminal_language()
    found = [
        (one, customer_of(about.conversation, language) if about.conversation else "", about.question)
        for one, about in asyncio.run(_letters(settings))
    ]
    if args.json:
        shown = [one.to_json() | {"customer": customer, "question": question} for one, customer, question in found]
        print(json.dumps(shown, ensure_ascii=False))
        return 0
    for one, customer, question in found:
        told = (one.error or {}).get("message" if language == "zh" else "message_en", "")
        print(f"{one.id}  {one.channel}  {one.state}  {one.created_at:%Y-%m-%d %H:%M}  {told}")
        asked, reply = (_glance(masked(text)) for text in (question, words(one.payload)))
        print(say(f"  {customer}  问：{asked}  答：{reply}", f"  {customer}  asked: {asked}  reply: {reply}"))
    if not found:
        print(say("没有。", "None."))
    return 0


def _glance(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= GLANCE_CHARACTERS else f"{line[:GLANCE_CHARACTERS]}…"


def settle(args: argparse.Namespace, settings: "Settings") -> int:
    """Resend or drop; exit 1 where none of the ids waits."""
    import asyncio
    import json
    import sys

    if bool(args.ids) == args.everything:
        print(say("请给出编号，或用 --all", "Name ids, or --all"), file=sys.stderr)
        return 2
    found = asyncio.run(_settle(settings, args.what, args.ids))
    if args.json:
        print(json.dumps({"ids": found}))
    else:
        print(say(f"{len(found)} 条", f"{len(found)} replies"))
    return 0 if found or args.everything else 1


async def _letters(settings: "Settings") -> "list[tuple[Letter, About]]":
    from bot.storage import letters
    from bot.storage.database import opened

    async with opened(settings.database) as database, database.reading() as session:
        found = await letters.letters(session, letters.LOST, limit=500)
        return list(zip(found, await letters.about(session, found), strict=True))


async def _settle(settings: "Settings", what: str, ids: Sequence[str]) -> list[str]:
    from bot.storage import audit, letters, messaging
    from bot.storage.database import opened

    work: Any = messaging.resend if what == "resend" else messaging.drop
    async with opened(settings.database) as database, database.session() as session:
        ids = ids or [one.id for one in await letters.letters(session, letters.LOST, limit=10_000)]
        found: list[str] = await work(session, ids)
        await audit.record(session, "cli", f"deliveries.{what}", "", {"messages": len(found)})
    return found
