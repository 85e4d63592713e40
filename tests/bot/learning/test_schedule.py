"""Training by itself: whose turn it is, what hinders it, and what is released. The clock is the test's."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from bot.config import Settings
from bot.errors import ConflictError
from bot.learning import plan, releases
from bot.learning.schedule import BUSY_QUESTIONS, Schedule
from bot.storage import adapters, audit, data_sets, decisions, jobs, schedule, watches
from bot.storage.database import Database
from bot.storage.decisions import Label
from bot.storage.jobs import Job
from bot.storage.review_tables import TrainingRunRow
from bot.storage.tables import AdapterRow, ConversationRow, MessageRow
from bot.storage.values import now

from .conversing import talk

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock:
    """Monday, one hour into the quiet hours."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 2, 0, tzinfo=SHANGHAI)

    def __call__(self) -> datetime:
        return self.time

    def goes(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def planned(database: Database, make_settings: Callable[..., Settings], clock: Clock) -> Callable[..., Schedule]:
    def make(**settings: Any) -> Schedule:
        chosen = {"learning_schedule": "release", "learning_interval": "night", "learning_examples_min": 3}
        return Schedule(database, make_settings(time_zone="Asia/Shanghai", **{**chosen, **settings}), clock)

    return make


async def review(database: Database, count: int) -> None:
    async with database.session() as session:
        labels = [Label(f"s{n}", f"第{n}句", None) for n in range(count)]
        await decisions.record(session, "item", "out_of_scope", "问", "user:anna", None, None, labels)


async def last(database: Database) -> Any:
    async with database.reading() as session:
        return await schedule.newest(session, "9999")


async def trainings(database: Database) -> list[Job]:
    async with database.reading() as session:
        return await jobs.newest(session, ("train",))


async def finish(
    database: Database, state: str = "done", outcome: str = "better", adapter: str = "encoder-one"
) -> None:
    """The training comes to its end, as the queue would write it."""
    (job, *_) = await trainings(database)
    async with database.session() as session:
        if state == "done":
            await jobs.finish(session, job.id, state, {"adapter": adapter, "verdict": {"outcome": outcome}})
        else:
            await jobs.finish(session, job.id, state, error={"code": "too_little_data"} if state == "failed" else None)


async def test_off_by_default_and_nothing_happens(database, make_settings, clock):
    await review(database, 100)
    quiet = Schedule(database, make_settings(), clock)
    await quiet.look()
    assert await last(database) is None
    assert await trainings(database) == []
    told = await quiet.report()
    assert (told["mode"], told["next_at"], told["new_examples"]) == ("off", None, 100)


async def test_what_the_console_set_holds_at_the_next_look(database, make_settings, clock):
    settings = make_settings(time_zone="Asia/Shanghai")
    service = Schedule(database, settings, clock)
    await review(database, 5)
    wanted = plan.Plan(mode="train", interval="night", hours="01:30-03:00", examples_min=5)
    plan.write(settings, wanted)
    told = await service.report()
    assert {name: told[name] for name in plan.FIELDS} == wanted.model_dump()
    assert told["fixed"] == []
    await service.look()
    assert len(await trainings(database)) == 1
    await finish(database)
    await service.look()
    turn = await last(database)
    assert (turn.state, turn.reason) == ("kept", "train_only")


async def test_what_the_settings_lay_down_stays(database, make_settings, clock):
    settings = make_settings(learning_schedule="train", learning_hours="02:00-03:00")
    with pytest.raises(ConflictError, match="learning_hours"):
        plan.write(settings, plan.Plan(mode="train", interval="week", hours="01:00-05:00", examples_min=9))
    plan.write(settings, plan.Plan(mode="train", interval="week", hours="02:00-03:00", examples_min=9))
    told = await Schedule(database, settings, clock).report()
    assert (told["mode"], told["hours"], told["examples_min"]) == ("train", "02:00-03:00", 9)
    assert told["fixed"] == ["mode", "hours"]
    # Written before the settings laid it down.
    later = make_settings(learning_schedule="off", learning_hours="02:00-03:00")
    assert plan.read(later).mode == "off"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"mode": "sometimes", "interval": "week", "hours": "01:00-05:00", "examples_min": 5}',
        '{"mode": "train", "interval": "week", "hours": "25:00-05:00", "examples_min": 5}',
    ],
)  # fmt: skip
async def test_a_file_that_holds_no_plan_plans_nothing(database, make_settings, clock, caplog, text):
    settings = make_settings()
    await review(database, 100)
    (settings.data / plan.FILE).write_text(text, encoding="utf-8")
    service = Schedule(database, settings, clock)
    assert (await service.report())["mode"] == "off"
    await service.look()
    assert await trainings(database) == []
    assert "schedule.json cannot be read" in caplog.text


