"""`kefu serve`: the whole service in one process."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bot.commands.parents import common
from bot.language import say

if TYPE_CHECKING:
    import socket

    from bot.config import Settings

SWITCH_SECONDS = 0.0005
OPEN_REQUESTS_SECONDS = 5.0  # how long a stop waits for requests that do not end by themselves


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "serve",
        parents=[common()],
        help=say(
            "启动整个服务：网页、接口、渠道、后台任务", "run the whole service: web, API, channels, background jobs"
        ),
    )
    parser.add_argument("--host", default=None, help=say("监听的地址", "address to listen on"))
    parser.add_argument("--port", type=int, default=None, help=say("监听的端口", "port to listen on"))
    parser.add_argument(
        "--demo",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=say("首次启动时载入演示公司", "load the demo company at the first start"),
    )
    parser.add_argument(
        "--config",
        dest="settings_file",
        type=Path,
        default=None,
        metavar="FILE",
        help=say("配置文件（默认 数据目录/kefu.toml）", "configuration file (default kefu.toml in the data folder)"),
    )
    parser.set_defaults(run=serve)


def serve(_args: argparse.Namespace, settings: "Settings") -> int:
    """Listen, prepare, print the addresses, and serve until interrupted."""
    import asyncio
    import logging
    import sys

    from bot.claim import claimed
    from bot.security.redaction import MaskingFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("kefu").setLevel(settings.log_level.upper())  # libraries speak from warnings up
    # The event loop and the database's thread let go of the interpreter at every wait, and searches do not: to have it
    # back they would wait for 5 ms, many times in an answer.
    sys.setswitchinterval(SWITCH_SECONDS)
    with claimed(settings.data), listen(settings.host, settings.port) as listening:
        try:
            asyncio.run(_serve(settings, listening))
        except KeyboardInterrupt:
            print(say("已停止。", "Stopped."))
    return 0


def listen(host: str, port: int) -> "socket.socket":
    """A listening socket, taken before anything is loaded. Raises ConfigError in one sentence where that fails."""
    import errno
    import socket

    from bot.errors import ConfigError

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(
            "wrong_host", f"不能监听地址 {host}：{error.strerror}", f"Cannot listen on {host}: {error.strerror}"
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                "port_in_use",
                f"端口 {port} 已被占用；请用 --port 或 KEFU_PORT 换一个，或停掉占用它的程序",
                f"Port {port} is in use; choose another with --port or KEFU_PORT, or stop the program that has it",
            ) from error
        raise ConfigError(
            "cannot_listen",
            f"不能监听 {host}:{port}：{error.strerror}",
            f"Cannot listen on {host}:{port}: {error.strerror}",
        ) from error
    return listening


async def _serve(settings: "Settings", listening: "socket.socket") -> None:
    import asyncio
    import signal

    from aiohttp import web

    from bot import keys
    from bot.app import make_app

    password = await prepare(settings)
    app = make_app(settings)
    app[keys.LISTENING] = own_address(listening)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=OPEN_REQUESTS_SECONDS)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        _greet(app[keys.LISTENING], password)
        app[keys.ANSWERING].add_done_callback(lambda _: _begin())
        failure = app[keys.FAILURE]
        failure.add_done_callback(lambda _: stopped.set())
        await stopped.wait()
        if failure.done():
            raise failure.result()
    finally:
        await runner.cleanup()


async def prepare(settings: "Settings") -> str | None:
    """Database, first administrator, demo company; returns the password made up at the very first start."""
    from bot.demo_company import load_demo
    from bot.security.first_admin import ensure_admin
    from bot.storage.database import opened
    from bot.uploads import clear_incoming

    async with opened(settings.database) as database:
        given = settings.admin_password.get_secret_value() if settings.admin_password else None
        password = await ensure_admin(database, given)
        if settings.demo and await load_demo(database, settings):
            print(say("已载入演示公司。", "The demo company is loaded."))
    clear_incoming(settings.data / "uploads")
    return password


def own_address(listening: "socket.socket") -> str:
    """The base address of what listens there, for this machine: on every address means on the loopback one, too."""
    host, port = listening.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _greet(address: str, password: str | None) -> None:
    print(
        say(
            f"\n  聊天页面  {address}/chat\n  管理后台  {address}/console",
            f"\n  Chat     {address}/chat\n  Console  {address}/console",
        )
    )
    if password:
        print(
            say(
                f"  管理员    admin\n  密码      {password}  （只显示这一次）",
                f"  User     admin\n  Password {password}  (shown only this once)",
            )
        )
    print(say("\n  模型正在载入，稍后即可对话。", "\n  The models are loading; chat is ready in a moment."))
    print(say("  Ctrl+C 停止\n", "  Ctrl+C stops\n"), flush=True)


def _begin() -> None:
    """What was loaded stays: to look through it for garbage would stop everything for 150 ms, every few seconds."""
    import gc

    gc.collect()
    gc.freeze()
    print(say("  已就绪，可以对话了。\n", "  Ready: chat can begin.\n"), flush=True)
