"""OpenAI chat completions: wire ↔ messages. Source: the OpenAI API reference, "Chat Completions" and "Models"."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from connectors.errors import ConnectorError
from connectors.http import json_object
from connectors.types import Turn

ROLES: dict[str, Literal["user", "assistant", "system"]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
MESSAGES_MAX = 1000
Type = tuple[tuple[type, ...], str, str]
BOOLEAN: Type = ((bool,), "a boolean", "布尔值")
INTEGER: Type = ((int,), "an integer", "整数")
NUMBER: Type = ((int, float), "a number", "数字")
OBJECT: Type = ((dict,), "an object", "对象")
TYPES: dict[str, Type] = {
    **dict.fromkeys(("stream", "logprobs", "store", "parallel_tool_calls"), BOOLEAN),
    **dict.fromkeys(("n", "max_tokens", "max_completion_tokens", "seed", "top_logprobs"), INTEGER),
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), NUMBER),
    **dict.fromkeys(("stream_options", "response_format", "logit_bias", "metadata"), OBJECT),
    "user": ((str,), "a string", "文字"),
    "stop": ((str, list), "a string or an array", "文字或列表"),
    "tools": ((list,), "an array", "列表"),
}
SEEN = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", list: "an array", dict: "an object"}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asks for. `text` is the last user message, `history` everything before it."""

    model: str
    text: str
    history: tuple[Turn, ...]
    stream: bool
    include_usage: bool
    user: str


def parse(body: bytes) -> ChatRequest:
    """Read the body of `POST /v1/chat/completions`.

    Raises:
        ConnectorError: it is no JSON object, or a field is missing or of a wrong kind; `field` names it.
    """
    fields = json_object(body)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _wrong("model", "you must provide a model parameter", "必须给出 model 参数")
    turns = _turns(fields.get("messages"))
    if turns[-1].role != "user":
        raise _wrong("messages", "the last message must be of role 'user'", "最后一条消息必须来自 user")
    _check_types(TYPES, fields)
    if fields.get("n") not in (None, 1):
        raise _wrong("n", "only n = 1 is supported", "只支持 n = 1")
    options = fields.get("stream_options") or {}
    _check_types({"include_usage": BOOLEAN}, options, "stream_options.")
    return ChatRequest(
        model=model,
        text=turns[-1].text,
        history=tuple(turns[:-1]),
        stream=fields.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        user=fields.get("user") or "",
    )


def _check_types(types: Mapping[str, Type], fields: Mapping[str, Any], within: str = "") -> None:
    """What is of another type means something else than it would be taken for: also where it is not used here."""
    for name, (kinds, en, zh) in types.items():
        value = fields.get(name)
        if value is None or (isinstance(value, kinds) and isinstance(value, bool) <= (bool in kinds)):
            continue
        place, seen = within + name, SEEN.get(type(value), "a value")
        told = f"Invalid type for '{place}': expected {en}, but got {seen} instead."
        raise ConnectorError("invalid_type", f"{place} 应是{zh}", told, field=place)


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "messages must be a list with at least one message", "messages 应是非空的列表")
    if len(messages) > MESSAGES_MAX:
        raise _wrong("messages", f"at most {MESSAGES_MAX} messages are taken", f"最多 {MESSAGES_MAX} 条消息")
    turns = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise _wrong(where, f"{where} must be an object", f"{where} 应是对象")
        role = message.get("role")
        if role == "tool":
            continue  # results of tools the client ran: nothing a customer said
        if not isinstance(role, str) or role not in ROLES:
            raise _wrong(f"{where}.role", f"{where}.role is not one of {', '.join(ROLES)}", f"{where}.role 不认识")
        turns.append(Turn(ROLES[role], _text(message.get("content"), where)))
    if not turns:
        raise _wrong("messages", "messages holds nothing that a user said", "messages 里没有用户的话")
    return turns


def _text(content: Any, where: str) -> str:
    """Content is a text, or a list of parts of which the text ones count."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))
    raise _wrong(
        f"{where}.content", f"{where}.content must be a string or a list of parts", f"{where}.content 应是文字"
    )


@dataclass(frozen=True, slots=True)
class AdapterRequest:
    """An adapter to load or to let go of. `path` is "" where the client leaves it out."""

    name: str
    path: str


def parse_adapter(body: bytes) -> AdapterRequest:
    """Read the body of `POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter`. Source: vLLM, "Dynamically serving
    LoRA adapters".

    Raises:
        ConnectorError: it is no JSON object, or a field is missing or of a wrong kind; `field` names it.
    """
    fields = json_object(body)
    name, path = fields.get("lora_name"), fields.get("lora_path") or ""
    if not isinstance(name, str) or not name:
        raise _wrong("lora_name", "lora_name must be the name of an adapter", "lora_name 必须是适配器的名字")
    if not isinstance(path, str):
        raise _wrong("lora_path", "lora_path must be a string", "lora_path 必须是文字")
    return AdapterRequest(name, path)


def completion(reply_id: str, model: str, created: int, text: str, usage: dict[str, int]) -> dict[str, Any]:
    """The answer to a request that does not stream."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": reply_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
    }


def chunk(
    reply_id: str, model: str, created: int, delta: dict[str, str], finish_reason: str | None = None
) -> dict[str, Any]:
    """One piece of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**_chunk(reply_id, model, created), "choices": [choice]}


def usage_chunk(reply_id: str, model: str, created: int, usage: dict[str, int]) -> dict[str, Any]:
    """The piece after the last where the client asked for usage."""
    return {**_chunk(reply_id, model, created), "choices": [], "usage": usage}


def _chunk(reply_id: str, model: str, created: int) -> dict[str, Any]:
    return {"id": reply_id, "object": "chat.completion.chunk", "created": created, "model": model}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Tokens a model read and wrote; zero where the answer is the FAQ's own."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def model_list(names: Iterable[str], created: int) -> dict[str, Any]:
    """The answer of `GET /v1/models`."""
    return {"object": "list", "data": [model_card(name, created) for name in names]}


def model_card(name: str, created: int) -> dict[str, Any]:
    """One model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "kefu"}


def error(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _wrong(field: str, en: str, zh: str) -> ConnectorError:
    return ConnectorError("invalid_value", zh, en, status=400, field=field)