async def test_too_few_new_examples_are_left_for_another_night(database, planned, clock):
    await review(database, 2)
    service = planned()
    await service.look()
    turn = await last(database)
    assert (turn.slot, turn.state, turn.reason, turn.examples) == ("2026-11-23", "skipped", "too_few", 2)
    await review(database, 5)
    await service.look()  # this night is decided
    assert await trainings(database) == []
    clock.goes(days=1)
    await service.look()
    assert len(await trainings(database)) == 1


async def test_a_clock_that_was_years_ahead_is_no_reason_to_wait_for_years(database, planned, clock):
    await review(database, 5)
    clock.goes(days=2000)
    service = planned()
    await service.look()
    assert (await last(database)).slot == "2032-05-15"
    clock.goes(days=-2000)
    await service.look()  # its training is followed to its end
    await finish(database, outcome="same")
    await service.look()
    assert (await last(database)).state == "kept"
    assert len(await trainings(database)) == 1
    await service.look()
    assert len(await trainings(database)) == 2
    assert (await service.report())["last"]["slot"] == "2026-11-23"
    await finish(database, outcome="same")
    for _ in range(3):
        await service.look()
    assert len(await trainings(database)) == 2
    clock.goes(hours=-1)  # what was taken tonight is not taken again
    await service.look()
    assert len(await trainings(database)) == 2


async def test_not_by_day(database, planned, clock):
    await review(database, 5)
    clock.goes(hours=8)
    service = planned()
    await service.look()
    assert await last(database) is None
    assert (await service.report())["next_at"] == "2026-11-23T17:00:00Z"


async def test_only_what_was_reviewed_since_the_last_training_counts(database, planned, clock):
    await review(database, 5)
    async with database.session() as session:
        await data_sets.record(session, "encoder-done", "hash", "encoder", 5, [])
        await data_sets.record(session, "encoder-died", "other", "encoder", 5, [])
        session.add(AdapterRow(name="encoder-done", kind="encoder", manifest={}, created_at=now()))
        await session.flush()
        gathered = now() - timedelta(hours=1)
        await session.execute(
            update(TrainingRunRow).where(TrainingRunRow.name == "encoder-done").values(created_at=gathered)
        )
        assert await schedule.new_examples(session) == 5  # decided after its data was gathered
        await session.execute(
            update(TrainingRunRow).where(TrainingRunRow.name == "encoder-done").values(created_at=now())
        )
        assert await schedule.new_examples(session) == 0
        ahead = now() + timedelta(days=2000)  # by a clock that was wrong
        await session.execute(
            update(TrainingRunRow).where(TrainingRunRow.name == "encoder-done").values(created_at=ahead)
        )
        assert await schedule.new_examples(session) == 5
        await session.execute(
            update(TrainingRunRow).where(TrainingRunRow.name == "encoder-done").values(created_at=now())
        )
        session.add(ConversationRow(id="c", channel="import", imported=True, created_at=now(), updated_at=now()))
        await session.flush()
        for number, (reviewed, role) in enumerate([(True, "user"), (False, "user"), (True, "human")]):
            row = MessageRow(id=f"m{number}", conversation_id="c", role=role, text="问", reviewed=reviewed)
            row.created_at = now() + timedelta(seconds=1)
            session.add(row)
        await session.flush()
        assert await schedule.new_examples(session) == 1


async def test_two_services_on_one_database_start_one_training(database, planned, tmp_path):
    await review(database, 5)
    other = Database(database.url)
    await other.open()
    try:
        second = planned()
        second._database = other
        await asyncio.gather(*(one.look() for one in (planned(), second) for _ in range(4)))
    finally:
        await other.close()
    assert len(await trainings(database)) == 1
    turn = await last(database)
    assert (turn.state, turn.job_id) == ("training", (await trainings(database))[0].id)


async def test_customers_go_first(database, planned, clock):
    await review(database, 5)
    for number in range(BUSY_QUESTIONS):
        await talk(database, f"第{number}号还有货吗", hours_ago=0)
    service = planned()
    await service.look()
    assert (await last(database), service.waits_for) == (None, "busy")
    async with database.session() as session:
        await session.execute(update(MessageRow).values(created_at=now() - timedelta(minutes=11)))
    await service.look()
    assert (len(await trainings(database)), service.waits_for) == (1, None)


