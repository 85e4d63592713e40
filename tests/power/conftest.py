"""Power cuts: a machine to cut off, the real models, and a company's data folder to lose nothing of."""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import bot.knowledge_base
from bot.config import Settings
from bot.knowledge_base import KnowledgeBase
from bot.storage import documents, knowledge
from bot.storage.database import Database, opened
from knowledge.types import Entry
from tests.power.shop import Shop

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 300.0


@dataclass
class Running:
    """A process of the product. `status` is None while it runs; negative where a signal ended it."""

    machine: "Machine"
    pid: int
    log: Path
    started: float = field(default_factory=time.monotonic)
    status: int | None = None

    def wait(self, seconds: float = SECONDS_MAX) -> bool:
        """Whether it ended within that time."""
        if self.status is None and (line := self.machine.line(seconds)) is not None:
            self.status = int(line)
        return self.status is not None

    def finish(self) -> str:
        """Its output, once it ended by itself and well."""
        assert self.wait(), f"still running:\n{self.output}"
        assert self.status == 0, self.output
        return self.output

    def cut(self) -> bool:
        """Kill it -9; whether it was still running."""
        if self.status is None:
            with suppress(ProcessLookupError):  # it has just ended by itself, and its status is on its way
                os.kill(self.pid, signal.SIGKILL)
            assert self.wait()
        return self.status == -signal.SIGKILL

    def cut_after(self, seconds: float) -> bool:
        self.wait(max(0.0, self.started + seconds - time.monotonic()))
        return self.cut()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


class Machine:
    """Runs one process of the product at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        # Each start is another computer start: its own hash seed would differ too, so orders must not depend on it.
        env = {name: value for name, value in os.environ.items() if not name.startswith("KEFU_")}
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._env = env | {"PYTHONPATH": str(ROOT)}
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""
        self._last: Running | None = None
        self._common = {"KEFU_GENERATOR": "", "KEFU_ENGINE_THREADS": "1", "KEFU_LANGUAGE": "zh", "KEFU_PORT": "0"}
        if "KEFU_MODELS" in os.environ:
            self._common["KEFU_MODELS"] = os.environ["KEFU_MODELS"]

    def boot(self) -> None:
        """A new process to fork from, with another hash seed than the one before."""
        self.stop()
        self._count += 1
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("machine.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._env | {"PYTHONHASHSEED": str(self._count)},
            cwd=self._folder,
        )
        assert self.line(SECONDS_MAX) == "ready"

    def stop(self) -> None:
        if self._last:
            self._last.cut()
        if self._process:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(SECONDS_MAX)
            self._process.stdout.close()
            self._process, self._read = None, b""

    def line(self, seconds: float) -> str | None:
        """What the machine says next; None where it says nothing for that long."""
        assert self._process is not None
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._read:
            if not select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 4096)
            assert more, "the machine is gone"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def start(self, data: Path, *args: str, run: str = "cli", **order: Any) -> Running:
        """Start `kefu ARGS` (or the training worker) on a data folder. `cut=(folder, n)` as in machine.py."""
        if self._process is None:
            self.boot()
        assert self._process is not None
        assert self._process.stdin is not None
        log = data.parent / f"{data.name}.log"
        log.write_text("")
        env = self._common | {"KEFU_DATA": str(data)} | order.pop("env", {})
        if args[:1] == ("import",):  # the cuts are for the writing, not for the look for near-duplicates after it
            env["KEFU_MODELS"] = str(self._folder / "none")
        told = {"run": run, "args": args, "env": env, "log": str(log), **order}
        self._process.stdin.write(json.dumps(told, default=str).encode() + b"\n")
        self._process.stdin.flush()
        pid = self.line(SECONDS_MAX)
        assert pid
        self._last = Running(self, int(pid), log)
        return self._last

    def in_transaction(self, data: Path, *args: str) -> list[int]:
        """Run to the end; the numbers, as `statement` takes them, of what follows the first row written by its last
        transaction: a cut there is in the middle of it, or right after it."""
        listed = data.parent / f"{data.name}.statements"
        listed.write_text("")
        self.start(data, *args, statements=str(listed)).finish()
        said = listed.read_text().splitlines()
        begun = max(number for number, one in enumerate(said, 1) if one == "BEGIN IMMEDIATE")
        after = said.index("COMMIT", begun) + 2  # where anything is said after it
        first = next(number for number, one in enumerate(said, 1) if number > begun and one.startswith("INSERT"))
        return list(range(first + 1, min(after, len(said)) + 1))

    def changes(self, data: Path, *args: str, within: Path, **order: Any) -> tuple[list[str], Running]:
        """Run to the end; every change of files in a folder, in order, as `cut` counts them."""
        listed = data.parent / f"{data.name}.operations"
        listed.write_text("")
        running = self.start(data, *args, operations=[str(within), str(listed)], **order)
        running.wait()
        return listed.read_text().splitlines(), running


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def moments() -> Callable[..., list[float]]:
    """`moments(seed, count, seconds)`: that many moments spread over a duration, in random order."""

    def spread(seed: int, count: int, seconds: float) -> list[float]:
        pick = random.Random(seed)
        found = [(number + pick.random()) / count * seconds for number in range(count)]
        pick.shuffle(found)
        return found

    return spread


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith("KEFU_")]:
        if name not in ("KEFU_MODELS", "KEFU_BENCH_DATA"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def encoder_of(encoder_folder: Path, shared_encoder: Any) -> Callable[[Path | None], Any]:
    """The real encoder with an adapter's folder or none, each loaded once."""
    from knowledge.encoders import TransformerEncoder

    loaded: dict[str | None, Any] = {None: shared_encoder}

    def get(adapter: Path | None = None) -> Any:
        name = adapter.name if adapter else None
        if name not in loaded:
            loaded[name] = TransformerEncoder(encoder_folder, adapter, threads=1)
        return loaded[name]

    return get


