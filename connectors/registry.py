"""Channels from their tables: what is in one is checked, and its code imported."""

import difflib
import importlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectors.errors import ConnectorError
from connectors.kinds import API_BASE, COMMON, KINDS, Parameter

if TYPE_CHECKING:
    from connectors.channel import Channel, Service


def validate(table: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a `[[channels]]` table with defaults filled in.

    Raises:
        ConnectorError: the kind or a parameter does not exist, one is missing, or a value is not what it takes. `field`
            names the parameter. Values of secrets are never repeated.
    """
    kind, name = str(table.get("kind", "")), str(table.get("name", table.get("kind", "")))
    known = KINDS.get(kind)
    if known is None:
        raise _wrong(
            "kind", f"不支持渠道类型 {kind!r}，目前有：{', '.join(KINDS)}",
            f"the kind {kind!r} is not supported; there are: {', '.join(KINDS)}",
        )  # fmt: skip
    where = f"{kind}/{name}"
    parameters = {one.name: one for one in (*known.parameters, API_BASE)}
    for given in table:
        if given not in parameters and given not in COMMON:
            near = difflib.get_close_matches(given, parameters, 1)
            raise _wrong(
                given,
                f"{where} 没有参数 {given}" + (f"，是否想写 {near[0]}？" if near else ""),
                f"{where} has no parameter {given}" + (f"; did you mean {near[0]}?" if near else ""),
            )
    mode = parameters.get("mode")
    chosen = table.get("mode") or (mode.choices[0] if mode else "")
    return {one.name: _value(where, one, table.get(one.name), str(chosen)) for one in parameters.values()}


def opens(table: Mapping[str, Any]) -> bool:
    """Whether a valid table's channel opens the connection itself: nobody calls an address of ours then."""
    known = KINDS[str(table["kind"])]
    modes = next((one.choices for one in known.parameters if one.name == "mode"), ("",))
    return bool(known.opens) and (table.get("mode") or modes[0]) == known.opens


def unused(kind: str, parameters: Mapping[str, Any]) -> list[Parameter]:
    """The parameters that are given and that the chosen mode has no use for."""
    mode = parameters.get("mode")
    return [one for one in KINDS[kind].parameters if one.mode not in ("", mode) and parameters.get(one.name)]


def _value(where: str, parameter: Parameter, value: Any, mode: str) -> Any:
    name = parameter.name
    if value is None or value == "":
        if parameter.required and parameter.mode in ("", mode):
            raise _wrong(name, f"{where} 缺少参数 {name}（{parameter.zh}）", f"{where} lacks {name} ({parameter.en})")
        return parameter.choices[0] if parameter.choices else None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # an agent or account id is written without quotes as often as with them
    shown = "" if parameter.secret or not isinstance(value, str) else f"，而不是 {value!r}"
    shown_en = "" if parameter.secret or not isinstance(value, str) else f", not {value!r}"
    zh, en = parameter.expects
    if parameter.choices:
        zh = en = " | ".join(parameter.choices)
    if parameter.url:
        zh, en = "http 或 https 地址", "an http or https address"
    right = isinstance(value, str) and (
        (not parameter.choices or value in parameter.choices)
        and (not parameter.url or _is_url(value))
        and (not parameter.pattern or re.fullmatch(parameter.pattern, value) is not None)
    )
    if not right:
        raise _wrong(name, f"{where} 的 {name} 必须是{zh}{shown}", f"{name} of {where} must be {en}{shown_en}")
    return value


def make(table: Mapping[str, Any], service: "Service") -> "Channel":
    """The channel of a `[[channels]]` table. Raises ConnectorError, see `validate`."""
    parameters = validate(table)
    kind = KINDS[str(table["kind"])]
    module, _, name = kind.made_by.partition(":")
    made: Channel = getattr(importlib.import_module(module), name)(str(table["name"]), parameters, service)
    return made


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _wrong(field: str, zh: str, en: str) -> ConnectorError:
    return ConnectorError("channel", f"channels：{zh}", f"channels: {en}", field=field)