@pytest.mark.parametrize("interval", ["night", "week"])
async def test_a_night_without_a_quiet_moment(database, planned, clock, interval):
    """The night is gone, and says why; the week's turn is taken up in the next night."""
    await review(database, 5)
    async with database.session() as session:
        job = await jobs.add(session, "train", {"kind": "generator"}, None)  # somebody else's, all night long
    service = planned(learning_interval=interval)
    await service.look()
    assert service.waits_for == "training"
    clock.goes(hours=6)
    await service.look()
    turn = await last(database)
    async with database.session() as session:
        await jobs.finish(session, job.id, "done")
    if interval == "night":
        assert (turn.slot, turn.state, turn.reason) == ("2026-11-23", "skipped", "training")
    else:
        assert turn is None
    clock.goes(hours=18)
    await service.look()
    turn = await last(database)
    assert (turn.slot, turn.state) == ("2026-11-24" if interval == "night" else "2026-11-23", "training")


async def test_what_is_better_is_released_on_record_also_by_the_service_after(database, planned, clock, installed):
    await review(database, 5)
    await planned().look()
    await planned().look()
    assert (await last(database)).state == "training"
    await finish(database)
    clock.goes(hours=9)  # it took until the morning
    await planned().look()  # another process: nothing is kept in memory
    turn = await last(database)
    assert (turn.state, turn.reason, turn.adapter) == ("released", None, "encoder-one")
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] == "encoder-one"
        done = (await audit.recent(session, 1))[0]
        assert (done.actor, done.action, done.target) == ("schedule", "adapters.activate", "encoder-one")
    async with database.session() as session:
        await adapters.rollback(session, "encoder", None)
    await planned().look()
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] is None  # released once, and not again


@pytest.mark.parametrize(
    ("settings", "state", "outcome", "expected"),
    [
        ({}, "done", "not_better", ("kept", "not_better")),
        ({}, "done", "unknown", ("kept", "unknown")),
        ({"learning_schedule": "train"}, "done", "better", ("kept", "train_only")),
        ({"learning_schedule": "off"}, "done", "better", ("kept", "train_only")),
        ({}, "failed", "", ("failed", "too_little_data")),
        ({}, "cancelled", "", ("cancelled", None)),
    ],
)
async def test_what_is_not_released(database, planned, installed, settings, state, outcome, expected):
    await review(database, 5)
    await planned().look()
    await finish(database, state, outcome)
    await planned(**settings).look()
    turn = await last(database)
    assert (turn.state, turn.reason) == expected
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] is None


async def test_what_it_was_compared_with_must_still_serve(database, planned, installed, make_settings):
    await review(database, 5)
    await planned().look()
    await finish(database)
    await releases.activate(database, make_settings(), "encoder-two", "user:anna")
    await planned().look()
    assert ((await last(database)).state, (await last(database)).reason) == ("kept", "other_active")
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] == "encoder-two"


@pytest.mark.parametrize("how", ["broken", "failed"])
async def test_what_proved_bad_is_not_taken_again(database, planned, installed, make_settings, how):
    await releases.activate(database, make_settings(), "encoder-one", "user:anna")
    async with database.session() as session:
        if how == "broken":
            watch = await watches.begin(session, "encoder", "encoder-one", {})
            await adapters.rollback(session, "encoder", None, reason="broken")
            await watches.end(session, watch.id, "rolled_back", {}, "errors")
        else:
            await adapters.activate(session, "encoder", None, None, reason="failed")
    await review(database, 5)
    await planned().look()
    await finish(database)
    await planned().look()
    assert ((await last(database)).state, (await last(database)).reason) == ("kept", "proved_bad")
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] is None


async def test_an_altered_adapter_is_not_released(database, planned, installed: Path):
    await review(database, 5)
    await planned().look()
    await finish(database)
    weights = installed / "encoder-one" / "adapter_model.safetensors"
    altered = bytearray(weights.read_bytes())
    altered[-1] ^= 1
    weights.write_bytes(altered)
    await planned().look()
    assert ((await last(database)).state, (await last(database)).reason) == ("failed", "adapter_damaged")


async def test_a_release_waits_for_a_quiet_moment(database, planned, installed):
    await review(database, 5)
    await planned().look()
    await finish(database)
    for number in range(BUSY_QUESTIONS):
        await talk(database, f"第{number}号还有货吗", hours_ago=0)
    service = planned()
    await service.look()
    assert ((await last(database)).state, service.waits_for) == ("training", "busy")
    async with database.session() as session:
        await session.execute(update(MessageRow).values(created_at=now() - timedelta(minutes=11)))
    await service.look()
    assert (await last(database)).state == "released"


async def test_a_job_that_is_gone_ends_its_turn(database, planned):
    await review(database, 5)
    async with database.session() as session:
        await schedule.take(session, "2026-11-23", "training", 5)
        await schedule.assign(session, "2026-11-23", "nobody")
    await planned().look()
    assert ((await last(database)).state, (await last(database)).reason) == ("failed", "job_gone")
