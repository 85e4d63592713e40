"""Other programs' ways in, on the whole service: Rasa's REST channel and the real `openai` client."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest

CAMPING = "帐篷能抗几级风"
GROUNDED = "帐篷 HW-6021 可抗 6 级风，超过 6 级请收起。"


@pytest.fixture
def client_of() -> Any:
    """An `openai` client for a running service."""

    def make(talk: Any, key: str | None = None) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{talk.url}/v1", api_key=key or talk.api_key, max_retries=0)

    return make


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def test_openai_whole_and_streamed(talk_with: Callable[..., Any], scripted: Any, client_of: Any) -> None:
    engine = scripted(GROUNDED, "帐内严禁生火。")
    talk = await talk_with(engine)
    async with client_of(talk) as client:
        names = [model.id async for model in await client.models.list()]
        assert names == ["kefu", "scripted", "shop-style"]
        direct = await client.chat.completions.create(model="kefu", messages=[user("我想退货")])
        assert direct.choices[0].message.content == "在「我的订单」里点**申请退货**，审核通过后寄回。"
        assert direct.usage is not None
        assert direct.usage.total_tokens == 0
        stream = await client.chat.completions.create(
            model="shop-style", messages=[user(CAMPING)], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [text for text in texts if text] == [GROUNDED, "帐内严禁生火。"]
        assert chunks[-1].usage is not None
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 2)
        assert engine.asked[-1][1] == "shop-style"


async def test_openai_choice_by_number_from_the_clients_own_history(talk: Any, client_of: Any) -> None:
    async with client_of(talk) as client:
        asked = await client.chat.completions.create(model="kefu", messages=[user("退货钱")])
        offer = asked.choices[0].message.content
        assert "\n1. " in offer
        second = offer.split("\n2. ")[1].splitlines()[0]
        said = [user("退货钱"), {"role": "assistant", "content": offer}, user("2")]
        answer = await client.chat.completions.create(model="kefu", messages=said)
        direct = await client.chat.completions.create(model="kefu", messages=[user(second)])
        assert answer.choices[0].message.content == direct.choices[0].message.content


async def test_openai_refusals(talk_with: Callable[..., Any], client_of: Any) -> None:
    talk = await talk_with(messages_per_minute=2)
    async with client_of(talk, "kefu_wrong") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
        assert refused.value.code == "invalid_api_key"
    visitor = await talk.begin()
    async with client_of(talk, visitor.token) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    async with client_of(talk) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="gpt-9", messages=[user("你好")])
        assert unknown.value.code == "model_not_found"
        for _ in range(2):
            await client.chat.completions.create(model="kefu", messages=[user("你好")], user="till-7")
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="kefu", messages=[user("你好")], user="till-7")


async def test_openai_client_leaving_stops_the_work(
    talk_with: Callable[..., Any], scripted: Any, client_of: Any
) -> None:
    engine = scripted(GROUNDED, *["帐内严禁生火。"] * 1000, pause_seconds=0.02)
    talk = await talk_with(engine)
    async with client_of(talk) as client:
        stream = await client.chat.completions.create(model="kefu", messages=[user(CAMPING)], stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.close()
    for _ in range(200):
        if engine.closed_early:
            break
        await asyncio.sleep(0.05)
    assert engine.closed_early
    assert engine.written < 500


async def test_rasa_rest(talk: Any) -> None:
    async def say(message: str, sender: Any = "u1", query: str = "") -> Any:
        body = {"sender": sender, "message": message}
        async with talk.client.post(f"/webhooks/rest/webhook{query}", json=body) as response:
            assert response.status == 200
            text = await response.text()
            return [json.loads(one) for one in text.splitlines()] if query else json.loads(text)

    async with talk.client.get("/webhooks/rest/") as response:
        assert await response.json() == {"status": "ok"}
    assert await say("我想退货") == [{"recipient_id": "u1", "text": "在「我的订单」里点**申请退货**，审核通过后寄回。"}]
    offered = await say("退货钱", 42)
    assert offered[0]["recipient_id"] == "42"
    buttons = offered[-1]["buttons"]
    assert buttons[0] == {"title": buttons[0]["title"], "payload": buttons[0]["title"]}
    picked = await say("1", 42)
    assert picked == await say(buttons[0]["payload"], "someone else") or picked[0]["recipient_id"] == "42"
    assert (await say("1", "nobody was offered anything"))[0]["text"].startswith("抱歉")
    assert await say("我想退货", query="?stream=true") == await say("我想退货")


async def test_rasa_rest_with_a_token(talk_with: Callable[..., Any]) -> None:
    talk = await talk_with(channels=({"kind": "rest", "name": "rest", "token": "s3cret"},))
    for query, status in (("", 401), ("?token=wrong", 401), ("?token=s3cret", 200)):
        async with talk.client.post(f"/webhooks/rest/webhook{query}", json={"message": "你好"}) as response:
            assert response.status == status


@pytest.fixture
async def whole_service(talk_with: Callable[..., Any], generator_folder: Any) -> AsyncIterator[Any]:
    from bot.dialogue.policy import Limits
    from bot.engines.local import LocalEngine

    engine = LocalEngine(generator_folder, "qwen")
    await engine.open()
    limits = Limits(generate_tokens_max=30, first_piece_seconds=120, generation_seconds=200)
    yield await talk_with(engine, limits=limits)
    await engine.close()


@pytest.mark.slow
async def test_the_real_client_the_real_service_and_the_real_models(whole_service: Any, client_of: Any) -> None:
    async with client_of(whole_service) as client:
        stream = await client.chat.completions.create(
            model="qwen",
            messages=[user("露营灯长期不用要多久充一次电")],
            stream=True,
            stream_options={"include_usage": True},
            timeout=250,
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "3" in text
    assert "个月" in text
    assert chunks[-1].usage.prompt_tokens > 50
