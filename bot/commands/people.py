"""`kefu users` and `kefu keys`."""

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.config import Settings

STAFF = ("viewer", "agent", "editor", "admin")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    users = commands.add_parser("users", help=say("员工账号", "members of staff"))
    verbs = users.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)
    added = verbs.add_parser("add", parents=[results()], help=say("添加", "add one"))
    added.add_argument("name")
    added.add_argument(
        "--role", choices=STAFF, default="editor", help=say("角色（默认 editor）", "role (default editor)")
    )
    changed = verbs.add_parser(
        "passwd", parents=[results()], help=say("改密码并退出所有登录", "change the password, end sign-ins")
    )
    changed.add_argument("name")
    for parser in (added, changed):
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help=say("从标准输入读密码", "read the password from standard input"),
        )
    added.set_defaults(run=add_user)
    changed.set_defaults(run=change_password)
    listed = verbs.add_parser("list", parents=[results()], help=say("列出", "list"))
    listed.set_defaults(run=list_users)
    removed = verbs.add_parser("remove", parents=[results()], help=say("删除", "remove one"))
    removed.add_argument("name")
    removed.set_defaults(run=remove_user)

    keys = commands.add_parser("keys", help=say("程序用的密钥", "keys for programs"))
    verbs = keys.add_subparsers(dest="verb", metavar=say("操作", "ACTION"), required=True)
    made = verbs.add_parser("add", parents=[results()], help=say("新建，只显示一次", "make one; shown once"))
    made.add_argument("name", nargs="?", default="key", help=say("名称", "name"))
    made.add_argument(
        "--role",
        choices=(*STAFF, "api"),
        default="api",
        help=say("角色（默认 api：只能聊天）", "role (default api: chat only)"),
    )
    made.set_defaults(run=add_key)
    shown = verbs.add_parser("list", parents=[results()], help=say("列出", "list"))
    shown.set_defaults(run=list_keys)
    revoked = verbs.add_parser("revoke", parents=[results()], help=say("作废", "revoke one"))
    revoked.add_argument("key", help=say("编号、名称或开头几位", "id, name or first characters"))
    revoked.set_defaults(run=revoke_key)


def _transact(
    settings: "Settings", work: "Callable[[AsyncSession], Awaitable[Any]]", action: str = "", target: str = ""
) -> Any:
    """Run `work` in one transaction; one that writes names its action, for the audit."""
    import asyncio

    from bot.storage import audit
    from bot.storage.database import opened

    async def run() -> Any:
        async with opened(settings.database) as database:
            if not action:
                async with database.reading() as session:
                    return await work(session)
            async with database.session() as session:
                result = await work(session)
                await audit.record(session, "cli", action, target)
                return result

    return asyncio.run(run())


def _password(args: argparse.Namespace) -> tuple[str, bool]:
    """The new password and whether it was made up here: from standard input, asked for on a terminal, else made up."""
    import getpass
    import sys

    from bot.errors import InvalidError
    from bot.security.passwords import new_password

    if args.password_stdin:
        return sys.stdin.readline().rstrip("\r\n"), False
    if not sys.stdin.isatty():
        return new_password(), True
    first = getpass.getpass(say("新密码（留空则自动生成）：", "New password (empty: made up): "))
    if not first:
        return new_password(), True
    if first != getpass.getpass(say("再输一次：", "Again: ")):
        raise InvalidError("passwords_differ", "两次输入的密码不同", "The two passwords differ")
    return first, False


def _print(args: argparse.Namespace, document: dict[str, Any], text: str) -> int:
    import json

    print(json.dumps(document, ensure_ascii=False) if args.json else text)
    return 0


def _set_password(args: argparse.Namespace, settings: "Settings", action: str) -> int:
    import asyncio

    from bot.security.passwords import hash_password
    from bot.storage import people

    password, made_up = _password(args)
    digest = asyncio.run(hash_password(password))
    if action == "users.add":
        user = _transact(settings, lambda s: people.add_user(s, args.name, args.role, digest), action, args.name)
    else:
        user = _transact(settings, lambda s: people.set_password(s, args.name, digest), action, args.name)
    document = {"name": user.name, "role": user.role} | ({"password": password} if made_up else {})
    text = say(f"用户 {user.name}（{user.role}）已保存", f"User {user.name} ({user.role}) saved")
    if made_up:
        text += say(f"，密码 {password}（只显示这一次）", f"; password {password} (shown only this once)")
    return _print(args, document, text)


def add_user(args: argparse.Namespace, settings: "Settings") -> int:
    return _set_password(args, settings, "users.add")


def change_password(args: argparse.Namespace, settings: "Settings") -> int:
    return _set_password(args, settings, "users.passwd")


def list_users(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.storage import people
    from bot.storage.values import iso

    found = _transact(settings, people.users)
    items = [
        {
            "name": user.name,
            "role": user.role,
            "created_at": iso(user.created_at),
            "last_login_at": iso(user.last_login_at),
        }
        for user in found
    ]
    lines = [f"{item['name']:20} {item['role']:8} {item['last_login_at'] or '-'}" for item in items]
    return _print(args, {"items": items}, "\n".join(lines) or say("还没有用户", "There are no users yet"))


def remove_user(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.storage import people

    _transact(settings, lambda session: people.remove_user(session, args.name), "users.remove", args.name)
    return _print(args, {"removed": args.name}, say(f"用户 {args.name} 已删除", f"User {args.name} removed"))


def add_key(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.security.passwords import new_api_key, token_hash
    from bot.storage import people

    key = new_api_key()
    prefix = key[:12]
    stored = _transact(
        settings,
        lambda session: people.add_key(session, args.name, args.role, prefix, token_hash(key)),
        "keys.add",
        prefix,
    )
    document = {"id": stored.id, "name": stored.name, "role": stored.role, "key": key}
    return _print(
        args,
        document,
        say(
            f"{key}\n（{stored.role}，只显示这一次，请保存好）",
            f"{key}\n({stored.role}; shown only this once, keep it safe)",
        ),
    )


def list_keys(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.storage import people
    from bot.storage.values import iso

    found = _transact(settings, people.keys)
    items = [
        {
            "id": key.id, "name": key.name, "role": key.role, "prefix": key.prefix, "created_at": iso(key.created_at),
            "last_used_at": iso(key.last_used_at), "revoked_at": iso(key.revoked_at),
        }
        for key in found
    ]  # fmt: skip
    lines = [
        f"{item['id']}  {item['prefix']}…  {item['role']:8} {item['name']:20} "
        + (say("已作废", "revoked") if item["revoked_at"] else str(item["last_used_at"] or "-"))
        for item in items
    ]
    return _print(args, {"items": items}, "\n".join(lines) or say("还没有密钥", "There are no keys yet"))


def revoke_key(args: argparse.Namespace, settings: "Settings") -> int:
    from bot.storage import people

    key = _transact(settings, lambda session: people.revoke_key(session, args.key), "keys.revoke", args.key[:12])
    return _print(args, {"revoked": key.id}, say(f"密钥 {key.name} 已作废", f"The key {key.name} is revoked"))
