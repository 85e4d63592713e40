"""By whose clock a shop is open: Beijing's, unless another is set, whatever the machine's."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

import bot.zone
from bot.health_checks import texts
from bot.profile import load_profile
from bot.zone import company_zone

NINE = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)  # a Monday, half past nine in Beijing


@pytest.fixture
def on_utc(monkeypatch):
    """A machine as servers are."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("on_utc")
@pytest.mark.parametrize(("zone", "is_open"), [(None, True), ("", False), ("Europe/Berlin", False)])
def test_a_shop_is_open_by_its_own_clock(make_settings, zone, is_open):
    settings = make_settings(**({} if zone is None else {"time_zone": zone}))
    settings.data.mkdir(exist_ok=True)
    (settings.data / "profile.json").write_text(
        '{"hours": [{"days": [1, 2, 3, 4, 5], "from": "9:00", "until": "18:00"}]}', encoding="utf-8"
    )
    hours = load_profile(settings).rules.hours
    assert hours.open_at(NINE.astimezone(hours.zone)) is is_open
    begun = hours.clock()
    (told,) = [one for one in texts(settings) if one.check == "hours"]
    assert (zone or ("本机时区" if zone == "" else "Asia/Shanghai")) in told.text
    assert any(f"{moment:%H:%M}" in told.text for moment in (begun, hours.clock()))


def test_beijings_clock_needs_no_table_of_zones(make_settings, monkeypatch):
    def none(name):
        raise ZoneInfoNotFoundError(name)

    known = company_zone(make_settings())
    monkeypatch.setattr(bot.zone, "ZoneInfo", none)
    assert NINE.astimezone(company_zone(make_settings())).isoformat() == "2026-03-02T09:30:00+08:00"
    assert known == ZoneInfo("Asia/Shanghai")
