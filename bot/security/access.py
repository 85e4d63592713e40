"""Who may do what: staff by cookie, programs by key."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Literal

from aiohttp import web

from bot import keys
from bot.errors import DiskFullError, ForbiddenError, UnauthorizedError
from bot.security.addresses import SAFE_METHODS, is_same_origin
from bot.security.passwords import KEY_PREFIX, token_hash
from bot.storage import people

Role = Literal["viewer", "agent", "editor", "admin", "api"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "kefu_session"
STAFF_ROLES: tuple[Role, ...] = ("viewer", "agent", "editor", "admin")
ROLES: tuple[Role, ...] = (*STAFF_ROLES, "api")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a person by cookie or a program by key."""

    id: str
    name: str
    role: str
    via: Literal["cookie", "key"]

    @property
    def actor(self) -> str:
        """How the audit names them."""
        return f"{'user' if self.via == 'cookie' else 'key'}:{self.name}"

    def may(self, role: Role) -> bool:
        """Whether this role includes the one asked for. Chat endpoints (`api`) are open to staff from agent up."""
        if role == "api":
            return self.role in ("api", "agent", "editor", "admin")
        return self.role in STAFF_ROLES and STAFF_ROLES.index(self.role) >= STAFF_ROLES.index(role)


def bearer(request: web.Request) -> str | None:
    """The token of `Authorization: Bearer TOKEN` (RFC 6750)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def identify(request: web.Request) -> Principal | None:
    """The staff member or program that sent the request, None for anybody else. Looked up once a request."""
    if keys.PERSON in request:
        return request[keys.PERSON]
    token = bearer(request)
    cookie = request.cookies.get(COOKIE)
    principal = None
    if token and token.startswith(KEY_PREFIX):
        principal = await _by_key(request, token)
    elif cookie:
        async with request.app[keys.DATABASE].reading() as session:
            user = await people.signed_in(session, token_hash(cookie))
        principal = Principal(user.id, user.name, user.role, "cookie") if user else None
    if principal:
        request[keys.PERSON] = principal
    return principal


async def _by_key(request: web.Request, token: str) -> Principal | None:
    database = request.app[keys.DATABASE]
    async with database.reading() as session:
        key = await people.find_key(session, token_hash(token))
    if key is None:
        return None
    if people.use_is_stale(key):
        with suppress(DiskFullError):  # no reason to turn anyone away
            async with database.session() as session:
                await people.touch_key(session, key.id)
    return Principal(key.id, key.name, key.role, "key")


async def is_still(request: web.Request, role: Role) -> bool:
    """Whether who sent a request that stays open for long may still do so: keys are revoked, and sign-ins end."""
    del request[keys.PERSON]
    principal = await identify(request)
    return principal is not None and principal.may(role)


async def authorise(request: web.Request, role: Role) -> Principal:
    """The principal, if it may.

    Raises:
        UnauthorizedError: nobody, or a key or sign-in that is no longer valid.
        ForbiddenError: known, but the role does not include this; or a cookie sent from another site's page.
    """
    principal = await identify(request)
    if principal is None:
        raise UnauthorizedError
    if principal.via == "cookie" and request.method not in SAFE_METHODS and not is_same_origin(request):
        raise ForbiddenError(
            "cross_origin", "请求来自其他网站，已拒绝", "The request came from another site and was refused"
        )
    if not principal.may(role):
        raise ForbiddenError(
            "forbidden",
            f"需要 {role} 权限，您的角色是 {principal.role}",
            f"This needs the role {role}; yours is {principal.role}",
            {"needs": role, "role": principal.role},
        )
    return principal


def requires(role: Role) -> Callable[[Handler], Handler]:
    """Decorates a handler: only for this role and those that include it; `request[keys.PERSON]` is set in it."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            await authorise(request, role)
            return await handler(request)

        vars(guarded)["role"] = role  # the API description reads it
        return guarded

    return decorate
