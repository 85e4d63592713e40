"""The queue: progress, cancel, failure, and what happens to work whose process died."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest

from bot.errors import InvalidError, NotFoundError
from bot.jobs import importing
from bot.jobs.context import JobContext
from bot.jobs.queue import JobQueue, is_alive, this_process
from bot.storage import jobs
from bot.storage.database import Database


@pytest.fixture
async def make_queue(database: Database) -> AsyncIterator[Callable[[], JobQueue]]:
    made: list[JobQueue] = []

    def make() -> JobQueue:
        made.append(JobQueue(database))
        return made[-1]

    yield make
    for queue in made:
        await queue.close()


async def test_a_job_reports_and_ends(make_queue):
    queue = make_queue()

    async def work(job):
        for number in range(3):
            await job.progress(number, 3, "counting", speed=number)
            await asyncio.sleep(0.05)
        return {"sum": sum(job.params["numbers"])}

    queue.register("sum", work)
    await queue.start()
    seen = [job async for job in queue.events(await queue.submit("sum", {"numbers": [1, 2]}, "anna"))]
    assert seen[0].state in ("queued", "running")
    assert seen[-1].state == "done"
    assert seen[-1].result == {"sum": 3}
    assert (seen[-1].note, seen[-1].extra, seen[-1].created_by) == ("counting", {"speed": 2}, "anna")
    assert [job.done for job in seen if job.state == "running"] == sorted(
        job.done for job in seen if job.state == "running"
    )
    assert seen[-1].to_json()["finished_at"].endswith("Z")


async def test_progress_from_a_thread(make_queue):
    queue = make_queue()

    async def work(job):
        await asyncio.to_thread(job.progress_from_thread, 5, 10, "half")
        await asyncio.sleep(0.1)

    queue.register("threaded", work)
    await queue.start()
    job = await queue.wait(await queue.submit("threaded", {}))
    assert (job.done, job.total, job.note, job.result) == (5, 10, "half", None)


async def test_a_failure_is_one_sentence_in_both_languages(make_queue):
    queue = make_queue()

    async def known(_job):
        raise InvalidError("bad_file", "文件坏了", "The file is broken")

    async def unknown(_job):
        raise ValueError("/secret/path")

    queue.register("known", known)
    queue.register("unknown", unknown)
    await queue.start()
    job = await queue.wait(await queue.submit("known", {}))
    assert job.state == "failed"
    assert job.error == {"code": "bad_file", "message": "文件坏了", "message_en": "The file is broken"}
    job = await queue.wait(await queue.submit("unknown", {}))
    assert job.error["code"] == "internal"
    assert "secret" not in str(job.error)


async def test_cancel_running_and_queued(make_queue):
    queue = make_queue()
    ran, started = [], asyncio.Event()

    async def work(job):
        ran.append(job.id)
        started.set()
        while True:
            job.check()
            await asyncio.sleep(0.02)

    queue.register("long", work)
    await queue.start()
    first, second = await queue.submit("long", {}), await queue.submit("long", {})
    await asyncio.wait_for(started.wait(), 5)
    assert (await queue.cancel(second)).state == "cancelled"
    await queue.cancel(first)
    assert (await queue.wait(first)).state == "cancelled"
    await asyncio.sleep(0.2)
    assert ran == [first]
    assert (await queue.cancel(first)).state == "cancelled"
    with pytest.raises(NotFoundError):
        await queue.cancel("nothing")


async def test_lanes_run_side_by_side_and_one_at_a_time(make_queue):
    queue = make_queue()
    running: list[str] = []
    most: dict[str, int] = {}

    async def work(job):
        running.append(job.kind)
        most[job.kind] = max(most.get(job.kind, 0), running.count(job.kind))
        most["all"] = max(most.get("all", 0), len(running))
        await asyncio.sleep(0.2)
        running.remove(job.kind)

    queue.register("a", work)
    queue.register("b", work)
    await queue.start()
    ids = [await queue.submit(kind, {}) for kind in "aabb"]
    for job_id in ids:
        await queue.wait(job_id)
    assert most == {"a": 1, "b": 1, "all": 2}


async def test_jobs_of_another_process_are_cancelled_through_the_database(make_queue, database):
    queue, other = make_queue(), make_queue()
    started = asyncio.Event()

    async def work(job):
        started.set()
        await job.cancelled.wait()
        job.check()

    queue.register("long", work)
    await queue.start()
    job_id = await other.submit("long", {})
    await asyncio.wait_for(started.wait(), 5)
    await other.cancel(job_id)
    assert (await other.wait(job_id)).state == "cancelled"


async def test_closing_puts_resumable_work_back_and_says_so_of_the_rest(make_queue, database):
    queue = make_queue()
    going = asyncio.Barrier(3)

    async def endless(job):
        await going.wait()
        await asyncio.sleep(60)

    queue.register("resumable", endless, resumable=True)
    queue.register("single", endless)
    await queue.start()
    resumable, single = await queue.submit("resumable", {}), await queue.submit("single", {})
    await asyncio.wait_for(going.wait(), 5)
    await queue.close()
    assert (await queue.get(resumable)).state == "queued"
    job = await queue.get(single)
    assert (job.state, job.error["code"]) == ("failed", "interrupted")


KILLED = """
import asyncio, sys
from bot.jobs.queue import JobQueue
from bot.storage.database import Database
async def main():
    database = Database(sys.argv[1])
    await database.open()
    queue = JobQueue(database)
    async def work(job):
        await job.progress(3, 10, "half way")
        while (await JobQueue(database).get(job.id)).done != 3:  # written once a second
            await asyncio.sleep(0.05)
        print(job.id, flush=True)
        await asyncio.sleep(60)
    queue.register(sys.argv[2], work, resumable=True)
    await queue.start()
    await queue.submit(sys.argv[2], {"n": 1})
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("resumable", [True, False])
async def test_work_of_a_killed_process(make_queue, database, resumable):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, database.url, "work", stdout=subprocess.PIPE
    )
    job_id = (await asyncio.wait_for(process.stdout.readline(), 240)).decode().strip()
    process.send_signal(signal.SIGKILL)
    await process.wait()
    queue = make_queue()
    left = await queue.get(job_id)
    assert (left.state, left.done) == ("running", 3)

    async def work(job):
        assert job.done == 3
        return {"n": job.params["n"]}

    queue.register("work", work, resumable=resumable)
    await queue.start()
    job = await asyncio.wait_for(queue.wait(job_id), 20)
    if resumable:
        assert (job.state, job.result) == ("done", {"n": 1})
    else:
        assert (job.state, job.error["code"]) == ("failed", "interrupted")


