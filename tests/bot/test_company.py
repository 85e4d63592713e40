"""The company's voice and rules over the API: who may change them, what is refused, and that an edit holds at once."""

import asyncio
import json

import pytest

from bot import keys
from bot.errors import ConfigError
from bot.profile import LiveProfile
from bot.profile_file import FILE, ProfileFile, read, write
from bot.storage import audit, revisions

EDIT = {
    "company_name": {"zh": "小山露营", "en": "Hill Camping"},
    "tone": "warm",
    "texts": {"bye": {"zh": "山里见", "en": "See you in the hills"}},
    "hours": [{"days": [1, 2, 3, 4, 5], "from": "9:00", "until": "18:00"}],
    "days_off": ["2026-10-01"],
    "topics": [{"name": "安全事故", "words": ["着火", "爆炸"]}],
    "words": {"refuse": ["赌博"], "withhold": ["最便宜"]},
    "handoff_labels": ["大客户"],
}


async def test_an_edit_holds_at_once_and_is_on_record(service):
    status, before = await service.call("GET", "/api/company", "viewer")
    assert status == 200
    assert before["revision"] == ""
    assert before["defaults"]["polite"]["bye"]["zh"] != before["defaults"]["warm"]["bye"]["zh"]
    status, after = await service.call("PUT", "/api/company", "editor", json=EDIT | {"revision": ""})
    assert status == 200, after
    assert after["profile"]["hours"] == [{"days": [1, 2, 3, 4, 5], "from": "9:00", "until": "18:00"}]
    now = service.profile.now()
    assert (now.zh.company, now.en.say("bye")) == ("小山露营", "See you in the hills")
    assert now.zh.hours == "周一至周五 9:00–18:00"
    clock = after["clock"]
    assert (clock["time_zone"], clock["now"][-6:], clock["time"]) == ("Asia/Shanghai", "+08:00", clock["now"][11:16])
    hour, minute = map(int, clock["time"].split(":"))
    assert clock["open"] is (clock["weekday"] <= 5 and 9 * 60 <= 60 * hour + minute < 18 * 60)
    assert now.rules.handed_over.find("电池爆 炸了").name == "安全事故"
    assert now.rules.refused.find("賭博")
    assert now.rules.withheld.find("全网最便宜")
    assert now.rules.labels == {"大客户"}
    async with service.database.reading() as session:
        (deed, *_) = await audit.recent(session)
    assert (deed.action, deed.detail) == ("company.change", {"topics": 1, "refuse": 1, "withhold": 1})
    assert json.loads((service.settings.data / FILE).read_text(encoding="utf-8"))["tone"] == "warm"


async def test_of_two_edits_of_the_same_state_one_is_told(service):
    answers = await asyncio.gather(
        *(service.call("PUT", "/api/company", "editor", json=EDIT | {"revision": ""}) for _ in range(2))
    )
    assert sorted(status for status, _ in answers) == [200, 409]
    newest = (await service.call("GET", "/api/company"))[1]["revision"]
    assert (await service.call("PUT", "/api/company", "editor", json=EDIT | {"revision": newest}))[0] == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tone": "rude"}, "tone"),
        ({"hours": [{"days": [8], "from": "9:00", "until": "18:00"}]}, "hours"),
        ({"hours": [{"days": [1], "from": "9 Uhr", "until": "18:00"}]}, "hours"),
        ({"texts": {"unknown": {"zh": "x"}}}, "texts"),
        ({"words": {"refuse": ["x" * 101]}}, "words"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(service, change, field):
    status, body = await service.call("PUT", "/api/company", "editor", json=change)
    assert status == 400
    assert body["error"]["details"][0]["field"].startswith(field)
    assert not (service.settings.data / FILE).exists()


async def test_who_may(service):
    assert (await service.call("GET", "/api/company", None))[0] == 401
    assert (await service.call("PUT", "/api/company", "agent", json=EDIT))[0] == 403
    assert (await service.call("PUT", "/api/company", "viewer", json=EDIT))[0] == 403


async def test_another_process_edit_is_followed_and_a_broken_one_is_not(service):
    write(service.settings.data / FILE, ProfileFile.model_validate(EDIT))
    await bump(service)
    await until(lambda: service.profile.now().zh.company == "小山露营")
    (service.settings.data / FILE).write_text('{"tone": 1}', encoding="utf-8")
    await service.profile.follow()
    assert service.profile.now().zh.company == "小山露营"
    with pytest.raises(ConfigError, match="tone"):
        LiveProfile(service.settings)


async def test_a_setting_goes_before_the_file_and_the_console_is_told(start_service):
    service = await start_service(company_name="定死的名字")
    _, shown = await service.call("PUT", "/api/company", "editor", json=EDIT)
    assert shown["fixed"] == ["company_name"]
    assert service.profile.now().zh.company == "定死的名字"
    assert service.profile.now().zh.tone == "warm"


def test_a_file_written_by_hand_may_be_short(tmp_path):
    file = tmp_path / FILE
    file.write_text('\ufeff{"company_name": "小山", "suggestions": ["怎么退"], "more": 1}', encoding="utf-8")
    found = read(file)
    assert (found.company_name.get("en"), found.suggestions.get("en")) == ("小山", ["怎么退"])
    for broken in ("[]", "{", '{"hours": [{"days": [], "from": "1:00", "until": "2:00"}]}', '{"texts": {"x": "y"}}'):
        file.write_text(broken, encoding="utf-8")
        with pytest.raises(ConfigError):
            read(file)


async def bump(service) -> None:
    async with service.database.session() as session:
        await revisions.bump(session, "settings")
    service.client.app[keys.WATCHER].nudge()


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another task does it, and tells nobody
            await asyncio.sleep(0.05)
