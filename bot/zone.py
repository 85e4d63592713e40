"""The company's time zone: its opening hours, the days of its entries, and its nights."""

from datetime import timedelta, timezone, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from bot.config import Settings

# Servers run on UTC, shops do not. China has known no summer time since 1991: where the system has no table of zones
# (it is not named in the settings then), the offset is enough.
DEFAULT = "Asia/Shanghai"
OFFSET = timezone(timedelta(hours=8), DEFAULT)


def company_zone(settings: "Settings") -> tzinfo | None:
    """The zone of the setting `time_zone`; None, which is this machine's, where that is empty."""
    if not settings.time_zone:
        return None
    try:
        return ZoneInfo(settings.time_zone)
    except ZoneInfoNotFoundError:
        if settings.time_zone == DEFAULT:
            return OFFSET
        raise
