"""Do written replies say only what their sources say: `python -m tests.benchmarks.grounded_replies --raw FILE`.

Questions, each with the sources that a search finds: 88 of our own about the demo company's documents, its 50
paraphrased questions with its entries as sources, and, where KEFU_BENCH_DATA is set, 90 made from the entries that its
documents give. The real encoder, prompt, generator and guard; one reply each, as a customer would get it.

What the model writes for a prompt is kept in `--raw` (decoding is greedy, so it stays the same), which makes a run
resumable and a change of the guard cheap to measure. Prints one JSON document; `--show FILE` writes every reply with
its sources for a person to read: names and conditions are judged by reading, figures by a check of its own here.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bot.demo
from bot.config import Settings
from bot.dialogue.excerpts import excerpts
from bot.dialogue.grounded import Writing
from bot.dialogue.policy import PASSAGE_DISTANCE, Limits, entry_source, passage_source
from bot.dialogue.types import Source
from bot.dialogue.voice import Company
from bot.engines.base import Message, Piece
from bot.generators import make_engine
from bot.importing import import_file
from bot.knowledge_base import KnowledgeBase
from bot.profile import load_profile
from bot.storage.database import opened

QUESTIONS = Path(__file__).with_name("grounded_questions.txt")
FROM_DOCUMENTS = 90
AT_ONCE = 6
# Discussions whose "answers" are the questions of others.
NOT_ASKED = ("10_", "11_")
ANSWER_CHARACTERS = range(25, 700)
WAYS = ("请问{}", "{}，麻烦说一下", "我想了解一下{}", "{}？具体要注意什么", "{}，有什么条件吗")
_NUMERAL = re.compile("[零〇一二两三四五六七八九十百千]+")
_DIGITS = {
    c: str(n) for n, names in enumerate(("零〇", "一", "二两", "三", "四", "五", "六", "七", "八", "九")) for c in names
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what was found for it."""

    set: str
    question: str
    sources: tuple[Source, ...]


class Kept:
    """The engine, with everything it ever wrote kept in a file by its prompt. A reply is always written to its end."""

    def __init__(self, engine: Any, file: Path) -> None:
        self._engine, self._file = engine, file
        self.name, self.active_adapter = engine.name, engine.active_adapter
        lines = file.read_text("utf-8").splitlines() if file.is_file() else []
        self.texts: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}

    async def generate(
        self, messages: Sequence[Message], *, max_tokens: int = 200, model: str | None = None, user: str = ""
    ) -> AsyncGenerator[Piece]:
        key = hashlib.sha256(json.dumps([*messages, max_tokens, model], ensure_ascii=False).encode()).hexdigest()
        if key not in self.texts:
            pieces = [p async for p in self._engine.generate(messages, max_tokens=max_tokens, model=model, user=user)]
            text, tokens = "".join(piece.text for piece in pieces), pieces[-1].completion_tokens
            self.texts[key] = {"key": key, "text": text, "tokens": tokens}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.texts[key], ensure_ascii=False) + "\n")
            print(f"{len(self.texts)} written", file=sys.stderr, flush=True)
        kept = self.texts[key]
        for place in range(0, len(kept["text"]), 4):
            yield Piece(kept["text"][place : place + 4])
        yield Piece("", finished=True, prompt_tokens=1, completion_tokens=kept["tokens"])


async def from_files(name: str, files: Sequence[Path], questions: Sequence[str] | None, home: Path) -> list[Asked]:
    """Questions (None: made from the entries) with the passages, else the entries, found for them in these files."""
    settings = Settings(data=home / name, auto_calibrate=False)
    async with opened(settings.database) as database:
        for file in files:
            await import_file(database, file, file.name, home / name / "uploads", actor="benchmark")
        knowledge = KnowledgeBase(database, settings)
        await knowledge.open()
        try:
            asked = questions if questions is not None else made_from(home / name)
            return [Asked(name, one, await found(knowledge, one)) for one in asked]
        finally:
            await knowledge.close()


async def found(knowledge: KnowledgeBase, question: str) -> tuple[Source, ...]:
    """As `policy.relevant` takes them, cut to what is asked about: entries with an answer in place of passages where
    files give entries.
    """
    result = await knowledge.search(question)
    limit = Limits().passages_max
    entries = [(hit, one) for hit in result.hits if (one := knowledge.entry(hit.id)) and one.answer.strip()][:limit]
    if entries:
        floor = entries[0][0].score - PASSAGE_DISTANCE
        sources = [entry_source(one, hit.score) for hit, one in entries if hit.score >= floor]
    else:
        near = [hit for hit in result.passages[:limit] if hit.score >= result.passages[0].score - PASSAGE_DISTANCE]
        sources = [passage_source(one, hit) for hit in near if (one := knowledge.passage(hit.id))]
    return await excerpts(question, sources, knowledge.alike)


def made_from(home: Path) -> list[str]:
    """Entries' questions in other clothes, the same ones at every run."""
    import sqlite3
    from contextlib import closing

    query = "SELECT d.name, e.question, e.answer FROM entries e JOIN documents d ON d.id = e.document_id"
    with closing(sqlite3.connect(home / "kefu.db")) as connection:
        rows = connection.execute(query).fetchall()
    fit = [q for name, q, a in rows if not name.startswith(NOT_ASKED) and len(a) in ANSWER_CHARACTERS and len(q) < 40]
    chosen = sorted(set(fit), key=lambda q: hashlib.sha256(q.encode()).hexdigest())[:FROM_DOCUMENTS]
    plain = [one.strip(" ?？。.!！") for one in chosen]
    return [WAYS[len(one) % len(WAYS)].format(one) for one in plain]


