"""Around every request: an id, the headers of a safe page, errors as JSON, metrics, one line of access log."""

import logging
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.typedefs import Handler

from bot import keys
from bot.errors import KefuError, TooManyRequestsError
from bot.language import Language, accepted_language, accepted_tag
from bot.metrics import METRICS, Metrics
from bot.security.addresses import client_address
from bot.security.limits import LIMITS, Limits
from bot.storage.values import new_id
from connectors.openai import wire as openai

if TYPE_CHECKING:
    from bot.config import Settings

# What proxies and programs draw at random (nginx's $request_id, a UUID), as `new_id` does: no number of a person.
RANDOM_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[A-Za-z0-9]{22}", re.IGNORECASE)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Pages bring their own, wider policy; anything else is data and may load nothing at all.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Asked every few seconds by whatever watches the service.
QUIET_PATHS = {"/healthz", "/readyz", "/metrics"}
OPENAI_PATHS = "/v1/"
JSON_PATHS = ("/api/", OPENAI_PATHS, "/webhooks/")

STATUS_CODES = {
    400: ("bad_request", "请求的格式不对", "The request is not well formed"),
    403: ("forbidden", "没有权限", "Not allowed"),
    404: ("not_found", "没有这个地址", "There is nothing at this address"),
    405: ("method_not_allowed", "这个地址不支持该方法", "This address does not take that method"),
    413: ("too_large", "请求太大", "The request is too large"),
    415: ("unsupported_media_type", "不支持这种内容类型", "This content type is not supported"),
}

access_log = logging.getLogger("kefu.access")
log = logging.getLogger("kefu.http")


def install(app: web.Application, settings: "Settings") -> None:
    """Give an application everything of this module, its rate limits and its metrics."""
    app[LIMITS] = Limits(settings.sessions_per_minute, settings.messages_per_minute)
    app[keys.KNOWN_TOKENS] = OrderedDict()
    app[METRICS] = Metrics()
    app.middlewares.append(observe)
    app.middlewares.append(answer_errors)
    app.on_response_prepare.append(_add_headers)


def language_of(request: web.BaseRequest) -> Language:
    """The language the caller reads; `?lang=` wins, for browsers' WebSockets have no say in their headers."""
    return accepted_language(_read_by(request))


def tag_of(request: web.BaseRequest) -> str:
    """The same, with the characters that the caller reads: see `accepted_tag`."""
    return accepted_tag(_read_by(request))


def _read_by(request: web.BaseRequest) -> str | None:
    return request.query.get("lang") or request.headers.get("Accept-Language")


def error_body(error: KefuError, language: Language) -> dict[str, Any]:
    """The contract's error document."""
    return {"error": {"code": error.code, "message": error.text(language), "details": error.details}}


def error_response(error: KefuError, language: Language) -> web.Response:
    """An error as an HTTP response."""
    headers = {}
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.json_response(error_body(error, language), status=error.status, headers=headers)


def as_kefu_error(error: BaseException) -> KefuError | None:
    """A leaf's error (it has `code`, `zh`, `en`) as one of ours: something was wrong with what was sent."""
    if isinstance(error, KefuError):
        return error
    parts = [getattr(error, name, None) for name in ("code", "zh", "en")]
    if not all(isinstance(part, str) for part in parts):
        return None
    ours = KefuError(*(str(part) for part in parts))
    ours.status = 400
    return ours


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Request id, metrics, and a log line without query string, names or message text."""
    given = request.headers.get("X-Request-ID", "")
    request[keys.REQUEST_ID] = given if SAFE_ID.fullmatch(given) else new_id()
    started = time.perf_counter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    except web.HTTPException as raised:
        status = raised.status
        raise
    finally:
        seconds = time.perf_counter() - started
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "-"
        metrics = request.app[METRICS]
        metrics.requests.labels(request.method, route, status).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        level = logging.DEBUG if request.path in QUIET_PATHS else logging.INFO
        access_log.log(
            level,
            "%s %s %s %.0fms %s %s",
            request.method,
            route,
            status,
            seconds * 1000,
            client_address(request, request.app[keys.SETTINGS].trusted_proxies),
            request[keys.REQUEST_ID],
            extra=_kept(request),
        )


def _kept(request: web.Request) -> dict[str, Any]:
    """For a line of the log: the request's id where no mask may touch it, and whether any of the line needs one."""
    id_ = request[keys.REQUEST_ID]
    if not RANDOM_ID.fullmatch(id_):
        return {}
    return {"request_id": id_, "impersonal": request.method in METHODS}


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors leave as the contract's JSON, in the caller's language, and never with a stack trace."""
    language = language_of(request)
    try:
        return await handler(request)
    except web.HTTPException as raised:
        if raised.status < 400 or not request.path.startswith(JSON_PATHS):
            raise
        code, zh, en = STATUS_CODES.get(raised.status, ("http_error", raised.reason, raised.reason))
        ours = KefuError(code, zh, en)
        ours.status = raised.status
        response = _shown(request, ours, language)
        if raised.status == 405:
            response.headers["Allow"] = raised.headers.get("Allow", "")
        return response
    except ConnectionResetError:
        raise  # the client went away: there is nobody to answer
    except Exception as failure:
        known = as_kefu_error(failure)
        if known is None or known.status == 500:
            log.exception("request %s failed", request[keys.REQUEST_ID], extra=_kept(request))
        if known is None:
            known = KefuError(
                "internal", "服务内部出错，已记录", "Something went wrong inside; it has been logged",
                {"request_id": request[keys.REQUEST_ID]},
            )  # fmt: skip
        return _shown(request, known, language)


def _shown(request: web.Request, error: KefuError, language: Language) -> web.Response:
    """In the form of who is asked for: programs that talk to OpenAI read OpenAI's own."""
    if not request.path.startswith(OPENAI_PATHS):
        return error_response(error, language)
    message = f"Invalid URL ({request.method} {request.path})" if error.status == 404 else error.en
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return web.json_response(openai.error(message, kind, error.code), status=error.status)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", DATA_POLICY)
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    if keys.REQUEST_ID in request:
        response.headers["X-Request-ID"] = request[keys.REQUEST_ID]
