"""Where channels come from: the configuration file, read only, and the console, whose secrets lie encrypted."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bot.config import CHANNEL_NAME
from bot.errors import ConfigError, InvalidError, NotFoundError
from bot.security.vault import Vault
from bot.storage import channels
from bot.storage.database import Database
from connectors import registry
from connectors.errors import ConnectorError
from connectors.kinds import COMMON, KINDS

if TYPE_CHECKING:
    from bot.config import Settings

Source = Literal["file", "console", "built-in"]
# There without being named, as in Rasa's own default; a table of the kind replaces it.
BUILT_IN = ({"kind": "socketio", "name": "socketio"},)


@dataclass(frozen=True, slots=True)
class Configured:
    """One channel's table: `kind`, `name` and its parameters, `env:` already replaced."""

    table: dict[str, Any]
    source: Source
    enabled: bool = True

    @property
    def kind(self) -> str:
        return str(self.table["kind"])

    @property
    def name(self) -> str:
        return str(self.table["name"])

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def path(self) -> str:
        """Where its messages come in."""
        return "/socket.io/" if self.kind == "socketio" else f"/webhooks/{self.id}"

    @property
    def is_closed(self) -> bool:
        """Whether a stranger who reaches the port is refused."""
        needed = KINDS[self.kind].open_without
        return not needed or bool(self.table.get(needed))

    @property
    def opens(self) -> bool:
        """Whether it opens the connection itself, so that `path` is of no use."""
        return registry.opens(self.table)


def in_file(settings: "Settings") -> list[Configured]:
    """The channels of the file, checked. Raises ConfigError naming the channel and the parameter."""
    for table in settings.channels:
        try:
            registry.validate(table)
        except ConnectorError as error:
            raise ConfigError("channel", error.zh, error.en, {"field": error.field}) from None
    return [Configured(dict(table), "file") for table in settings.channels]


async def in_console(database: Database, vault: Vault) -> list[Configured]:
    """The channels of the console, secrets opened. Raises ConfigError where the key file is not the right one."""
    async with database.reading() as session:
        found = await channels.stored(session)
    return [
        Configured(
            {**vault.unseal(one.sealed, f"{one.kind}/{one.name}"), "kind": one.kind, "name": one.name},
            "console",
            one.enabled,
        )
        for one in found
    ]


def merged(from_file: list[Configured], from_console: list[Configured]) -> list[Configured]:
    """Both, and what is built in.

    Raises ConfigError where a channel is in both: nobody could say which of them counts.
    """
    taken = {one.id for one in from_file}
    for one in from_console:
        if one.id in taken:
            raise ConfigError(
                "channel_twice",
                f"渠道 {one.id} 在配置文件和后台里都有，请删除其中一个",
                f"The channel {one.id} is both in the configuration file and in the console: remove one of them",
            )
    found = [*from_file, *from_console]
    kinds = {one.kind for one in found}
    return [*found, *(Configured(dict(table), "built-in") for table in BUILT_IN if table["kind"] not in kinds)]


async def store(database: Database, vault: Vault, settings: "Settings", table: dict[str, Any]) -> Configured:
    """Add or change a channel of the console.

    What is not given stays as it was, a secret also where it is empty; None, and other empty values, are taken away.

    Raises:
        InvalidError: the table is not right, see `connectors.registry.validate`.
        ConfigError: the channel is in the configuration file and read only here.
    """
    made = Configured(dict(table), "console")
    if any((one["kind"], one["name"]) == (made.kind, made.name) for one in settings.channels):
        raise InvalidError(
            "channel_in_file", f"渠道 {made.id} 写在配置文件里，请在文件里修改",
            f"The channel {made.id} is in the configuration file: change it there",
        )  # fmt: skip
    old = {one.id: one for one in await in_console(database, vault)}.get(made.id)
    kind = KINDS.get(made.kind)
    secret = {one.name for one in kind.parameters if one.secret} if kind else set()
    given = {name: value for name, value in table.items() if not (name in secret and value == "")}
    kept = {**(old.table if old else {}), **given}
    made = Configured({name: value for name, value in kept.items() if value not in (None, "")}, "console")
    if not CHANNEL_NAME.fullmatch(made.name):
        zh, en = "名称只能用小写字母、数字、_ 和 -", "A name has small letters, digits, _ and - only"
        raise InvalidError("wrong_channel", zh, en, {"field": "name"})
    try:
        registry.validate(made.table)
    except ConnectorError as error:
        raise InvalidError("wrong_channel", error.zh, error.en, {"field": error.field}) from None
    parameters = {name: value for name, value in made.table.items() if name not in COMMON}
    async with database.session() as session:
        await channels.put(session, made.kind, made.name, vault.seal(parameters, made.id))
    return made


async def remove(database: Database, kind: str, name: str) -> None:
    """Remove a channel of the console. Raises NotFoundError."""
    async with database.session() as session:
        gone = await channels.remove(session, kind, name)
    if not gone:
        raise NotFoundError(
            "channel_not_found", f"后台里没有渠道 {kind}/{name}", f"The console has no channel {kind}/{name}"
        )
