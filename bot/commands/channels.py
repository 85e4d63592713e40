"""`kefu channels list|check`: the ways in for other programs, and whether each works."""

import argparse
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    import aiohttp

    from bot.config import Settings

CHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Channel:
    """A way in. `closed` is whether it asks for a token or a key."""

    kind: str
    name: str
    path: str
    closed: bool


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("channels", help=say("消息渠道", "messaging channels"))
    kinds = parser.add_subparsers(dest="what", metavar=say("操作", "WHAT"), required=True)
    listed = kinds.add_parser("list", parents=[results()], help=say("列出渠道", "list the channels"))
    listed.set_defaults(run=list_channels)
    checked = kinds.add_parser(
        "check", parents=[results()], help=say("逐个检查能否使用", "check that each of them works")
    )
    checked.set_defaults(run=check)


def configured(settings: "Settings") -> list[Channel]:
    """Every channel that a service with these settings has. Raises ConfigError for one that it cannot have."""
    from bot.channels import rest_token

    return [
        Channel("rest", "rest", "/webhooks/rest/webhook", closed=rest_token(settings) is not None),
        Channel("openai", "openai", "/v1/chat/completions", closed=True),
    ]


def list_channels(args: argparse.Namespace, settings: "Settings") -> int:
    """Print what there is."""
    import json

    channels = configured(settings)
    if args.json:
        print(json.dumps([asdict(channel) for channel in channels], ensure_ascii=False))
        return 0
    for channel in channels:
        access = (
            say("需要 token 或密钥", "token or key needed")
            if channel.closed
            else say("未设 token，任何人可用", "open to anyone: no token is set")
        )
        print(f"{channel.kind:<10} {channel.path:<28} {access}")
    return 0


def check(args: argparse.Namespace, settings: "Settings") -> int:
    """Ask the running service at each channel's address; exit 1 where one does not answer as it should."""
    import asyncio
    import json

    found = asyncio.run(_check_all(settings))
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for one in found:
            print(f"{'✓' if one['ok'] else '✗'} {one['kind']:<10} {one['message']}")
    return 0 if all(one["ok"] for one in found) else 1


async def _check_all(settings: "Settings") -> list[dict[str, object]]:
    import aiohttp

    # Listening on every address means that the loopback one works too.
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - not bound to here
    base = f"http://{host}:{settings.port}"
    timeout = aiohttp.ClientTimeout(total=CHECK_SECONDS)
    async with aiohttp.ClientSession(base, timeout=timeout) as session:
        return [await _check_one(session, base, channel) for channel in configured(settings)]


async def _check_one(session: "aiohttp.ClientSession", base: str, channel: Channel) -> dict[str, object]:
    import aiohttp

    path, expected = ("/webhooks/rest/", 200) if channel.kind == "rest" else ("/v1/models", 401)
    try:
        async with session.get(path) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        message = say(
            f"{base} 没有应答：服务没有启动，或者端口不对。请运行 kefu serve。",
            f"{base} does not answer: the service is not running, or the port is another one. Run kefu serve.",
        )
        return {**asdict(channel), "ok": False, "message": message}
    if status != expected:
        message = say(
            f"{base}{path} 返回 {status}，应为 {expected}：这个端口上可能是别的程序。",
            f"{base}{path} answers {status}, expected {expected}: another program may have this port.",
        )
        return {**asdict(channel), "ok": False, "message": message}
    return {**asdict(channel), "ok": True, "message": say(f"{base}{channel.path} 正常", f"{base}{channel.path} works")}