@dataclass(frozen=True)
class Stored:
    """What a database holds: answers by question, passage texts, documents by id with their file's SHA-256."""

    answers: dict[str, str]
    passages: frozenset[str]
    documents: dict[str, str]
    imports: int


async def read_stored(data: Path) -> Stored:
    """Through the product's own way in, which also checks and upgrades the schema."""
    from sqlalchemy import func, select

    from bot.storage.tables import AuditRow

    async with opened(f"sqlite+aiosqlite:///{data / 'kefu.db'}") as database, database.reading() as session:
        changes = await knowledge.changes_since(session, 0)
        stored, _ = await documents.list_documents(session)
        imports = await session.scalar(select(func.count()).where(AuditRow.action == "documents.import"))
    entries = [unit for unit in changes.upserts if isinstance(unit, Entry)]
    answers = {entry.question: entry.answer for entry in entries}
    assert len(answers) == len(entries), "an entry is there twice"
    texts = [unit.text for unit in changes.upserts if not isinstance(unit, Entry)]
    assert len(set(texts)) == len(texts), "a passage is there twice"
    return Stored(answers, frozenset(texts), {one.id: one.sha256 for one in stored}, imports or 0)


@pytest.fixture(scope="session")
def stored() -> Callable[[Path], Any]:
    return read_stored


@pytest.fixture
def library_on(
    encoder_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], AbstractAsyncContextManager[KnowledgeBase]]:
    """The real live knowledge base on a data folder; only loading the same model again is saved."""
    monkeypatch.setattr(bot.knowledge_base, "load_encoder", lambda _settings, folder=None: encoder_of(folder))

    @asynccontextmanager
    async def on(data: Path) -> AsyncIterator[KnowledgeBase]:
        settings = Settings(data=data, generator="")
        database = Database(settings.database)
        await database.open()
        knowledge_base = KnowledgeBase(database, settings)
        try:
            await knowledge_base.open()
            yield knowledge_base
        finally:
            await knowledge_base.close()
            await database.close()

    return on


@pytest.fixture
def in_step(library_on: Callable[..., Any]) -> Callable[..., Any]:
    """`await in_step(data)`: the index, opened from the snapshot, holds exactly what the database does."""

    async def check(data: Path, gone: Sequence[str] = ()) -> None:
        there = await read_stored(data)
        async with library_on(data) as knowledge_base:
            assert knowledge_base.counts == (len(there.answers), len(there.passages))
            for question, answer in there.answers.items():
                found = await knowledge_base.search(question, 1)
                assert found.hits[0].dense > 0.99, question
                assert knowledge_base.entry(found.hits[0].id).answer == answer
            for question in gone:
                hits = (await knowledge_base.search(question, 5)).hits
                assert question not in {hit.phrasing for hit in hits}

    return check


@pytest.fixture(scope="session")
def installed_adapters(
    encoder_folder: Path, encoder_of: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of two installed encoder adapters, real LoRA weights that were never trained."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from finetune.models import model_checksum
    from finetune.registry import Manifest, install
    from finetune.signing import Signer

    home = tmp_path_factory.mktemp("installed")
    for seed, name in enumerate(("encoder-one", "encoder-two"), 1):
        torch.manual_seed(seed)
        base = AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False)
        config = LoraConfig(r=4, lora_alpha=64, target_modules=["query", "key", "value"], init_lora_weights=False)
        get_peft_model(base, config).save_pretrained(home / ".made" / name)
        manifest = Manifest(
            name=name, kind="encoder", base_model=encoder_folder.name, base_checksum=model_checksum(encoder_folder),
            data_hash="", examples=0, config={}, metrics={}, verdict={"outcome": "unknown", "zh": "", "en": ""},
            created_at="2026-01-01T00:00:00Z", seconds=0.0,
        )  # fmt: skip
        (home / ".made" / name / "README.md").unlink(missing_ok=True)
        install(home / ".made" / name, home / "adapters", manifest, Signer(home))
    return home / "adapters"


@pytest.fixture
def copy_of() -> Callable[[Path, Path], Path]:
    """A data folder as it was before, for the next cut."""

    def copy(template: Path, target: Path) -> Path:
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(template, target, ignore=shutil.ignore_patterns(".control")))

    return copy


@pytest.fixture
def shop_on(machine: Any, installed_adapters: Path, copy_of: Callable[..., Any]) -> Callable[[Path], Any]:
    @asynccontextmanager
    async def on(data: Path) -> AsyncIterator[Shop]:
        copy_of(installed_adapters, data / "adapters")
        shutil.copy(installed_adapters.parent / "signing.key", data)
        made = json.loads(machine.start(data, "keys", "add", "test", "--role", "admin", "--json").finish())
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS_MAX)) as http:
            shop = Shop(machine, data, made["key"], http)
            try:
                yield shop
            finally:
                if shop.running:
                    shop.running.cut()

    return on
