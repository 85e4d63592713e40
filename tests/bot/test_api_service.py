"""Signing in, roles, errors, headers, figures, health and the description, over real HTTP."""

import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from bot.api.bodies import check
from bot.api.faqs import FaqChange
from bot.api.search import SearchBody
from bot.api.training import TrainingBody
from bot.errors import InvalidError
from bot.security.limits import LIMITS
from bot.security.passwords import hash_password
from bot.security.redaction import MaskingFormatter
from bot.storage import audit, people
from bot.storage.tables import ConversationRow, FeedbackRow, MessageRow

PASSWORD = "correct horse battery"

READS = ["/api/faqs", "/api/documents", "/api/jobs", "/api/stats"]
WRITES = [
    ("POST", "/api/faqs"),
    ("PATCH", "/api/faqs/x"),
    ("DELETE", "/api/faqs/x"),
    ("POST", "/api/documents"),
    ("DELETE", "/api/documents/x"),
    ("POST", "/api/jobs/x/cancel"),
]


@pytest.fixture(scope="session")
def password_hash() -> str:
    """One slow hash for all tests."""
    import asyncio

    return asyncio.run(hash_password(PASSWORD))


@pytest.fixture
async def anna(service, password_hash):
    async with service.database.session() as session:
        await people.add_user(session, "anna", "editor", password_hash)
    return service


async def sign_in(service, username="anna", password=PASSWORD, **headers):
    return await service.call(
        "POST", "/api/login", None, json={"username": username, "password": password}, headers=headers
    )


async def test_sign_in_use_and_sign_out(anna):
    assert (await anna.call("GET", "/api/me", None))[0] == 401
    assert await sign_in(anna) == (200, {"name": "anna", "role": "editor"})
    (cookie,) = list(anna.client.session.cookie_jar)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert await anna.call("GET", "/api/me", None) == (200, {"name": "anna", "role": "editor"})
    status, _ = await anna.call("POST", "/api/faqs", None, json={"question": "q", "answer": "a"})
    assert status == 201
    token = cookie.value
    assert (await anna.call("POST", "/api/logout", None))[0] == 204
    headers = {"Cookie": f"kefu_session={token}"}
    assert (await anna.call("GET", "/api/me", None, headers=headers))[
        0
    ] == 401  # ended on the server, not only forgotten
    async with anna.database.reading() as session:
        deeds = [(deed.actor, deed.action) for deed in await audit.recent(session)]
    assert deeds == [("user:anna", "faqs.add"), ("user:anna", "sign_in")]


async def test_wrong_password_and_unknown_name_look_the_same(anna):
    wrong = await sign_in(anna, password="something else")
    unknown = await sign_in(anna, username="nobody")
    assert wrong[0] == 401
    assert wrong == unknown
    assert wrong[1]["error"]["code"] == "wrong_credentials"


async def test_guessing_is_slowed_down(anna, monkeypatch):
    monkeypatch.setattr(anna.client.app[LIMITS].sign_ins, "_clock", lambda: 0.0)  # however slow this machine is
    answers = [await sign_in(anna, password="wrong guess") for _ in range(12)]
    assert [status for status, _ in answers[:10]] == [401] * 10
    assert answers[10][0] == 429
    assert answers[10][1]["error"]["details"]["retry_after_seconds"] >= 1
    assert (await sign_in(anna))[0] == 429  # even the right one: nothing is learnt


