"""What `kefu doctor` looks at: each check says in plain words how it is and what to do."""

import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bot.errors import ConfigError, sentence
from bot.language import say, terminal_language

if TYPE_CHECKING:
    from bot.config import Settings

GIBIBYTE = 1024**3
MEMORY_NEEDED_GIB = 4
DISK_NEEDED_GIB = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. A `warning` works and should be seen to; an `error` must be."""

    check: str
    state: Literal["ok", "warning", "error"]
    text: str


def examine(settings: "Settings") -> Iterator[Finding]:
    """Every finding, as it is made; nothing is changed."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        machine,
        models,
        database,
        index,
        calibration,
        learning,
        configuration,
        texts,
    )
    for check in checks:
        try:
            yield from check(settings)
        except Exception as error:  # noqa: BLE001 - a check that fails is itself a finding, and the others go on
            yield Finding(check.__name__, "error", sentence(error, terminal_language()))


def machine(settings: "Settings") -> Iterator[Finding]:
    """Python, cores, memory, disk and GPU, and the base models that fit them."""
    import psutil

    memory, cores = psutil.virtual_memory().total / GIBIBYTE, os.cpu_count() or 1
    gpu = shutil.which("nvidia-smi") is not None
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "machine",
        "ok" if memory >= MEMORY_NEEDED_GIB else "warning",
        say(
            f"Python {version}，{cores} 核，内存 {memory:.1f} GB，{'有' if gpu else '无'} NVIDIA GPU",
            f"Python {version}, {cores} cores, {memory:.1f} GB memory, {'an' if gpu else 'no'} NVIDIA GPU",
        )
        + (
            ""
            if memory >= MEMORY_NEEDED_GIB
            else say('；内存不足 4 GB，可设 generator = ""', '; less than 4 GB: set generator = ""')
        ),
    )
    yield Finding("recommendation", "ok", recommend(memory, gpu=gpu))
    for name, folder in (("data", settings.data), ("models", settings.models)):
        home = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        free = shutil.disk_usage(home).free / GIBIBYTE
        writable = os.access(home, os.W_OK)
        yield Finding(
            f"disk_{name}",
            "error" if not writable else "ok" if free >= DISK_NEEDED_GIB else "warning",
            say(f"{folder} 可用 {free:.1f} GB", f"{folder}: {free:.1f} GB free")
            + ("" if writable else say("，但不能写入", ", but it cannot be written")),
        )


def recommend(memory_gib: float, *, gpu: bool) -> str:
    """Base models that this machine runs well."""
    if gpu:
        pair = ("bge-m3", "qwen3-4b-instruct-2507")
    elif memory_gib >= 16:
        pair = ("bge-base-zh-v1.5", "qwen3-0.6b")
    elif memory_gib >= MEMORY_NEEDED_GIB:
        pair = ("multilingual-e5-small", "qwen2.5-coder-0.5b-instruct")
    else:
        pair = ("multilingual-e5-small", '""')
    return say(
        f"适合这台机器的模型：编码 {pair[0]}，生成 {pair[1]}（内置模型离线可用，其余需要网络下载）",
        f"Models that suit this machine: encoder {pair[0]}, generator {pair[1]} (the embedded ones work offline)",
    )


def models(settings: "Settings") -> Iterator[Finding]:
    """Are the models of the settings there, whole, and do encoder and reranker work."""
    from bot.retrievers import load_encoder, load_reranker
    from finetune.models import verify
    from knowledge.rerankers import RERANKED

    unused = {
        "generator": say("不使用生成模型", "no generator is used"),
        "reranker": say("不使用重排模型", "no reranker is used"),
    }
    for role in ("encoder", "generator", "reranker"):
        name = getattr(settings, role)
        if not name:
            yield Finding(role, "ok", unused[role])
            continue
        if role == "generator" and settings.generator_url:
            yield from generation_server(settings)
            continue
        problems = verify(name, settings.models)
        for problem in problems:
            yield Finding(role, "error", sentence(problem, terminal_language()))
        if not problems:
            yield Finding(role, "ok", say(f"{name} 完整", f"{name} is whole"))
    encoder = load_encoder(settings)
    encoder.encode(["预热"], "query")
    milliseconds = _milliseconds(lambda: encoder.encode(["请问几天能到货"], "query"))
    text = say(f"编码一个问题 {milliseconds:.0f} 毫秒", f"encoding one question takes {milliseconds:.0f} ms")
    yield Finding("speed", "ok", text)
    if reranker := load_reranker(settings):
        reranker.score("预热", ["预热"])
        milliseconds = _milliseconds(lambda: reranker.score("请问几天能到货", ["下单后多久能收到货"] * RERANKED))
        zh = f"重排 {RERANKED} 个候选 {milliseconds:.0f} 毫秒，直接命中的问题不经过它"
        en = f"reranking {RERANKED} candidates takes {milliseconds:.0f} ms; questions asked word for word do without"
        yield Finding("reranker_speed", "ok", say(zh, en))


