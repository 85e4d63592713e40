"""Every setting: name, default, unit and meaning. Flags win over `KEFU_*`, those over the file, those over defaults.

Read once by `load_settings` and frozen. A wrong value is refused by name, value and expectation before anything starts.
"""

import argparse
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from bot.errors import ConfigError
from bot.expectations import shown
from bot.zone import DEFAULT

MEBIBYTE = 1024 * 1024
PREFIX = "KEFU_"
CHANNEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Names = Annotated[tuple[str, ...], NoDecode]


def setting(
    default: Any, zh: str, en: str, *, unit: str = "", expects: tuple[str, str] | None = None, **bounds: Any
) -> Any:
    """A field with its meaning in both languages; `bounds` are pydantic's (`ge`, `le`, `max_length`, …)."""
    extra: dict[str, Any] = {"en": en, "unit": unit}
    if expects:
        extra["expects"] = list(expects)
    if callable(default):
        return Field(default_factory=default, description=zh, json_schema_extra=extra, **bounds)
    return Field(default=default, description=zh, json_schema_extra=extra, **bounds)


def default_models() -> Path:
    """Where base models are kept: shared by every data folder of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kefu" / "models"


class Settings(BaseSettings):
    """The effective settings. TOML keys are the field names; variables are `KEFU_` and the upper-case name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=False)

    # The service
    host: str = setting("127.0.0.1", "监听的地址", "address to listen on", min_length=1)
    port: int = setting(
        8080,
        "监听的端口（0 表示任选空闲端口）",
        "port to listen on (0: any free one)",
        ge=0,
        le=65535,
        expects=("1 到 65535 的整数", "an integer from 1 to 65535"),
    )
    data: Path = setting(Path("data"), "数据目录", "data folder")
    models: Path = setting(default_models, "基础模型目录", "folder of the base models")
    demo: bool = setting(default=False, zh="首次启动时载入演示公司", en="load the demo company at the first start")
    language: Literal["zh", "en"] = setting("zh", "命令行与默认界面的语言", "language of the terminal and by default")
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "日志级别", "least level that is logged")
    database_url: str | None = setting(
        None,
        "数据库地址（默认为数据目录中的 SQLite）",
        "database address (default: SQLite in the data folder)",
        expects=(
            "数据库地址，如 sqlite+aiosqlite:///data/kefu.db",
            "a database address such as sqlite+aiosqlite:///data/kefu.db",
        ),
    )
    admin_password: SecretStr | None = setting(
        None,
        "首次启动时管理员 admin 的密码（不设则自动生成并打印一次）",
        "password of the first administrator `admin` (unset: made up and printed once)",
        min_length=8,
        expects=("8 到 256 个字的文字", "text of 8 to 256 characters"),
        max_length=256,
    )

    # Models and answering
    encoder: str = setting(
        "multilingual-e5-small", "编码模型：目录中的名称或文件夹", "encoder: catalogue name or folder", min_length=1
    )
    generator: str = setting(
        "qwen2.5-coder-0.5b-instruct",
        "生成模型：名称或文件夹；留空则不使用",
        "generator: name or folder; empty for none",
    )
    generator_url: str | None = setting(
        None,
        "由这个 OpenAI 兼容服务器生成（以 /v1 结尾；generator 是它那里的模型名）；不设则在本机生成",
        "OpenAI-compatible server that generates (ends in /v1; `generator` is its model's name); unset: this machine",
        expects=(
            "http 或 https 地址，如 http://127.0.0.1:8000/v1",
            "an http or https address such as http://127.0.0.1:8000/v1",
        ),
    )
    generator_key: SecretStr | None = setting(
        None,
        "生成服务器的密钥（建议用环境变量 KEFU_GENERATOR_KEY）",
        "key of the generation server (best in the variable KEFU_GENERATOR_KEY)",
        expects=("密钥文字", "the text of a key"),
        max_length=4096,
    )
    reranker: str = setting(
        "",
        "重排模型（交叉编码器）：名称或文件夹；留空则不使用",
        "reranker (a cross-encoder): name or folder; empty for none",
    )
    engine_threads: int | None = setting(
        None,
        "模型使用的线程数（默认按 CPU 核数）",
        "threads the models use (default: by CPU cores)",
        unit="threads",
        ge=1,
        le=512,
    )
    answer_threshold: float | None = setting(
        None,
        "概率不低于它就直接回答（默认用校准值）",
        "answer directly from this probability (default: calibrated)",
        ge=0,
        le=1,
    )
    clarify_threshold: float | None = setting(
        None, "概率不低于它就反问（默认用校准值）", "ask back from this probability (default: calibrated)", ge=0, le=1
    )
    adapters_kept: int = setting(
        10,
        "每一类保留几个最新的适配器（启用中的、它的上一版、回退要用的和固定的另外保留）",
        "newest adapters of each kind that are kept (beside the active one, its parent, what a rollback needs, pinned)",
        unit="adapters",
        ge=1,
        le=1000,
    )
    auto_calibrate: bool = setting(
        default=True,
        zh="从人工核对过的对话和知识库自己的问法自动重新校准（确实更准才启用）",
        en="calibrate anew from reviewed conversations and own wordings (only where that is better)",
    )
    learning_schedule: Literal["off", "train", "release"] = setting(
        "off",
        "安静时段自动训练编码器：off 关闭；train 只训练；release 确实更好才启用",
        "train the encoder by itself in quiet hours: off, train, or release (only what is better)",
    )
    learning_interval: Literal["night", "week"] = setting(
        "week", "自动训练的间隔：每夜或每周一凌晨", "how often it trains: each night, or in the night to each Monday"
    )
    learning_hours: str = setting(
        "01:00-05:00",
        "安静时段（公司时区），自动训练在其间开始",
        "quiet hours on the company's clock, in which such a training begins",
        expects=("起止时刻，如 01:00-05:00", "hours such as 01:00-05:00"),
    )
    learning_examples_min: int = setting(
        50, "新审核的问题满这么多才自动训练", "newly reviewed questions it takes", unit="questions", ge=1, le=1_000_000
    )
    clarify_options_max: int = setting(
        3, "反问时最多给几个选项", "most options offered when asking back", unit="options", ge=1, le=10
    )
    generate_tokens_max: int = setting(
        200, "生成的回答最多多少个词元", "most tokens of a generated reply", unit="tokens", ge=16, le=4096
    )
    passages_max: int = setting(
        4, "生成回答时最多参考几段资料", "most passages given to the generator", unit="passages", ge=1, le=20
    )

    # Limits
    sessions_per_minute: int = setting(
        300,
        "每个地址每分钟最多新开的会话数",
        "new conversations a minute for one address",
        unit="per minute",
        ge=1,
        le=1_000_000,
    )
    messages_per_minute: int = setting(
        60,
        "每个地址与会话每分钟最多的消息数",
        "messages a minute for one address and conversation",
        unit="per minute",
        ge=1,
        le=1_000_000,
    )
    question_characters_max: int = setting(
        2000, "一条消息最多的字数", "most characters of one message", unit="characters", ge=10, le=100_000
    )
    upload_bytes_max: int = setting(
        100 * MEBIBYTE,
        "上传文件的最大字节数",
        "largest file that can be uploaded",
        unit="bytes",
        ge=1024,
        le=10 * 1024 * MEBIBYTE,
    )
    trusted_proxies: Names = setting(
        (),
        "可信的反向代理地址或网段",
        "addresses or networks of trusted reverse proxies",
        expects=("IP 地址或网段的列表", "a list of IP addresses or networks"),
    )
    widget_origins: Names = setting(
        (),
        "可以嵌入聊天组件的网站",
        "sites that may embed the widget",
        expects=("网站来源的列表，如 https://shop.example.com", "a list of origins such as https://shop.example.com"),
    )
    conversation_days: int = setting(
        180, "对话保存的天数，之后删除", "conversations are kept this long, then deleted", unit="days", ge=1, le=36_500
    )
    trash_days: int = setting(
        30,
        "删除的文件可以恢复的天数，之后彻底清除",
        "deleted documents can be restored this long, then they are purged",
        unit="days",
        ge=1,
        le=36_500,
    )
    time_zone: str = setting(
        DEFAULT,
        "公司所在的时区：服务时间、条目生效和失效的日期、夜间训练都按它；留空为本机时区",
        "the company's time zone, for opening hours, the days of entries and nightly training; empty: this machine's",
        expects=("时区名称，如 Asia/Shanghai", "the name of a time zone such as Asia/Shanghai"),
    )
    session_hours: float = setting(
        12.0, "员工登录的有效时长", "how long a staff sign-in lasts", unit="hours", ge=0.1, le=8760
    )

    # The company; what is empty comes from profile.json in the data folder, else from the built-in texts
    company_name: str = setting("", "公司名称", "name of the company", max_length=100)
    assistant_name: str = setting("", "客服助手的名称", "name of the assistant", max_length=50)
    welcome_text: str = setting("", "欢迎语", "greeting, Chinese", max_length=2000)
    welcome_text_en: str = setting("", "英文欢迎语", "greeting, English", max_length=2000)
    handoff_text: str = setting("", "答不上来时的回复", "reply when there is no answer, Chinese", max_length=2000)
    handoff_text_en: str = setting(
        "", "答不上来时的英文回复", "reply when there is no answer, English", max_length=2000
    )
    suggested_questions: Names = setting((), "聊天页开场的推荐问题", "questions suggested at the start of a chat")

    # Business actions and channels
    actions_dir: Path | None = setting(
        None,
        "业务动作所在目录（默认 数据目录/actions）",
        "folder of business actions (default: actions in the data folder)",
    )
    action_server_url: str | None = setting(
        None,
        "Rasa 动作服务器地址",
        "address of a Rasa action server",
        expects=("http 或 https 地址", "an http or https address"),
    )
    action_timeout_seconds: float = setting(
        10.0, "业务动作的时限", "time a business action may take", unit="seconds", gt=0, le=300
    )
    channels: tuple[dict[str, Any], ...] = setting(
        (),
        "消息渠道（配置文件中的 [[channels]]）",
        "messaging channels ([[channels]] in the file)",
        expects=("由 kind 和 name 命名的 [[channels]] 表", "[[channels]] tables named by kind and name"),
    )
    bench_data: Path | None = setting(None, "基准数据目录（仅用于测试）", "folder of benchmark data (tests only)")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The sources are read one by one in `bot.settings_sources`, which remembers where each value came from.
        return (init_settings,)

    @field_validator("trusted_proxies", "widget_origins", "suggested_questions", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """From the environment a list comes as one text, separated by commas."""
        if isinstance(value, str):
            return tuple(part.strip() for part in re.split(r"[,，\n]", value) if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one, strict=False)
        return value

    @field_validator("widget_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            parts = urlsplit(one)
            if one != "*" and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/")):
                raise ValueError(one)
        return tuple(one.rstrip("/").lower() for one in value)

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in ("", DEFAULT):
            try:
                ZoneInfo(value)
            except (KeyError, OSError) as error:  # OSError: a folder of the database, such as "Asia"
                raise ValueError(value) from error
        return value

    @field_validator("learning_hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        from bot.learning.nights import Hours

        Hours.parse(value)
        return value

    @field_validator("action_server_url", "generator_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError(value)
        return value or None

    @field_validator("admin_password", "generator_key", mode="before")
    @classmethod
    def _unset(cls, value: Any) -> Any:
        return value or None

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        seen = set()
        for one in value:
            kind, name = key = one.get("kind"), one.get("name", one.get("kind"))
            if not isinstance(kind, str) or not CHANNEL_NAME.fullmatch(kind):
                raise ValueError(kind)
            if not isinstance(name, str) or not CHANNEL_NAME.fullmatch(name):
                raise _wrong_channel_name(kind, name)
            if key in seen:
                raise ConfigError(
                    "wrong_setting",
                    f"channels：{kind}/{name} 写了两次，每个 [[channels]] 表要有自己的 name",
                    f"channels: {kind}/{name} is there twice; each [[channels]] table needs a name of its own",
                )
            seen.add(key)
        return tuple({**one, "name": one.get("name", one["kind"])} for one in value)

    @model_validator(mode="after")
    def _ordered(self) -> "Settings":
        clarify, answer = self.clarify_threshold, self.answer_threshold
        if clarify is not None and answer is not None and clarify > answer:
            raise ValueError("clarify_threshold")
        return self

    @property
    def database(self) -> str:
        """The database's SQLAlchemy async URL."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data / 'kefu.db'}"

    @property
    def actions(self) -> Path:
        """The folder the company's own business actions are found in."""
        return self.actions_dir or self.data / "actions"


def _wrong_channel_name(kind: str, name: Any) -> ConfigError:
    return ConfigError(
        "wrong_setting",
        f"channels：{kind} 的 name 是 {shown(name)}；只能用小写字母、数字、_ 和 -（它是地址的一部分），最多 64 个",
        f"channels: the name of {kind} is {shown(name)}; it has small letters, digits, _ and - only (it is part of an "
        "address), 64 at most",
    )


def load_settings(flags: Mapping[str, Any] | argparse.Namespace | None = None, config: Path | None = None) -> Settings:
    """The effective settings.

    Args:
        flags: values by field name (None stands for a flag that was not given); or parsed arguments, of which only
            `data`, `host`, `port`, `demo` and `settings_file` (the TOML file) are settings.
        config: the TOML file; default `KEFU_CONFIG`, else `kefu.toml` in the data folder where there is one.

    Raises:
        ConfigError: a setting is unknown, or a value is not what the setting takes.
    """
    from bot.settings_sources import effective

    return effective(flags, config).settings
