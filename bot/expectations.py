"""What a pydantic field expects, in words: `1 到 65535 的整数`, `an integer from 1 to 65535`."""

import json
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo


class Words(NamedTuple):
    """One text in two languages."""

    zh: str
    en: str


KINDS: dict[Any, Words] = {
    int: Words("整数", "an integer"),
    float: Words("数", "a number"),
    bool: Words("true 或 false", "true or false"),
    str: Words("文字", "text"),
    SecretStr: Words("文字", "text"),
    Path: Words("路径", "a path"),
    dict: Words("对象", "an object"),
}


def expectation(field: FieldInfo) -> Words:
    """What values the field takes. A field may say it itself with `json_schema_extra={"expects": (zh, en)}`."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and isinstance(pair := extra.get("expects"), list):
        return Words(str(pair[0]), str(pair[1]))
    return _of(field.annotation, field.metadata)


def expectation_at(field: FieldInfo, path: Sequence[int | str]) -> tuple[list[str], Words]:
    """What is expected at a place inside the field, and that place: an index of a list or a key of an object.

    A path as pydantic gives it also names the members of a union, which nobody sent.
    """
    annotation, place = field.annotation, list[str]()
    for part in path:
        members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
        container = next((one for one in members if get_origin(one) in (list, tuple, dict)), None)
        if container is None:
            break
        annotation = get_args(container)[1 if get_origin(container) is dict else 0]
        place.append(str(part))
    return place, _of(annotation, ()) if place else expectation(field)


def _of(annotation: Any, metadata: Iterable[Any]) -> Words:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return _of(float if set(inner) == {int, float} else inner[0], metadata)
    if origin is Literal:
        names = [str(one) for one in get_args(annotation)]
        return Words(" 或 ".join(names), " or ".join(names))
    if origin in (list, tuple):
        inner_words = _of(get_args(annotation)[0], ())
        return Words(f"列表（每项是{inner_words.zh}）", f"a list (each item {inner_words.en})")
    kind = KINDS.get(origin or annotation, Words("合适的值", "a suitable value"))
    return _bounded(kind, annotation, metadata)


def _bounded(kind: Words, annotation: Any, metadata: Iterable[Any]) -> Words:
    low = high = shortest = longest = None
    for mark in metadata:
        low = getattr(mark, "ge", getattr(mark, "gt", low))
        high = getattr(mark, "le", getattr(mark, "lt", high))
        shortest = getattr(mark, "min_length", shortest)
        longest = getattr(mark, "max_length", longest)
    if annotation in (int, float) or low is not None or high is not None:
        if low is not None and high is not None:
            return Words(f"{low} 到 {high} 的{kind.zh}", f"{kind.en} from {low} to {high}")
        if low is not None:
            return Words(f"不小于 {low} 的{kind.zh}", f"{kind.en} of at least {low}")
    if longest is not None and get_origin(annotation) is dict:
        return Words(f"至多 {longest} 项的{kind.zh}", f"{kind.en} of at most {longest} members")
    if longest is not None:
        return Words(f"{shortest or 0} 到 {longest} 个字的文字", f"text of {shortest or 0} to {longest} characters")
    return Words(f"非空{kind.zh}", f"{kind.en}, not empty") if shortest else kind


def shown(value: Any, limit: int = 60) -> str:
    """A value as it stands in an error: quoted, null and true as JSON and TOML have them, and cut where it is long."""
    plain = value is None or isinstance(value, bool | list | dict)
    text = json.dumps(value, ensure_ascii=False, default=repr) if plain else repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
