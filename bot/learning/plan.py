"""When it trains by itself: what the settings lay down, and beyond that `schedule.json`, which the console writes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bot.errors import ConfigError, ConflictError
from bot.expectations import shown
from bot.learning.nights import Hours, Interval
from bot.uploads import write_whole

if TYPE_CHECKING:
    from bot.config import Settings

FILE = "schedule.json"
Mode = Literal["off", "train", "release"]
# Which setting each part of the plan is.
FIELDS = {
    "mode": "learning_schedule",
    "interval": "learning_interval",
    "hours": "learning_hours",
    "examples_min": "learning_examples_min",
}


class Plan(BaseModel):
    """Whether and when it trains; the meanings are those of the settings in `FIELDS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mode: Mode
    interval: Interval
    hours: str = Field(
        max_length=40, json_schema_extra={"expects": ["起止时刻，如 01:00-05:00", "hours such as 01:00-05:00"]}
    )
    examples_min: int = Field(ge=1, le=1_000_000)

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        Hours.parse(value)
        return value.strip()


def laid_down(settings: "Settings") -> Plan:
    """What the settings and their defaults say."""
    return Plan.model_validate({name: getattr(settings, field) for name, field in FIELDS.items()})


def fixed(settings: "Settings") -> list[str]:
    """The parts that somebody set in kefu.toml, the environment or a flag, and that the console leaves alone."""
    return [name for name, field in FIELDS.items() if field in settings.model_fields_set]


def read(settings: "Settings") -> Plan:
    """The plan in force. Raises ConfigError where `schedule.json` cannot be read or holds no plan."""
    file, plan = settings.data / FILE, laid_down(settings)
    if not file.exists():
        return plan
    try:
        value = Plan.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place, seen = ".".join(map(str, first["loc"])), shown(first["input"])
        raise _unreadable(file, f"{place} = {seen}") from error
    except (OSError, ValueError) as error:
        raise _unreadable(file, str(error)) from error
    return value.model_copy(update={name: getattr(plan, name) for name in fixed(settings)})


def write(settings: "Settings", plan: Plan) -> None:
    """Keep a plan, whole or not at all. Raises ConflictError where it changes what the settings fix, OSError."""
    before = laid_down(settings)
    if moved := [name for name in fixed(settings) if getattr(plan, name) != getattr(before, name)]:
        field = FIELDS[moved[0]]
        raise ConflictError(
            "setting_fixed",
            f"{field} 已经在 kefu.toml 或环境变量里写明，这里改不了；请在那里修改或去掉它",
            f"{field} is set in kefu.toml or the environment and cannot be changed here; change or remove it there",
        )
    write_whole(settings.data / FILE, (json.dumps(plan.model_dump(mode="json"), indent=1) + "\n").encode())


def _unreadable(file: Path, what: str) -> ConfigError:
    return ConfigError(
        "schedule", f"无法读取 {file}：{what}；按设置执行", f"{file} cannot be read: {what}; the settings stand instead"
    )