async def test_a_page_of_another_site_can_do_nothing_with_the_cookie(anna):
    assert (await sign_in(anna, Origin="https://evil.example.com"))[0] == 403
    await sign_in(anna)
    body = {"question": "q", "answer": "a"}
    for headers in ({"Origin": "https://evil.example.com"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        status, answer = await anna.call("POST", "/api/faqs", None, json=body, headers=headers)
        assert (status, answer["error"]["code"]) == (403, "cross_origin")
    own = {"Origin": str(anna.client.make_url("/")).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert (await anna.call("POST", "/api/faqs", None, json=body, headers=own))[0] == 201


async def test_the_role_matrix(service):
    for path in READS:
        for role, expected in ((None, 401), ("api", 403), ("viewer", 200), ("agent", 200), ("admin", 200)):
            assert (await service.call("GET", path, role))[0] == expected, (path, role)
    for method, path in WRITES:
        for role, expected in ((None, 401), ("api", 403), ("viewer", 403), ("agent", 403)):
            assert (await service.call(method, path, role, json={}))[0] == expected, (method, path, role)
        for role in ("editor", "admin"):
            assert (await service.call(method, path, role, json={}))[0] in (400, 404), (method, path, role)


@pytest.mark.parametrize("token", ["kefu_wrong", "", "x" * 7_000, "kefu_\u00e9"])
async def test_wrong_keys_are_401(service, token):
    status, body = await service.call("GET", "/api/faqs", None, headers={"Authorization": f"Bearer {token}"})
    assert (status, body["error"]["code"]) == (401, "unauthorized")


async def test_a_revoked_key_stops_working_at_once(service):
    assert (await service.call("GET", "/api/faqs", "viewer"))[0] == 200
    async with service.database.session() as session:
        await people.revoke_key(session, "viewer")
    assert (await service.call("GET", "/api/faqs", "viewer"))[0] == 401


async def test_errors_speak_the_callers_language_and_keep_the_form(service):
    for language, text in (("zh-CN,zh;q=0.9", "没有"), ("en-GB", "There is"), ("fr", "没有"), ("", "没有")):
        status, body = await service.call("GET", "/api/faqs/x", headers={"Accept-Language": language})
        assert status == 404
        assert text in body["error"]["message"]
        assert set(body["error"]) == {"code", "message", "details"}
    assert (await service.call("GET", "/api/nowhere"))[1]["error"]["code"] == "not_found"
    status, body = await service.call("PUT", "/api/faqs")
    assert (status, body["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("model", "value", "message"),
    [
        (SearchBody, {"query": None}, "query must be text, not empty, not null"),
        (SearchBody, {"query": "q", "k": 0}, "k must be an integer from 1 to 100, not 0"),
        (FaqChange, {"tags": ["a", None]}, "tags.1 must be text, not null"),
        (FaqChange, {"tags": {"a": None}}, 'tags must be a list (each item text), not {"a": null}'),
        (TrainingBody, {"kind": "encoder", "options": {"rank": "many"}}, "options.rank must be a number, not 'many'"),
        (TrainingBody, {"kind": "encoder", "options": {"rank": None}}, "options.rank must be a number, not null"),
        (TrainingBody, {"kind": "encoder", "options": [1]}, "options must be an object of at most 30 members, not [1]"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_sent_and_what_is_expected(model, value, message):
    with pytest.raises(InvalidError) as caught:
        check(model, value)
    assert caught.value.en == message


@pytest.mark.parametrize("data", [b"{", b"[1]", b'"x"', b"\xff\xfe", b"[" * 100_000, b"nan"])
async def test_bodies_that_are_no_json_object(service, data):
    status, body = await service.call("POST", "/api/faqs", data=data)
    assert (status, body["error"]["code"]) == (400, "invalid_json")


async def test_bodies_nested_too_deep(service):
    data = b'{"question": "x", "answer": "y", "tags": ' + b"[" * 900 + b"]" * 900 + b"}"
    status, body = await service.call("POST", "/api/faqs", data=data, headers={"Accept-Language": "en"})
    assert (status, "nested too deep" in body["error"]["message"]) == (400, True)


async def test_a_body_over_the_limit(service):
    status, body = await service.call("POST", "/api/faqs", data=io.BytesIO(b" " * (1024 * 1024 + 1)))
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_a_fault_inside_leaves_without_a_trace(service, monkeypatch, caplog):
    from bot.storage import knowledge

    async def broken(*_args, **_more):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(knowledge, "list_entries", broken)
    with caplog.at_level(logging.ERROR):
        status, body = await service.call("GET", "/api/faqs")
    assert status == 500
    assert "secret" not in json.dumps(body)
    assert body["error"]["details"]["request_id"] in caplog.text
    assert "secret detail" in caplog.text


async def test_every_response_has_the_safe_headers_and_an_id(service):
    for path in ("/api/faqs", "/healthz", "/nowhere"):
        async with service.client.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["X-Request-ID"]
    async with service.client.get("/healthz", headers={"X-Request-ID": "abc-1"}) as response:
        assert response.headers["X-Request-ID"] == "abc-1"
    async with service.client.get("/healthz", headers={"X-Request-ID": "a b{}"}) as response:
        assert response.headers["X-Request-ID"] != "a b{}"


@pytest.mark.parametrize(
    ("id_", "random"), [("8VX8rQq12345678abcdefg", True), ("8vx_13812345678", False), ("13812345678", False)]
)
async def test_the_random_id_of_a_request_is_found_in_the_access_log(service, caplog, id_, random):
    caplog.handler.setFormatter(MaskingFormatter("%(message)s"))
    with caplog.at_level(logging.INFO, "kefu.access"):
        async with service.client.get("/api/me", headers={"X-Request-ID": id_}) as response:
            await response.read()
    assert response.headers["X-Request-ID"] == id_
    assert "/api/me 401" in caplog.text
    assert (id_ in caplog.text) == random


async def test_the_access_log_has_no_query_and_no_text(service, caplog):
    with caplog.at_level(logging.INFO, "kefu.access"):
        await service.call("GET", "/api/faqs?q=13800138000")
        await service.call("POST", "/api/search", json={"query": "我的电话13800138000"})
    assert "/api/search" in caplog.text
    assert "13800138000" not in caplog.text


async def test_health_readiness_and_metrics(service):
    assert (await service.call("GET", "/healthz", None))[0] == 200
    assert await service.call("GET", "/readyz", None) == (200, {"status": "ready", "parts": {"knowledge": True}})
    async with service.client.get("/metrics") as response:
        text = await response.text()
    assert 'kefu_http_requests_total{method="GET",route="/readyz",status="200"} 1.0' in text
    assert "kefu_ready 1.0" in text
    # Through a proxy that is not in the list nobody can be told from this machine itself.
    async with service.client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}) as response:
        assert response.status == 401
    headers = {"X-Forwarded-For": "203.0.113.9", "Authorization": f"Bearer {service.tokens['viewer']}"}
    async with service.client.get("/metrics", headers=headers) as response:
        assert response.status == 200


async def test_the_description_covers_every_route(service):
    status, document = await service.call("GET", "/api/openapi.json", None)
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert {"get", "post"} <= set(document["paths"]["/api/faqs"])
    assert set(document["paths"]["/api/faqs/{id}"]) == {"get", "patch", "delete"}
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert all(one["summary"] and one["responses"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert document["paths"]["/api/faqs"]["post"]["security"] == [{"cookie": []}, {"key": []}]
    assert "security" not in document["paths"]["/api/login"]["post"]
    text = json.dumps(document)
    for name in set(text.split('"#/components/schemas/')[1:]):
        assert name.split('"')[0] in document["components"]["schemas"]


async def test_figures(service):
    today = datetime.now(UTC).replace(tzinfo=None)
    async with service.database.session() as session:
        for number, (age, imported) in enumerate([(0, False), (1, False), (0, True), (200, False)]):
            moment = today - timedelta(days=age)
            times = {"created_at": moment, "updated_at": moment}
            session.add(ConversationRow(id=f"c{number}", channel="web", imported=imported, **times))
            await session.flush()
            session.add(
                MessageRow(id=f"u{number}", conversation_id=f"c{number}", role="user", text="x", created_at=moment)
            )
            for step, latency in enumerate((10, 20, 30)):
                session.add(
                    MessageRow(
                        id=f"b{number}{step}",
                        conversation_id=f"c{number}",
                        role="bot",
                        text="y",
                        decision="answer" if step else "clarify",
                        latency_ms=latency,
                        created_at=moment,
                    )
                )
        await session.flush()
        session.add(FeedbackRow(message_id="b00", rating="up", created_at=today))
    await service.call("POST", "/api/faqs", json={"question": "q", "answer": "a"})
    status, body = await service.call("GET", "/api/stats", "viewer")
    assert status == 200
    assert (body["conversations"], body["messages"], body["entries"]) == (2, 8, 1)
    assert body["decisions"] == {"answer": 4, "clarify": 2}
    assert body["feedback"] == {"up": 1, "down": 0}
    assert body["latency_ms"] == {"p50": 20, "p95": 30}
    assert len(body["days"]) == 30
    assert sum(day["messages"] for day in body["days"]) == 8
    status, body = await service.call("GET", "/api/stats?from=2026-02-01&to=2026-01-01", "viewer")
    assert (status, body["error"]["code"]) == (400, "wrong_period")
    status, body = await service.call("GET", "/api/stats?from=yesterday", "viewer")
    assert (status, body["error"]["code"]) == (400, "invalid_field")


async def test_what_is_not_there_under_v1_is_said_in_openais_form(service):
    for method, path, status in (("POST", "/v1/embeddings", 404), ("GET", "/v1/no/such/thing", 404)):
        got, body = await service.call(method, path, None)
        assert (got, body["error"]["type"], body["error"]["param"]) == (status, "invalid_request_error", None)
        assert body["error"]["message"] == f"Invalid URL ({method} {path})"
