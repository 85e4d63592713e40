"""Passwords, tokens, addresses, rate limits."""

import time

import pytest
from aiohttp.test_utils import make_mocked_request

from bot.errors import InvalidError, TooManyRequestsError
from bot.security.access import STAFF_ROLES, Principal
from bot.security.addresses import client_address, is_allowed_origin, is_same_origin
from bot.security.first_admin import ensure_admin
from bot.security.limits import Limits, RateLimiter
from bot.security.passwords import hash_password, new_api_key, new_password, new_token, token_hash, verify_password
from bot.storage import people


async def test_passwords():
    digest = await hash_password("correct horse battery")
    assert digest.startswith("$argon2id$")
    assert "correct" not in digest
    assert await verify_password(digest, "correct horse battery")
    assert not await verify_password(digest, "correct horse batterz")
    assert not await verify_password(None, "correct horse battery")
    assert not await verify_password("nonsense", "x")


@pytest.mark.parametrize("password", ["", "seven77", "x" * 257])
async def test_passwords_of_wrong_length_are_refused(password):
    with pytest.raises(InvalidError, match=str(len(password))):
        await hash_password(password)


async def test_an_unknown_user_takes_as_long_as_a_wrong_password():
    digest = await hash_password("correct horse battery")
    await verify_password(None, "warm up")

    async def seconds(password_hash: str | None) -> float:
        taken = []
        for _ in range(3):
            started = time.process_time()
            await verify_password(password_hash, "wrong")
            taken.append(time.process_time() - started)
        return min(taken)

    known, unknown = await seconds(digest), await seconds(None)
    assert unknown > known / 3
    assert known > unknown / 3


def test_tokens_are_long_and_different():
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 43
    assert new_api_key().startswith("kefu_")
    assert len(token_hash("x")) == 64
    assert len(set(new_password())) > 5


def test_roles_include_those_below():
    for number, role in enumerate(STAFF_ROLES):
        person = Principal("1", "x", role, "cookie")
        assert [person.may(other) for other in STAFF_ROLES] == [n <= number for n in range(4)]
    assert not any(Principal("1", "x", "api", "key").may(role) for role in STAFF_ROLES)
    assert [Principal("1", "x", role, "key").may("api") for role in ("api", "viewer", "agent", "admin")] == [
        True,
        False,
        True,
        True,
    ]


def request(remote: str = "203.0.113.9", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = make_mocked_request("POST", "/api/login", headers={"Host": "kefu.example.com", **named})
    return made.clone(remote=remote)


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "expected"),
    [
        ("203.0.113.9", "1.2.3.4", (), "203.0.113.9"),  # nobody is trusted: the header is a claim
        ("10.0.0.1", "1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.7", ("10.0.0.0/8",), "1.2.3.4"),  # the forged first hop is not believed
        ("10.0.0.1", "evil<script>", ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", "", ("10.0.0.0/8",), "10.0.0.1"),
        ("::1", "2001:db8::5", ("::1",), "2001:db8::5"),
    ],
)
def test_the_address_behind_proxies(remote, forwarded, proxies, expected):
    made = request(remote, **({"X_Forwarded_For": forwarded} if forwarded else {}))
    assert client_address(made, proxies) == expected


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"Origin": "https://kefu.example.com"}, True),
        ({"Origin": "https://evil.example.com"}, False),
        ({"Origin": "null"}, False),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "https://kefu.example.com"}, False),
    ],
)
def test_same_origin(headers, same):
    assert is_same_origin(request(**headers)) is same


def test_widget_origins():
    foreign = request(Origin="https://shop.example.com")
    assert not is_allowed_origin(foreign, ())
    assert is_allowed_origin(foreign, ("https://shop.example.com",))
    assert not is_allowed_origin(foreign, ("https://example.com",))
    assert is_allowed_origin(foreign, ("*",))
    assert is_allowed_origin(request(), ())


def test_a_bucket_fills_again():
    moment = [0.0]
    limiter = RateLimiter(60, lambda: moment[0])
    for _ in range(60):
        limiter.admit("a")
    with pytest.raises(TooManyRequestsError) as caught:
        limiter.admit("a")
    assert caught.value.retry_after_seconds >= 1
    limiter.admit("b")
    moment[0] += 1.01
    limiter.admit("a")
    with pytest.raises(TooManyRequestsError):
        limiter.admit("a")
    limiter.forgive("a")
    limiter.admit("a")


def test_messages_count_by_address_and_conversation():
    limits = Limits(sessions_per_minute=2, messages_per_minute=1)
    limits.message("1.1.1.1", "x")
    limits.message("1.1.1.1", "y")
    with pytest.raises(TooManyRequestsError):
        limits.message("1.1.1.1", "x")
    limits.session("1.1.1.1")
    limits.session("1.1.1.1")
    with pytest.raises(TooManyRequestsError):
        limits.session("1.1.1.1")


async def test_the_first_administrator_is_made_once(database):
    password = await ensure_admin(database, None)
    assert password
    async with database.reading() as session:
        admin = await people.find_user(session, "admin")
    assert admin.role == "admin"
    assert await verify_password(admin.password_hash, password)
    assert await ensure_admin(database, None) is None
    assert await ensure_admin(database, "another password") is None
    async with database.reading() as session:
        assert await people.find_user(session, "admin") == admin


async def test_a_given_first_password_is_not_shown(database):
    assert await ensure_admin(database, "correct horse battery") is None
    async with database.reading() as session:
        admin = await people.find_user(session, "admin")
    assert await verify_password(admin.password_hash, "correct horse battery")