def numbers(text: str) -> set[str]:
    """Every run of digits, Chinese numerals spelt out among them: a check that owes nothing to the guard's."""
    plain = unicodedata.normalize("NFKC", text).replace(",", "")
    spelt = _NUMERAL.sub(lambda m: f"{m.group()} {in_digits(m.group())} ", plain)
    return {one.rstrip(".") for one in re.findall(r"\d+(?:\.\d+)?", spelt)}


def in_digits(numeral: str) -> str:
    if not set(numeral) & set("十百千"):
        return "".join(_DIGITS[c] for c in numeral)
    total, digit = 0, 0
    for c in numeral:
        scale = {"十": 10, "百": 100, "千": 1000}.get(c)
        total, digit = (total + (digit or 1) * scale, 0) if scale else (total, int(_DIGITS[c]))
    return str(total + digit)


def foreign(reply: str, one: Asked) -> list[str]:
    """Numbers and Latin words of a reply that stand in none of its sources."""
    whole = "\n".join(f"{source.title}\n{source.quote}" for source in one.sources)
    written = re.compile(r"^\s*(?:\d{1,2}[.、)]|-)\s*", re.MULTILINE).sub("", reply)
    words = set(re.findall("[a-z]{2,}", unicodedata.normalize("NFKC", written).casefold()))
    strange = numbers(written) - numbers(whole)
    return sorted(strange | {word for word in words if word not in unicodedata.normalize("NFKC", whole).casefold()})


async def reply(engine: Any, one: Asked, company: Company) -> Writing:
    """One reply as the pipeline writes it."""
    limits = Limits()
    writing = Writing(
        engine, one.question, [(s.title, s.quote) for s in one.sources], company.now().zh.company,
        limits.generate_tokens_max, first_piece_seconds=3600, total_seconds=7200, tone=company.now().zh.tone,
    )  # fmt: skip
    async for _ in writing.text():
        pass
    return writing


async def measure(arguments: argparse.Namespace, home: Path) -> dict[str, Any]:
    demo = Settings(data=home / "demo", demo=True)
    asked = await from_files("demo documents", bot.demo.documents(), QUESTIONS.read_text("utf-8").splitlines(), home)
    paraphrases = [json.loads(line)["query"] for line in bot.demo.paraphrases_path().read_text("utf-8").splitlines()]
    asked += await from_files("demo entries", [bot.demo.faq_path()], paraphrases, home)
    if os.environ.get("KEFU_BENCH_DATA"):
        folder = Path(os.environ["KEFU_BENCH_DATA"]) / "documents"
        files = [one for one in sorted(folder.iterdir()) if one.suffix != ".tsv"]
        asked += await from_files("documents", files, None, home)
    asked = [one for one in asked if one.sources][arguments.skip : arguments.first]

    class Demo:
        def now(self) -> Any:
            return load_profile(demo)

    real = make_engine(demo, Demo())
    engine, places = Kept(real, arguments.raw), asyncio.Semaphore(AT_ONCE)

    async def write(one: Asked) -> Writing:
        async with places:
            return await reply(engine, one, Demo())

    written = await asyncio.gather(*(write(one) for one in asked))
    if real:
        await real.close()
    if arguments.show:
        arguments.show.write_text("".join(page(one, its) for one, its in zip(asked, written, strict=True)), "utf-8")
    return report(asked, written)


def report(asked: Sequence[Asked], written: Sequence[Writing]) -> dict[str, Any]:
    """Counts, and the replies with figures or foreign words that their sources do not have."""
    both = list(zip(asked, written, strict=True))
    return {
        "replies": len(both),
        "generated": sum(bool(its.written) for _, its in both),
        "whole": sum(bool(its.written) and not its.stopped for _, its in both),
        "by_set": {
            name: sum(bool(its.written) for one, its in both if one.set == name) for name in {o.set: 0 for o in asked}
        },
        "tried_again": sum(its.tries > 1 for _, its in both),
        "generated_at_try": dict(Counter(its.tries for _, its in both if its.written)),
        "tokens": sum(its.completion_tokens for _, its in both),
        "stopped": dict(Counter(its.stopped for _, its in both).most_common()),
        "unsupported": [[one.question, its.written, what] for one, its in both if (what := foreign(its.written, one))],
    }


def page(one: Asked, its: Writing) -> str:
    sources = "\n".join(f"    [{source.title}] {source.quote}" for source in one.sources)
    return f"== {one.set}: {one.question}\n{its.written or '(quoted)'}\n  stopped: {its.stopped}\n{sources}\n\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="what the model wrote, kept from run to run")
    parser.add_argument("--show", type=Path, help="write every reply with its sources here")
    parser.add_argument("--skip", type=int, default=0, help="not the first so many questions")
    parser.add_argument("--first", type=int, default=None, help="only so many questions")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(asyncio.run(measure(given, Path(temporary))), ensure_ascii=False, indent=1))
