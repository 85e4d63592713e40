"""What comes in: JSON bodies and query parameters, checked against a pydantic model."""

from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.errors import InvalidError, TooLargeError
from bot.expectations import Words, expectation_at, shown
from connectors.errors import ConnectorError
from connectors.http import json_value

BODY_BYTES_MAX = 1024 * 1024


class Body(BaseModel):
    """Base of every request body: unknown fields are refused, so a misspelt one is never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=BaseModel)


async def read(request: web.Request, model: type[Model], bytes_max: int = BODY_BYTES_MAX) -> Model:
    """The request's JSON body.

    Raises:
        TooLargeError: more than `bytes_max` bytes.
        InvalidError: no JSON object, or a field that is not what it should be; `details` names each.
    """
    raw = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        raw += chunk
        if len(raw) > bytes_max:
            raise TooLargeError(
                "too_large", f"请求超过 {bytes_max} 字节", f"The request is larger than {bytes_max} bytes"
            )
    try:
        value = json_value(raw.decode("utf-8")) if raw.strip() else {}
    except ConnectorError as error:
        raise InvalidError(error.code, error.zh, error.en) from None
    except UnicodeDecodeError:
        raise InvalidError("invalid_json", "请求体不是 UTF-8 文字", "The body is not UTF-8 text") from None
    if not isinstance(value, dict):
        raise InvalidError("invalid_json", "请求正文必须是 JSON 对象", "The request body must be a JSON object")
    return check(model, value)


def query(request: web.Request, model: type[Model]) -> Model:
    """The query parameters. Raises InvalidError."""
    return check(model, dict(request.query))


def check(model: type[Model], value: dict[str, Any]) -> Model:
    """The value as a model. Raises InvalidError that names the first wrong field; `details` has all of them."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_problem(model, one) for one in error.errors()]
    details = [{"field": name, "message": words.zh, "message_en": words.en} for name, words in problems]
    raise InvalidError("invalid_field", problems[0][1].zh, problems[0][1].en, details)


def _problem(model: type[BaseModel], error: Any) -> tuple[str, Words]:
    place = ".".join(str(part) for part in error["loc"])
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return place, Words(f"没有字段 {place}（有：{known}）", f"There is no field {place} (there are: {known})")
    if error["type"] == "missing":
        return place, Words(f"缺少字段 {place}", f"The field {place} is missing")
    expects = Words("合适的值", "suitable")
    if name in model.model_fields:
        inside, expects = expectation_at(model.model_fields[name], error["loc"][1:])
        place = ".".join([name, *inside])
    seen = shown(error["input"])
    return place, Words(f"{place} 必须是 {expects.zh}，而不是 {seen}", f"{place} must be {expects.en}, not {seen}")