def generation_server(settings: "Settings") -> Iterator[Finding]:
    """Does the generation server answer, with this key, and does it serve the model of the settings."""
    import asyncio
    from urllib.parse import urlsplit

    from bot.engines.base import EngineError
    from bot.engines.remote import Patience, RemoteEngine
    from bot.generators import key_of

    url, key = settings.generator_url or "", key_of(settings)

    async def ask() -> tuple[str, ...]:
        engine = RemoteEngine(url, settings.generator, str, key=key, patience=Patience(first=10.0, tries=1))
        try:
            return await engine.models()
        finally:
            await engine.close()

    try:
        served = asyncio.run(ask())
    except EngineError as error:
        zh = f"{url} 不能用（{error.zh}），其间回答引用原文"
        yield Finding("generator", "error", say(zh, f"{url} cannot be used ({error.en}); meanwhile replies quote"))
        return
    if settings.generator in served:
        text = say(f"{url} 提供 {settings.generator}", f"{url} serves {settings.generator}")
        yield Finding("generator", "ok", text)
    else:
        there = ", ".join(served[:10]) or "–"
        zh = f"{url} 没有模型 {settings.generator}，它有：{there}；请改设置 generator"
        en = f"{url} has no model {settings.generator}, only {there}; change the setting generator"
        yield Finding("generator", "error", say(zh, en))
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        zh = f"到 {parts.hostname} 的连接没有加密：顾客的话和密钥以明文传送，请用 https 或内网"
        en = f"The connection to {parts.hostname} is not encrypted: use https, or a network of your own"
        yield Finding("generator", "warning", say(zh, en))


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def database(settings: "Settings") -> Iterator[Finding]:
    """Is the database sound, and of our version; read only."""
    import sqlite3
    from contextlib import closing

    from sqlalchemy.engine import make_url

    from bot.storage.schema import newest_version

    path = Path(make_url(settings.database).database or "")
    if not path.is_file():
        yield Finding(
            "database",
            "ok",
            say(f"{path} 还没有，首次启动时创建", f"{path} is not there yet; the first start makes it"),
        )
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            found = str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
            entries = connection.execute("SELECT count(*) FROM entries WHERE deleted_at IS NULL").fetchone()[0]
    except (sqlite3.Error, TypeError) as error:
        verdict, found, entries = str(error), "?", 0
    if verdict != "ok":
        yield Finding(
            "database",
            "error",
            say(f"{path} 已损坏：{verdict}；请从备份恢复", f"{path} is damaged: {verdict}; restore a backup"),
        )
    elif found > newest_version():
        yield Finding(
            "database", "error", say("数据库来自更新版本的 Kefu，请升级", "the database is of a newer Kefu; upgrade")
        )
    else:
        yield Finding(
            "database", "ok", say(f"{path} 完好，{entries} 条 FAQ", f"{path} is sound, {entries} FAQ entries")
        )


def index(settings: "Settings") -> Iterator[Finding]:
    """Are the files of the index whole; they are derived, so nothing is lost where one is not."""
    from knowledge import store

    manifests = sorted((settings.data / "index").glob(f"*/{store.MANIFEST}"))
    if not manifests:
        yield Finding(
            "index", "ok", say("还没有索引，启动时从数据库建立", "no index yet; it is built from the database")
        )
    for folder in (one.parent for one in manifests):
        try:
            count, damaged = store.examine(folder)
        except (ValueError, KeyError, TypeError, OSError):
            count, damaged = 0, [store.MANIFEST]
        if damaged:
            text = say(
                f"{folder} 中的 {'、'.join(damaged)} 不可用，启动后会重新计算，其间按词面检索",
                f"{', '.join(damaged)} in {folder} not usable; computed anew after the start",
            )
        else:
            text = say(f"{folder.name}：{count} 个向量", f"{folder.name}: {count} vectors")
        yield Finding("index", "warning" if damaged else "ok", text)


def calibration(settings: "Settings") -> Iterator[Finding]:
    """Where the probabilities come from, of the encoder that is active."""
    from bot.calibrations import calibration_file, fits, models_of, record_of
    from knowledge.calibrate import Calibration

    adapter = _active_encoder(settings)
    file = calibration_file(settings, settings.data / "adapters" / adapter if adapter else None)
    if not file.is_file():
        text = say("概率用随产品提供的校准", "the probabilities are those of the shipped calibration")
        yield Finding("calibration", "ok", text)
        return
    if not fits(Calibration.from_json(file.read_text("utf-8")), models_of(settings)):
        zh = f"{file} 是为别的模型拟合的，没有使用；用 kefu calibrate 重新拟合"
        en = f"{file} was fitted for other models and is not used; fit another with kefu calibrate"
        yield Finding("calibration", "warning", say(zh, en))
        return
    record = record_of(file)
    if not record:
        yield Finding("calibration", "ok", say(f"使用 {file}", f"{file} is in use"))
        return
    sources = {
        "reviewed": ("人工核对过的问题", "reviewed questions"),
        "own_questions": ("知识库自己的问法", "wordings of the knowledge base itself"),
    }
    zh, en = sources.get(record["source"], ("标注的问题", "labelled questions"))
    before, after = (record[one].get("brier", float("nan")) for one in ("before", "after"))
    zh = f"用 {record['labels']} 个{zh}拟合于 {record['date'][:10]}，Brier {before:.3f} → {after:.3f}"
    en = f"fitted on {record['labels']} {en} on {record['date'][:10]}, Brier {before:.3f} → {after:.3f}"
    yield Finding("calibration", "ok", say(zh, en))


