"""From real conversations in a real database to the review queue, with the real encoder."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from bot.learning import mining
from bot.learning.forgetting import forget_older
from bot.learning.mining import Report, mine, shown
from bot.storage import conversations, evidence, review
from bot.storage.database import opened
from bot.storage.review_tables import ReviewItemRow, ReviewQuestionRow
from bot.storage.tables import ConversationRow, MessageRow
from bot.storage.values import new_id, now

from .conversing import Say, talk, talks

QUIET = timedelta(0)
WARRANTY = ["保修期多久", "保修期是多久", "请问保修期多久", "保修期有多久呀"]
PICKUP = ["可以到店自提吗", "能不能到店自提", "可以去门店自提吗"]


async def nothing(_done: int, _total: int) -> None:
    pass


@pytest.fixture
async def knowledge_base(make_knowledge_base, use_shared_encoder, add_faq):
    await add_faq(
        [
            {"id": "return", "question": "怎么退货", "answer": "七天内可以退。", "similar_questions": ["我想退掉"]},
            {"id": "invoice", "question": "发票怎么开", "answer": "在订单里申请。"},
        ]
    )
    return await make_knowledge_base()


async def queue(database) -> list[review.Item]:
    async with database.reading() as session:
        return await review.page(session, "open", 0, 50)


async def test_questions_are_found_grouped_across_days_and_named_by_one_of_them(database, knowledge_base):
    for days, text in enumerate(WARRANTY):
        await talk(database, text, hours_ago=2 + 24 * days)
    await talks(database, PICKUP)
    await talk(database, Say("怎么退货", "answer", (), 0.97, "return"))
    first = await mine(database, knowledge_base, nothing)
    assert (first.turns, first.judged, first.unanswered, first.found) == (8, 8, 7, 7)
    items = await queue(database)
    assert [one.count for one in items] == [4, 3]
    assert items[0].question in WARRANTY
    assert items[1].question in PICKUP
    assert items[0].first_at < items[0].last_at
    # Another day joins the same groups, and nothing is read twice.
    await talks(database, ["你们家保修期多久啊", "可以到店自提吗"])
    second = await mine(database, knowledge_base, nothing)
    assert (second.turns, second.found, second.opened) == (2, 2, 0)
    assert [one.count for one in await queue(database)] == [5, 4]
    assert await mine(database, knowledge_base, nothing) == Report()


async def test_every_turn_has_its_estimate(database, knowledge_base):
    made = await talk(database, Say("怎么退货", "answer", (), 0.9, "return"), "保修期多久", Say("在吗", "chitchat", ()))
    await mine(database, knowledge_base, nothing)
    async with database.reading() as session:
        answered = dict(
            (await session.execute(select(MessageRow.id, MessageRow.answered).where(MessageRow.role == "user"))).all()
        )
    assert answered[made.asked[0]] == pytest.approx(0.9, abs=0.01)
    assert answered[made.asked[1]] < 0.2
    assert answered[made.asked[2]] is None


async def test_a_turn_is_left_alone_until_its_customer_had_time(database, knowledge_base):
    await talk(database, "保修期多久", hours_ago=0.1)
    assert (await mine(database, knowledge_base, nothing)).turns == 0
    assert (await mine(database, knowledge_base, nothing, quiet=QUIET)).found == 1


async def test_thumbs_that_come_late_are_heard(database, knowledge_base):
    fine = await talk(database, Say("发票怎么开", "answer", (), 0.95, "invoice"))
    bad = await talk(database, "保修期多久")
    await mine(database, knowledge_base, nothing)
    assert [one.question for one in await queue(database)] == ["保修期多久"]
    async with database.session() as session:
        await conversations.set_feedback(session, fine.id, fine.replies[0], "down", None)
        await conversations.set_feedback(session, bad.id, bad.replies[0], "up", None)
    await mine(database, knowledge_base, nothing, quiet=QUIET)
    assert [one.question for one in await queue(database)] == ["发票怎么开"]


async def test_personal_data_does_not_reach_the_queue(database, knowledge_base):
    await talk(database, "我的手机13812345678收不到验证码怎么办")
    await mine(database, knowledge_base, nothing)
    assert [one.question for one in await queue(database)] == ["我的手机[电话]收不到验证码怎么办"]
    async with database.reading() as session:
        assert "13812345678" not in str((await session.execute(select(ReviewQuestionRow.text))).all())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<script>alert('x')</script>保修多久", "<script>alert('x')</script>保修多久"),
        ("保修\x00\x07多久\r\n\u202e啊", "保修多久 啊"),
        ("？！…", ""),
        ("好" * 2_000_000, "好" * mining.TEXT_CHARACTERS_MAX),
        ("\ud800保修多久", "保修多久"),
    ],
)
def test_hostile_words_are_one_plain_line(text, kept):
    line = shown(text)
    assert "\x00" not in line
    assert len(line) <= mining.TEXT_CHARACTERS_MAX
    if "\u202e" not in text and "\ud800" not in text:
        assert line == kept


async def test_hostile_messages_are_mined(database, knowledge_base):
    texts = ["<script>alert(1)</script>", "保修\x07多久" + "啊" * 2000, "'; DROP TABLE messages; --", "💥" * 400]
    await talks(database, texts)
    assert (await mine(database, knowledge_base, nothing)).turns == len(texts)
    assert "<script>alert(1)</script>" in {one.question for one in await queue(database)}


async def test_what_was_decided_is_not_joined_and_what_was_dismissed_is(database, knowledge_base):
    await talks(database, [WARRANTY[0], PICKUP[0]])
    await mine(database, knowledge_base, nothing)
    by_name = {one.question: one for one in await queue(database)}
    async with database.session() as session:
        await review.close(session, by_name[WARRANTY[0]].id, 0, "done", "user:a")
        await review.close(session, by_name[PICKUP[0]].id, 0, "dismissed", "user:a")
    await talks(database, [WARRANTY[0], WARRANTY[1], PICKUP[0], PICKUP[1]])
    report = await mine(database, knowledge_base, nothing)
    assert (report.found, report.opened) == (4, 1)
    assert [one.count for one in await queue(database)] == [2]
    async with database.reading() as session:
        assert (await review.item(session, by_name[PICKUP[0]].id)).count == 3


async def test_an_item_decided_while_a_run_goes_on_is_not_joined(database, knowledge_base):
    await talk(database, WARRANTY[0])
    await mine(database, knowledge_base, nothing)
    (item,) = await queue(database)
    await talks(database, WARRANTY[1:])

    async def decide_meanwhile(_done: int, _total: int) -> None:
        async with database.session() as session:
            if (await review.item(session, item.id)).state == "open":
                await review.close(session, item.id, 0, "done", "user:a")

    await mine(database, knowledge_base, decide_meanwhile, batch_turns=1)
    (fresh,) = await queue(database)
    assert fresh.id != item.id
    assert fresh.count == 3


async def test_somebody_is_forgotten_between_what_a_batch_reads_and_what_it_writes(
    database, knowledge_base, monkeypatch
):
    made = await talks(database, [*WARRANTY, *PICKUP])
    judge = mining.judge

    def judge_and_forget(*given):  # in a thread of its own, as the judging is
        judged = judge(*given)
        asyncio.run(forget(database.url, made[5].id))
        return judged

    monkeypatch.setattr(mining, "judge", judge_and_forget)
    assert (await mine(database, knowledge_base, nothing)).found == 6
    assert sorted(one.count for one in await queue(database)) == [2, 4]


async def forget(url, conversation_id):
    async with opened(url) as another, another.session() as session:
        await conversations.delete_all(session, [conversation_id])


async def test_an_item_that_lost_its_name_while_a_run_goes_on_is_joined(database, knowledge_base):
    """Somebody was forgotten after the groups were read: the item has another name then, and no vector."""
    made = await talks(database, WARRANTY[:3])
    await mine(database, knowledge_base, nothing)
    (item,) = await queue(database)
    await talk(database, WARRANTY[3])

    async def forget_its_name(_done: int, _total: int) -> None:
        async with database.session() as session:
            await conversations.delete_all(session, [made[WARRANTY.index(item.question)].id])
            await review.rename(session, [item.id])

    report = await mine(database, knowledge_base, forget_its_name)
    assert (report.found, report.opened) == (1, 0)
    assert [(one.id, one.count) for one in await queue(database)] == [(item.id, 3)]
    async with database.reading() as session:
        (vector,) = await session.scalars(select(ReviewItemRow.vector))
    assert len(vector) > 0


async def test_another_encoder_gets_its_own_vectors(database, knowledge_base):
    await talks(database, WARRANTY[:2])
    await mine(database, knowledge_base, nothing)
    async with database.session() as session:
        await session.execute(update(ReviewItemRow).values(encoder="another", vector=b"\0\0", centre=b"\0\0"))
    await talk(database, WARRANTY[2])
    assert (await mine(database, knowledge_base, nothing)).opened == 0
    assert [one.count for one in await queue(database)] == [3]


async def test_what_retention_deletes_leaves_the_queue(database, knowledge_base):
    made = await talk(database, WARRANTY[0])
    late, *_ = await talks(database, PICKUP)
    await mine(database, knowledge_base, nothing)
    async with database.session() as session:
        old = ConversationRow.id.in_((made.id, late.id))
        await session.execute(update(ConversationRow).where(old).values(updated_at=now() - timedelta(days=200)))
    assert await forget_older(database, 180) == 2
    assert [one.count for one in await queue(database)] == [2]
    assert await forget_older(database, 180) == 0


@pytest.mark.slow
async def test_ten_thousand_turns(database, knowledge_base):
    """In batches: every one is judged, what cannot be found again is found, and a repeat finds nothing new."""
    rng = random.Random(5)
    subjects = ["保修", "自提", "换货", "安装", "充电", "清洗", "配件", "会员", "积分", "礼盒"]
    forms = ["{}怎么弄", "请问{}要多久", "{}收费吗", "{}找谁"]
    moment = now() - timedelta(days=3)
    async with database.session() as session:
        for start in range(0, 10_000, 1000):
            for number in range(start, start + 1000):
                text = rng.choice(forms).format(rng.choice(subjects))
                cid, mid, at = f"c{number}", new_id(), moment + timedelta(seconds=number)
                failed = number % 2 == 0
                session.add(ConversationRow(id=cid, channel="web", created_at=at, updated_at=at))
                session.add(MessageRow(id=mid, conversation_id=cid, role="user", text=text, created_at=at))
                session.add(
                    MessageRow(
                        id=new_id(), conversation_id=cid, role="bot", text="…", reply_to=mid, created_at=at,
                        decision="handoff" if failed else "answer", probability=0.1 if failed else 0.9,
                        reasons=["handoff: no_answer"] if failed else [],
                    )
                )  # fmt: skip
            await session.flush()
    report = await mine(database, knowledge_base, nothing)
    assert (report.turns, report.judged, report.found) == (10_000, 10_000, 5000)
    items = await queue(database)
    assert sum(one.count for one in items) == 5000
    assert report.opened == len(items) <= len(subjects) * len(forms)
    assert (await mine(database, knowledge_base, nothing)).turns == 0


KILLED = """
import asyncio, os, signal, sys
from bot.config import Settings
from bot.knowledge_base import KnowledgeBase
from bot.learning.mining import mine
from bot.storage.database import opened
async def main(data):
    settings = Settings(data=data)
    async with opened(settings.database) as database:
        knowledge_base = KnowledgeBase(database, settings)
        await knowledge_base.open()
        async def die(done, total):
            if done >= 4:
                os.kill(os.getpid(), signal.SIGKILL)
        await mine(database, knowledge_base, die, batch_turns=2)
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
async def test_a_run_that_is_killed_goes_on_where_it_was(database, knowledge_base, make_settings):
    await talks(database, [*WARRANTY, *PICKUP])
    data = str(make_settings().data)
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, data], env=os.environ, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    async with database.reading() as session:
        place = await evidence.cursor(session)
        written = await session.scalar(select(func.count()).select_from(ReviewQuestionRow))
    assert (place.seq > 0, written) == (True, 4)
    assert (await mine(database, knowledge_base, nothing)).turns == 3
    assert sorted(one.count for one in await queue(database)) == [3, 4]