async def test_work_of_a_living_process_is_left_alone(make_queue, database):
    async with database.session() as session:
        job = await jobs.add(session, "work", {}, None)
        await jobs.claim(session, ["work"], this_process())
    queue = make_queue()
    queue.register("work", lambda _job: asyncio.sleep(0), resumable=True)
    await queue.start()
    await asyncio.sleep(0.5)
    assert (await queue.get(job.id)).state == "running"


def test_who_is_alive():
    mine = this_process()
    assert is_alive(mine) is True
    host, pid, _ = mine.split(":")
    assert is_alive(f"{host}:{pid}:1") is False  # the number was given to another process since
    assert is_alive("elsewhere:1:1") is None
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert is_alive(f"{host}:{done.pid}:{time.time():.0f}") is False
    assert os.getpid() == int(pid)


async def test_work_is_broken_off_when_somebody_asks_to_stop_and_finished_work_counts(make_queue):
    queue, steps, begun = make_queue(), [], asyncio.Event()

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return {"written": 1}

    async def work(job):
        steps.append("begun")
        begun.set()
        return await job.unless_cancelled(stubborn() if job.params.get("stubborn") else endless())

    async def cancelled(**params):
        job_id = await queue.submit("long", params)
        await begun.wait()
        begun.clear()
        await queue.cancel(job_id)
        return await queue.wait(job_id)

    queue.register("long", work, resumable=True)
    await queue.start()
    assert (await cancelled()).state == "cancelled"
    assert steps == ["begun", "cleaned up"]
    job = await cancelled(stubborn=True)
    assert (job.state, job.result) == ("done", {"written": 1})
    left = await queue.submit("long", {})
    await begun.wait()
    await asyncio.sleep(0.05)
    await queue.close()  # a stop of the service breaks it off, too, and leaves it to the next one
    assert steps[-1] == "cleaned up"
    assert (await queue.get(left)).state == "queued"


async def test_an_import_killed_after_its_rows_were_written_reports_them(
    make_queue, make_knowledge_base, database, tmp_path, monkeypatch
):
    knowledge_base = await make_knowledge_base()
    faq = tmp_path / "faq.csv"
    faq.write_text("问题,答案\n几点开门,九点\n几点关门,六点\n", encoding="utf-8")
    queue = make_queue()
    importing.register(queue, database, knowledge_base, tmp_path / "data")
    params = {"path": str(faq), "name": "faq.csv"}
    job_id = await queue.submit(importing.KIND, params)

    async def told() -> None: ...

    async def run():
        return await queue._kinds[importing.KIND].work(JobContext(job_id, importing.KIND, params, None, told))

    async def killed(*_args):
        raise asyncio.CancelledError

    follow = importing._follow
    monkeypatch.setattr(importing, "_follow", killed)
    with pytest.raises(asyncio.CancelledError):
        await run()
    assert (await queue.get(job_id)).to_json()["result"] is None
    await knowledge_base.refresh()
    monkeypatch.setattr(importing, "_follow", follow)
    again = await run()
    assert (again["added"], again["skipped"]) == (2, 0)
    assert "revision" not in again
    assert not faq.exists()
