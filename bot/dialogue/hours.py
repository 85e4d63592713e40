"""When people of the company can be reached."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo

from bot.language import Language

_DAYS = {"zh": "一二三四五六日", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, slots=True)
class Span:
    """On these days (Monday is 1) from one minute of the day to another; past midnight where `until` is smaller."""

    days: tuple[int, ...]
    from_minute: int
    until_minute: int


@dataclass(frozen=True, slots=True)
class Hours:
    """The spans of a week and the days off. Without any span nothing is known of it, and people count as there."""

    spans: tuple[Span, ...] = ()
    days_off: frozenset[date] = frozenset()
    zone: tzinfo | None = field(default=None, compare=False)

    def open_now(self) -> bool:
        return self.open_at(datetime.now(self.zone))

    def clock(self) -> datetime:
        """The time that it is there now, with its zone."""
        return datetime.now(self.zone).astimezone(self.zone)

    def open_at(self, moment: datetime) -> bool:
        """Whether somebody is there at `moment`, a local time. A night's span belongs to the day it begins on."""
        if not self.spans:
            return True
        minute, today = moment.hour * 60 + moment.minute, moment.date()
        return any(
            self._covers(span, today, minute) or self._covers(span, today - timedelta(days=1), minute + 24 * 60)
            for span in self.spans
        )

    def _covers(self, span: Span, day: date, minute: int) -> bool:
        until = span.until_minute + (24 * 60 if span.until_minute <= span.from_minute else 0)
        return day.isoweekday() in span.days and day not in self.days_off and span.from_minute <= minute < until

    def describe(self, language: Language) -> str:
        """The spans in words: 「周一至周五 9:00–18:00」."""
        mark = "，" if language == "zh" else ", "
        return mark.join(
            f"{_days(span.days, language)} {_clock(span.from_minute)}–{_clock(span.until_minute)}"
            for span in self.spans
        )


def _days(days: tuple[int, ...], language: Language) -> str:
    ordered = tuple(sorted(set(days)))
    if ordered == EVERY_DAY:
        return "每天" if language == "zh" else "every day"
    names = [("周" if language == "zh" else "") + _DAYS[language][day - 1] for day in ordered]
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{names[0]}至{names[-1]}" if language == "zh" else f"{names[0]} to {names[-1]}"
    return ("、" if language == "zh" else ", ").join(names)


def _clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02d}"
