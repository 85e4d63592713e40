"""Signing in and out of the console."""

from aiohttp import web
from pydantic import Field

from bot import keys
from bot.api.bodies import Body, read
from bot.api.describe import describe
from bot.errors import ForbiddenError, KefuError, UnauthorizedError
from bot.security.access import COOKIE, authorise, identify
from bot.security.addresses import client_address, is_https, is_same_origin
from bot.security.limits import LIMITS
from bot.security.passwords import new_token, token_hash, verify_password
from bot.storage import audit, people

ME = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "role": {"type": "string"}},
    "required": ["name", "role"],
}


class Credentials(Body):
    """A name and a password."""

    username: str = Field(min_length=1, max_length=128)
    password: str = Field(min_length=1, max_length=256)


class WrongCredentialsError(KefuError):
    """The same words for an unknown name and a wrong password: nobody learns which names exist."""

    status = 401

    def __init__(self) -> None:
        super().__init__("wrong_credentials", "用户名或密码不对", "The user name or the password is wrong")


@describe("Sign in; sets the session cookie", body=Credentials, response=ME)
async def login(request: web.Request) -> web.Response:
    settings, database, limits = request.app[keys.SETTINGS], request.app[keys.DATABASE], request.app[LIMITS]
    if not is_same_origin(request):
        raise ForbiddenError(
            "cross_origin", "请求来自其他网站，已拒绝", "The request came from another site and was refused"
        )
    given = await read(request, Credentials)
    address = client_address(request, settings.trusted_proxies)
    attempts = (f"address {address}", f"name {given.username}")
    for attempt in attempts:
        limits.sign_ins.admit(attempt)
    async with database.reading() as session:
        user = await people.find_user(session, given.username)
    if not await verify_password(user.password_hash if user else None, given.password) or user is None:
        async with database.session() as session:
            await audit.record(session, "anonymous", "sign_in.refused", given.username if user else "")
        raise WrongCredentialsError
    token = new_token()
    async with database.session() as session:
        await people.sign_in(session, user.id, token_hash(token), settings.session_hours)
        await audit.record(session, f"user:{user.name}", "sign_in")
    for attempt in attempts:
        limits.sign_ins.forgive(attempt)
    response = web.json_response({"name": user.name, "role": user.role})
    response.set_cookie(
        COOKIE,
        token,
        max_age=round(settings.session_hours * 3600),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=is_https(request, settings.trusted_proxies),
    )
    return response


@describe("Sign out; ends the session", status=204)
async def logout(request: web.Request) -> web.Response:
    cookie = request.cookies.get(COOKIE)
    if cookie and await identify(request):
        await authorise(request, "viewer")
        async with request.app[keys.DATABASE].session() as session:
            await people.sign_out(session, token_hash(cookie))
    response = web.Response(status=204)
    response.del_cookie(COOKIE, path="/")
    return response


@describe("Who is signed in", response=ME)
async def me(request: web.Request) -> web.Response:
    person = await identify(request)
    if person is None:
        raise UnauthorizedError
    return web.json_response({"name": person.name, "role": person.role})


routes = [web.post("/api/login", login), web.post("/api/logout", logout), web.get("/api/me", me)]
