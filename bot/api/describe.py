"""What a handler says about itself for the API description."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Description:
    """One operation. `body` and `query` are the models it reads; `response` the schema or model of what it sends."""

    summary: str
    body: type[BaseModel] | dict[str, Any] | None = None
    query: type[BaseModel] | None = None
    response: type[BaseModel] | dict[str, Any] | None = None
    status: int = 200
    content_type: str = "application/json"
    request_type: str = "application/json"
    who: str = ""
    tags: tuple[str, ...] = field(default=())


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def describe(summary: str, **parts: Any) -> Callable[[Decorated], Decorated]:
    """Attach a Description to a handler; the outermost of its decorators, above `@requires`."""

    def decorate(handler: Decorated) -> Decorated:
        vars(handler)["docs"] = Description(summary, who=getattr(handler, "role", "public"), **parts)
        return handler

    return decorate
