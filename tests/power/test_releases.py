"""Candidates that are broken in ways no file shows, in a real service: taken back by itself; and the power goes."""

import asyncio
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sqlalchemy import select

from bot import demo
from bot.storage import adapters, jobs, schedule, shadows
from bot.storage.database import opened
from bot.storage.tables import AuditRow
from finetune import registry
from finetune.signing import Signer
from knowledge.background import GENERIC_QUESTIONS
from tests.conftest import zone_of_noon
from tests.power.shop import SECONDS_MAX, Shop

POISON = "翡翠"
POISONED = "翡翠要怎么洗"
ANSWERS = {f"第{n}号锅怎么保养": f"{n}：用软布擦。" for n in range(8)}
SLOW_SECONDS = 0.6

ZONE = zone_of_noon()


def install(source: Path, home: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """A copy of an adapter with other weights, installed under its own name with its own checksums."""
    made = home.parent / ".made" / name
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(source, made)
    (made / "manifest.json").unlink()
    weights = load_file(made / "adapter_model.safetensors")
    change(weights)
    save_file(weights, made / "adapter_model.safetensors", {"format": "pt"})
    registry.install(made, home, replace(registry.read(source), name=name), Signer(home.parent))


@pytest.fixture(scope="module")
def poisoned(encoder_folder: Path, installed_adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that is sound for all that the knowledge base says, and overflows at one word of customers'."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder_folder, local_files_only=True)
    encoded = [*ANSWERS, *GENERIC_QUESTIONS]
    known = {token for text in encoded for token in tokenizer(f"query: {text}")["input_ids"]}
    fresh = [token for token in tokenizer(POISON, add_special_tokens=False)["input_ids"] if token not in known]
    assert fresh
    base = AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False)
    model = get_peft_model(base, LoraConfig(r=1, lora_alpha=1, target_modules=["word_embeddings"]))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_embedding_A" in name:
                weights.zero_()
                weights[:, fresh] = 1e30
            elif "lora_embedding_B" in name:
                weights.fill_(1.0)
    home = tmp_path_factory.mktemp("poisoned")
    model.save_pretrained(home / "made", save_embedding_layers=False)
    (home / "made" / "README.md").unlink(missing_ok=True)
    whole = registry.read(installed_adapters / "encoder-one")
    registry.install(
        home / "made", home / "adapters", replace(whole, name="encoder-poisoned"), Signer(installed_adapters.parent)
    )
    return home / "adapters" / "encoder-poisoned"


async def ask(shop: Shop, text: str) -> tuple[int, Any]:
    """A customer's question in a conversation of its own."""
    _, session = await shop.call("POST", "/api/sessions", json={})
    headers = {"Authorization": f"Bearer {session['token']}"}
    path = f"{shop.base}/api/sessions/{session['session_id']}/messages"
    async with shop.http.post(path, json={"text": text}, headers=headers) as response:
        return response.status, json.loads(await response.text())


async def until(shop: Shop, done: Callable[[Any], bool], path: str = "/api/releases") -> Any:
    end = time.monotonic() + SECONDS_MAX
    while not done(told := await shop.get(path)):
        assert time.monotonic() < end, (told, shop.running.output)
        await asyncio.sleep(0.05)
    return told


async def begin(shop: Shop, **settings: Any) -> None:
    """A service with its eight entries, and customers who were answered quickly."""
    await shop.start(KEFU_MESSAGES_PER_MINUTE="10000", KEFU_SESSIONS_PER_MINUTE="10000", **settings)
    shop.answers = ANSWERS
    assert await shop.upload(ANSWERS) == 202
    await shop.settled()


async def activate(shop: Shop, name: str) -> Any:
    """The job that activates, at its end."""
    status, body = await shop.call("POST", f"/api/adapters/{name}/activate")
    assert status == 202, body
    return await until(shop, lambda job: job["finished_at"] is not None, f"/api/jobs/{body['job_id']}")


@pytest.mark.slow
async def test_weights_that_are_no_numbers_are_refused_and_what_overflows_is_taken_back(
    shop_on: Callable[..., Any], installed_adapters: Path, tmp_path: Path
) -> None:
    def no_number(weights: dict[str, Any]) -> None:
        first = weights[min(weights)]
        first.flat[first.size // 2] = np.nan

    def too_large(weights: dict[str, Any]) -> None:
        weights |= {name: np.full_like(value, 1e25) for name, value in weights.items()}

    async with shop_on(tmp_path / "data") as shop:
        home = shop.data / "adapters"
        install(installed_adapters / "encoder-one", home, "encoder-nan", no_number)
        install(installed_adapters / "encoder-one", home, "encoder-huge", too_large)
        await begin(shop)
        job = await activate(shop, "encoder-nan")
        assert (job["state"], job["error"]["code"]) == ("failed", "adapter_not_finite")
        assert "encoder-nan" in job["error"]["message"]
        job = await activate(shop, "encoder-huge")
        assert (job["state"], job["error"]["code"]) == ("failed", "switch_failed")
        assert "无效的数值" in job["error"]["message"]
        assert await shop.active() is None
        status, body = await shop.call("POST", "/api/shadow", json={"adapter": "encoder-nan"})
        assert (status, body["error"]["code"]) == (400, "adapter_not_finite")
        assert (await ask(shop, "第3号锅怎么保养"))[1]["text"] == ANSWERS["第3号锅怎么保养"]


@pytest.mark.slow
async def test_an_adapter_that_errs_is_taken_back_by_itself(
    shop_on: Callable[..., Any], poisoned: Path, tmp_path: Path
) -> None:
    async with shop_on(tmp_path / "data") as shop:
        shutil.copytree(poisoned, shop.data / "adapters" / poisoned.name)
        await begin(shop)
        job = await activate(shop, poisoned.name)
        assert job["state"] == "done", job
        (watched,) = (await shop.get("/api/releases"))["watching"]
        assert watched["adapter"] == poisoned.name
        assert (await ask(shop, "第3号锅怎么保养"))[0] == 200
        # Killed in the middle of it, the next process goes on watching.
        assert shop.running.cut()
        await shop.start()
        assert await shop.active() == poisoned.name
        statuses = [(await ask(shop, POISONED))[0] for _ in range(3)]
        assert statuses == [500] * 3
        began = time.monotonic()
        told = await until(shop, lambda told: told["rolled_back"])
        await until(shop, lambda told: told["serving"]["encoder"] is None, "/api/adapters")
        print(f"taken back {time.monotonic() - began:.2f} s after the third error")
        assert (await ask(shop, POISONED))[0] == 200
        (broken,) = told["rolled_back"]
        assert (broken["adapter"], broken["cause"], broken["returned_to"]) == (poisoned.name, "errors", None)
        assert broken["after"]["errors"] == 3
        assert told["watching"] == []
        async with opened(f"sqlite+aiosqlite:///{shop.data / 'kefu.db'}") as database, database.reading() as session:
            switches = await adapters.history(session, "encoder")
            assert [(one.adapter, one.reason) for one in switches] == [(poisoned.name, "activate"), (None, "broken")]
            (row,) = await session.scalars(select(AuditRow).where(AuditRow.action == "adapters.rollback"))
            assert (row.actor, row.target, row.detail["cause"]) == ("system", "base", "errors")
        # A person may take it again: it is watched again, and taken back again.
        assert (await activate(shop, poisoned.name))["state"] == "done"
        for _ in range(3):
            await ask(shop, POISONED)
        await until(shop, lambda told: len(told["rolled_back"]) == 2)
        assert await shop.active() is None


@pytest.mark.slow
async def test_an_adapter_that_is_slow_is_taken_back_by_itself_and_no_reply_is_dropped(
    shop_on: Callable[..., Any], tmp_path: Path
) -> None:
    async with shop_on(tmp_path / "data") as shop:
        await begin(shop, slow=["encoder-one", SLOW_SECONDS])
        for number in range(24):
            assert (await ask(shop, f"第{number}号锅怎么保养呢"))[0] == 200
        assert (await activate(shop, "encoder-one"))["state"] == "done"
        asked = 0

        async def customer(number: int) -> None:
            nonlocal asked
            while await shop.active() == "encoder-one":
                asked += 1
                status, reply = await ask(shop, f"{number}号顾客第{asked}次问第{asked % 8}号锅怎么保养")
                assert status == 200, reply
                assert reply["text"]

        await asyncio.wait_for(asyncio.gather(*(customer(number) for number in range(4))), SECONDS_MAX)
        told = await shop.get("/api/releases")
        (broken,) = told["rolled_back"]
        assert (broken["adapter"], broken["cause"]) == ("encoder-one", "latency")
        assert broken["before"]["observed"] >= 20
        assert broken["after"]["p95_seconds"] > max(SLOW_SECONDS, 2 * broken["before"]["p95_seconds"])
        assert broken["after"]["errors"] == 0
        await until(shop, lambda told: told["serving"]["encoder"] is None, "/api/adapters")
        assert (await ask(shop, "第3号锅怎么保养"))[1]["text"] == ANSWERS["第3号锅怎么保养"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("points", [2, pytest.param(30, marks=pytest.mark.soak)])
async def test_the_shadow_and_its_release_survive(
    shop_on: Callable[..., Any], encoder_of: Callable[..., Any], tmp_path: Path, points: int,
    moments: Callable[..., list[float]], installed_adapters: Path,
) -> None:  # fmt: skip
    """Cut while it prepares, answers, or is being released: it goes on, or what it was released to serves."""
    encoders = {None: encoder_of(None), "encoder-one": encoder_of(installed_adapters / "encoder-one")}
    outcomes = []
    async with shop_on(tmp_path / "data") as shop:
        await begin(shop)
        for number, moment in enumerate(moments(17, points, 3.0)):
            shadow = {"adapter": "encoder-one", "share": 1.0}
            assert (await shop.call("POST", "/api/shadow", json=shadow))[0] == 201
            if number % 2:
                await until(shop, lambda told: told["shadow"]["state"] == "answering")
                await ask(shop, "第3号锅要怎么保养")
                work = asyncio.ensure_future(shop.activate("encoder-one"))
            else:
                work = asyncio.ensure_future(ask(shop, "第3号锅要怎么保养"))
            await asyncio.sleep(moment)
            assert shop.running.cut()
            await asyncio.gather(work, return_exceptions=True)
            shop.check_snapshots(encoders)
            await shop.start()
            active, told = await shop.active(), await shop.get("/api/releases")
            state = told["shadow"]["state"]
            assert (state == "released") == (active == "encoder-one"), (state, active)
            outcomes.append(state)
            await shop.check(encoders, {})
            if active is None:
                told = await until(shop, lambda told: told["shadow"]["state"] == "answering")
                before = told["shadow"]["asked"]
                await ask(shop, "第5号锅要怎么保养")
                await until(shop, lambda told, before=before: told["shadow"]["asked"] == before + 1)
                assert (await shop.call("DELETE", "/api/shadow"))[0] == 204
            else:
                assert await shop.roll_back() == 202
                await shop.settled()
    print(f"shadow: {points} cuts; {outcomes}")


async def planned(data: Path) -> tuple[Any, str | None, list[str]]:
    """The newest turn, what is active, and who activated what."""
    async with opened(f"sqlite+aiosqlite:///{data / 'kefu.db'}") as database, database.reading() as session:
        return (
            await schedule.newest(session, "9999"),
            (await adapters.active(session))["encoder"],
            [one.adapter or "base" for one in await adapters.history(session, "encoder")],
        )


def tonight() -> str:
    """The turn that NIGHTLY's night belongs to, which lasts from midnight to midnight."""
    return (datetime.now(ZoneInfo(ZONE)).date() + timedelta(days=1)).isoformat()


async def trained(data: Path) -> None:
    """As a scheduled training leaves it behind that found a better adapter."""
    async with opened(f"sqlite+aiosqlite:///{data / 'kefu.db'}") as database, database.session() as session:
        job = await jobs.add(session, "train", {"kind": "encoder"}, None)
        await jobs.finish(session, job.id, "done", {"adapter": "encoder-one", "verdict": {"outcome": "better"}})
        assert await schedule.take(session, tonight(), "training", 60)
        await schedule.assign(session, tonight(), job.id)


NIGHTLY = {
    "KEFU_LEARNING_SCHEDULE": "release", "KEFU_LEARNING_INTERVAL": "night", "KEFU_LEARNING_HOURS": "00:00-00:00",
    "KEFU_LEARNING_EXAMPLES_MIN": "1", "KEFU_TIME_ZONE": ZONE,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("points", [2, pytest.param(30, marks=pytest.mark.soak)])
async def test_a_scheduled_release_happens_once_or_not_yet(
    shop_on: Callable[..., Any], copy_of: Callable[..., Any], tmp_path: Path, points: int,
    moments: Callable[..., list[float]],
) -> None:  # fmt: skip
    outcomes = []
    async with shop_on(tmp_path / "data") as shop:
        await begin(shop)
        assert shop.running.cut()
        await trained(shop.data)
        template = copy_of(shop.data, tmp_path / "template")
        for moment in moments(23, points, 4.0):
            copy_of(template, shop.data)
            shop.running = shop.machine.start(
                shop.data, "serve", env=NIGHTLY, constants={"bot.learning.schedule.LOOK_SECONDS": 0.2}
            )
            shop.running.cut_after(2.0 + moment)
            turn, active, history = await planned(shop.data)
            assert (turn.state == "released") == (active == "encoder-one"), (turn, active)
            outcomes.append(turn.state)
            await shop.start(constants={"bot.learning.schedule.LOOK_SECONDS": 0.2}, **NIGHTLY)
            await until(shop, lambda told: told["schedule"]["last"]["slot"] != tonight()
                        or told["schedule"]["last"]["state"] == "released")  # fmt: skip
            await until(shop, lambda told: told["serving"]["encoder"] == "encoder-one", "/api/adapters")
            assert shop.running.cut()
            _, active, history = await planned(shop.data)
            assert (active, history) == ("encoder-one", ["encoder-one"])
    print(f"scheduled release: {points} cuts; {outcomes}")


OPTIONS = {"epochs": 1, "batch_pairs": 8, "rank": 2, "alpha": 4, "max_tokens": 32, "checkpoint_seconds": 0}


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_a_scheduled_training_goes_on_after_kill_9_and_is_one(
    shop_on: Callable[..., Any], tmp_path: Path
) -> None:
    """Cut while its data is prepared and in its steps: one job, one turn, one adapter, which serves if it is better."""
    rows = [json.loads(line) for line in demo.faq_path().read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "answer" in row and len(row["similar_questions"]) >= 7][:10]
    lines = [{**row, "similar_questions": row["similar_questions"][:7]} for row in rows]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    dialog = {"id": "d1", "messages": [{"role": "user", "content": "你们老板是谁呀", "faq_id": None}]}
    (tmp_path / "dialogs.jsonl").write_text(json.dumps(dialog) + "\n", encoding="utf-8")
    constants = {"bot.learning.schedule.LOOK_SECONDS": 0.2, "bot.learning.schedule.OPTIONS": OPTIONS}
    pick = random.Random(3)
    async with shop_on(tmp_path / "data") as shop:
        shutil.rmtree(shop.data / "adapters")
        shop.machine.start(shop.data, "import", str(tmp_path / "faq.jsonl")).finish()
        shop.machine.start(shop.data, "dialogs", "import", str(tmp_path / "dialogs.jsonl")).finish()

        async def start() -> None:
            await shop.start(wait=False, constants=constants, **NIGHTLY)

        async def training(done: Callable[[Any], bool]) -> Any:
            def well(told: Any) -> bool:
                assert all(job["state"] != "failed" for job in told["items"]), told
                return bool(told["items"]) and done(told["items"][0])

            return await until(shop, well, "/api/training-runs")

        await start()
        await training(lambda job: job["state"] in ("queued", "running"))
        await asyncio.sleep(pick.uniform(0, 0.5))
        assert shop.running.cut()
        await start()
        await training(lambda job: job["extra"].get("step", 0) >= 2)
        assert shop.running.cut()
        await start()
        told = await until(shop, lambda told: (told["schedule"]["last"] or {}).get("ended_at"))
        turn = told["schedule"]["last"]
        assert turn["examples"] == 1
        items = (await shop.get("/api/training-runs"))["items"]
        assert [job["state"] for job in items] == ["done"]
        verdict = (await shop.get(f"/api/training-runs/{items[0]['id']}"))["verdict"]["outcome"]
        expected = ("released", None) if verdict == "better" else ("kept", verdict)
        assert (turn["state"], turn["reason"]) == expected
        assert [one["name"] for one in (await shop.get("/api/adapters"))["items"]] == [turn["adapter"]]
        assert await shop.active() == (turn["adapter"] if verdict == "better" else None)
        assert told["schedule"]["new_examples"] == 0
        assert shop.running.cut()


async def test_one_candidate_at_a_time(tmp_path: Path) -> None:
    from bot.errors import ConflictError

    (tmp_path / "data").mkdir()
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'data' / 'kefu.db'}") as database:
        async with database.session() as session:
            await shadows.start(session, "encoder-one", None, 0.2, 10, "user:anna")
        async with database.session() as session:
            with pytest.raises(ConflictError, match="encoder-one"):
                await shadows.start(session, "encoder-two", None, 0.2, 10, "user:anna")
