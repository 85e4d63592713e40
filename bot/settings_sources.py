"""Where settings come from: flags, environment, file. Remembers the origin of each value and words what is wrong."""

import argparse
import difflib
import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError, TomlConfigSettingsSource

from bot.config import PREFIX, Settings
from bot.errors import ConfigError
from bot.expectations import expectation, shown
from bot.language import say

# Of a parsed command line these alone are settings: other commands use such names for things of their own.
ARGUMENTS = ("data", "host", "port", "demo")
PATHS = ("data", "models", "actions_dir", "bench_data")
SECRET_WORDS = ("secret", "token", "password", "key")
MASK = "********"
# Read by other parts of the product, or by the file's own location.
OTHER_VARIABLES = frozenset({"KEFU_CONFIG", "KEFU_VENV", "KEFU_PYTHON"})

log = logging.getLogger("kefu.config")


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings and, by field name, where each value came from (`default`, `KEFU_PORT`, `--port`, `kefu.toml`)."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None


def effective(given: Mapping[str, Any] | argparse.Namespace | None = None, config: Path | None = None) -> Effective:
    """Read every source. Arguments and errors are those of `bot.config.load_settings`."""
    if isinstance(given, argparse.Namespace):
        config = config or getattr(given, "settings_file", None)
        given = {name: getattr(given, name, None) for name in ARGUMENTS}
    flags = {name: value for name, value in (given or {}).items() if value is not None}
    environment = _environment()
    file = _file(config, flags, environment)
    table = _table(file) if file else {}
    for name in unknown_variables(os.environ):
        log.warning("%s", _unknown_variable(name))
    origins = dict.fromkeys(Settings.model_fields, "default")
    origins |= {name: file.name for name in table if file}
    origins |= {name: PREFIX + name.upper() for name in environment}
    origins |= {name: "--" + name.replace("_", "-") for name in flags}
    values = {**table, **environment, **flags}
    if "channels" in values:
        values["channels"] = _resolve(values["channels"], "channels")
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _wrong(error, values, origins) from None
    _check_database(settings, origins)
    return Effective(settings, origins, file)


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        name = next((one for one in Settings.model_fields if f'"{one}"' in str(error)), "channels")
        expects = expectation(Settings.model_fields[name])
        raise _refuse(PREFIX + name.upper(), os.environ.get(PREFIX + name.upper(), ""), expects) from None


def _file(config: Path | None, flags: Mapping[str, Any], environment: Mapping[str, Any]) -> Path | None:
    named = config or (Path(os.environ["KEFU_CONFIG"]) if os.environ.get("KEFU_CONFIG") else None)
    if named:
        if not named.is_file():
            raise ConfigError(
                "config_missing", f"配置文件 {named} 不存在", f"The configuration file {named} does not exist"
            )
        return named
    folder = Path(str(flags.get("data") or environment.get("data") or Settings.model_fields["data"].default))
    return file if (file := folder / "kefu.toml").is_file() else None


def _table(file: Path) -> dict[str, Any]:
    try:
        table = TomlConfigSettingsSource(Settings, file)()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            "config_syntax", f"配置文件 {file} 不是正确的 TOML：{error}", f"{file} is not valid TOML: {error}"
        ) from None
    except OSError as error:
        raise ConfigError(
            "config_unreadable", f"读不了配置文件 {file}：{error.strerror}", f"Cannot read {file}: {error.strerror}"
        ) from None
    for name in table:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            raise ConfigError(
                "unknown_setting",
                f"{file.name} 中的设置 {name} 不存在" + (f"，是否想写 {near[0]}？" if near else ""),
                f"{file.name} has an unknown setting {name}" + (f"; did you mean {near[0]}?" if near else ""),
            )
    for name in PATHS:
        if isinstance(table.get(name), str):  # a path in a file means one beside that file
            table[name] = file.parent / Path(table[name]).expanduser()
    return dict(table)


def _resolve(value: Any, place: str) -> Any:
    """`env:NAME` texts replaced by that variable, at any depth. Raises ConfigError naming all that are not set."""
    missing: dict[str, str] = {}
    found = _replaced(value, place, missing)
    if missing:
        zh = "、".join(f"{name}（{where}）" for name, where in missing.items())
        en = ", ".join(f"{name} ({where})" for name, where in missing.items())
        raise ConfigError(
            "missing_variable",
            f"这些环境变量没有设置，而配置里用到了：{zh}。先 export 变量名=值 再运行；服务和命令行都要设",
            f"The configuration names environment variables that are not set: {en}. "
            "Set them before (export NAME=value), for the service and for the command line",
        )
    return found


def _replaced(value: Any, place: str, missing: dict[str, str]) -> Any:
    """`missing` gathers the variables that are not set, and where each is named first."""
    if isinstance(value, str) and value.startswith("env:"):
        name = value[4:].strip()
        if name not in os.environ:
            missing.setdefault(name, place)
        return os.environ.get(name)
    if isinstance(value, Mapping):
        return {key: _replaced(one, f"{place}.{key}", missing) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(one, f"{place}[{number}]", missing) for number, one in enumerate(value)]
    return value


def _refuse(name: str, value: Any, expects: tuple[str, str]) -> ConfigError:
    secret = any(word in name.lower() for word in SECRET_WORDS)
    seen = MASK if secret or name.lower().endswith("channels") else shown(value)
    return ConfigError(
        "wrong_setting", f"{name} 必须是 {expects[0]}，而不是 {seen}", f"{name} must be {expects[1]}, not {seen}"
    )


def _wrong(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, str]) -> ConfigError:
    first = error.errors()[0]
    if not first["loc"]:
        return ConfigError(
            "wrong_setting",
            "clarify_threshold 不能大于 answer_threshold",
            "clarify_threshold must not exceed answer_threshold",
        )
    name = str(first["loc"][0])
    if name not in Settings.model_fields:
        return ConfigError("unknown_setting", f"设置 {name} 不存在", f"There is no setting {name}")
    origin = origins[name]
    where = origin if origin.startswith((PREFIX, "--")) else f"{origin}: {name}"
    return _refuse(where, values.get(name), expectation(Settings.model_fields[name]))


def _check_database(settings: Settings, origins: Mapping[str, str]) -> None:
    if settings.database_url is None:
        return
    from sqlalchemy.engine import make_url  # slow to import, and most folders hold their own database
    from sqlalchemy.exc import ArgumentError

    expects = expectation(Settings.model_fields["database_url"])
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        raise _refuse(origins["database_url"], settings.database_url, expects) from None
    if url.get_backend_name() != "sqlite":
        raise _refuse(origins["database_url"], url.render_as_string(hide_password=True), expects)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """The `KEFU_*` variables that name no setting, in order."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _unknown_variable(name: str) -> str:
    near = difflib.get_close_matches(name, [PREFIX + one.upper() for one in Settings.model_fields], 1)
    zh = f"环境变量 {name} 不是任何设置" + (f"，是否想写 {near[0]}？" if near else "")
    en = f"The variable {name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
    return say(zh, en)


def masked(settings: Settings) -> dict[str, Any]:
    """Every setting as JSON, secrets masked: also those inside channels and the database address."""
    shown_values: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name == "database_url" and value:
            from sqlalchemy.engine import make_url

            value = make_url(value).render_as_string(hide_password=True)
        shown_values[name] = _mask(value)
    return shown_values


def _mask(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {
            key: MASK if one and any(word in key.lower() for word in SECRET_WORDS) else _mask(one)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mask(one) for one in value]
    return value