def learning(settings: "Settings") -> Iterator[Finding]:
    """The schedule: what is planned, and what came of its last turn."""
    from bot.learning import plan as plans

    try:
        plan = plans.read(settings)
    except ConfigError as error:
        yield Finding("learning", "warning", say(error.zh, error.en))
        plan = plans.laid_down(settings)
    if plan.mode == "off":
        yield Finding(
            "learning", "ok", say("自动训练没有打开（learning_schedule）", "no training by itself is planned")
        )
        return
    from bot.learning.schedule import Schedule
    from bot.storage.database import Database

    schedule = Schedule(Database(settings.database), settings)
    until = schedule.coming(plan).slot(plan.interval)
    last = _read_only(
        settings,
        "SELECT slot, state, reason, adapter FROM scheduled_runs WHERE slot <= ? ORDER BY slot DESC LIMIT 1",
        until,
    )
    night = schedule.next_night(plan, last[0] if last else None)
    done = " ".join(str(part) for part in last or () if part)
    zh = f"自动训练下次 {night.start:%Y-%m-%d %H:%M}" + (f"；上次 {done}" if done else "")
    en = f"the next training by itself: {night.start:%Y-%m-%d %H:%M}" + (f"; the last: {done}" if done else "")
    yield Finding("learning", "warning" if last and last[1] == "failed" else "ok", say(zh, en))


def _active_encoder(settings: "Settings") -> str | None:
    """The name of the active encoder adapter; read only."""
    row = _read_only(settings, "SELECT adapter_name FROM activations WHERE kind = 'encoder' ORDER BY id DESC LIMIT 1")
    return str(row[0]) if row and row[0] else None


def _read_only(settings: "Settings", query: str, *values: str) -> tuple[Any, ...] | None:
    """The first row of a query; None where there is no database yet, or an older one without that table."""
    import sqlite3
    from contextlib import closing, suppress

    from sqlalchemy.engine import make_url

    path = Path(make_url(settings.database).database or "")
    if not path.is_file():
        return None
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection, suppress(sqlite3.OperationalError):
        row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
        return row
    return None


def configuration(settings: "Settings") -> Iterator[Finding]:
    """The file's permissions, variables that are no settings, and the port."""
    from bot.settings_sources import unknown_variables

    file = settings.data / "kefu.toml"
    if file.is_file() and settings.channels and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield Finding(
            "configuration",
            "warning",
            say(
                f"{file} 含有渠道密钥，却能被其他用户读取：chmod 600",
                f"{file} holds secrets and others can read it: chmod 600",
            ),
        )
    for name in unknown_variables(os.environ):
        yield Finding(
            "configuration", "warning", say(f"环境变量 {name} 不是任何设置", f"the variable {name} is no setting")
        )
    if settings.widget_origins == ("*",):
        yield Finding("configuration", "warning", say("任何网站都能嵌入聊天组件", "any site may embed the widget"))
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", settings.port)) == 0 if settings.port else False
    state: Any = "warning" if taken else "ok"
    yield Finding(
        "port",
        state,
        say(
            f"端口 {settings.port} {'有程序在用（也许就是 Kefu）' if taken else '可用'}",
            f"port {settings.port} is {'in use (perhaps by Kefu)' if taken else 'free'}",
        ),
    )


def texts(settings: "Settings") -> Iterator[Finding]:
    """Does the bot know whose it is, how customers reach a person, and what time it is at the company."""
    from bot.profile import built_in_texts, load_profile

    profile = load_profile(settings)
    hours, zone = profile.rules.hours, settings.time_zone or say("本机时区", "this machine's zone")
    here = hours.clock()
    if hours.spans:
        is_open = hours.open_at(here)
        told = say(
            f"服务时间 {hours.describe('zh')}（{zone}）；那里现在 {here:%H:%M}，{'有人' if is_open else '休息'}",
            f"hours {hours.describe('en')} ({zone}); it is {here:%H:%M} there, {'open' if is_open else 'closed'}",
        )
    else:
        told = say(f"公司时区 {zone}，那里现在 {here:%H:%M}", f"company's time zone {zone}: it is {here:%H:%M} there")
    yield Finding("hours", "ok", told)
    missing = built_in_texts(profile)
    named = "、".join(missing) if terminal_language() == "zh" else ", ".join(missing)
    if missing:
        text = say(
            f"还没有设置 {named}：顾客不知道在和谁说话、怎样找到人。在后台的「公司」页填写",
            f"{named} not set: customers do not learn whose chat this is or how to reach a person. "
            "Fill them in on the console's Company page",
        )
    else:
        text = say("公司名称和转人工的话已设置", "the company's name and the way to a person are set")
    yield Finding("texts", "warning" if missing else "ok", text)
