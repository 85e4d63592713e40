"""The questions that an encoder is examined on: this company's, its golden set, and the product's own frozen ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.learning import exams
from bot.learning.report import Set
from finetune.data import normalise, read_jsonl

if TYPE_CHECKING:
    from knowledge.types import Entry

GOLDEN = "golden.jsonl"
Question = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Paper:
    """The questions of a run, `{"query", "faq_id", "type", "set", "source"?}`, and the entries they are searched in."""

    questions: tuple[Question, ...]
    entries: "tuple[Entry, ...]"
    left_out: tuple[dict[str, str], ...] = ()

    def of(self, *sets: Set) -> list[int]:
        return [at for at, question in enumerate(self.questions) if question["set"] in sets]


def set_paper(run_dir: Path) -> Paper:
    """The run's held-out questions, the golden set where the company has one, and the product's own."""
    from knowledge.types import Entry

    entries = tuple(
        Entry(row["id"], row["phrasings"][0], similar_questions=tuple(row["phrasings"][1:]))
        for row in read_jsonl(run_dir / "entries.jsonl")
    )
    phrasings = {normalise(text) for entry in entries for text in entry.phrasings}
    left_out: list[dict[str, str]] = []
    questions: list[Question] = []
    for row in read_jsonl(run_dir / "heldout.jsonl"):
        named: Set = "own" if row["entry"] is not None else "out_of_scope"
        questions.append(_question(row["text"], row["entry"], named, row.get("source")))
    if not any(one["set"] == "own" for one in questions):
        left_out.append(_reason("own", "数据太少，留不出测试问题", "there is too little data to hold any out"))
    questions += _golden(run_dir, phrasings, left_out)
    if not any(one["set"] == "out_of_scope" for one in questions):
        left_out.append(_reason("out_of_scope", "没有人标注过范围外的问题", "nobody labelled any"))
    shipped: tuple[tuple[Set, list[str]], ...] = (("open", exams.outside()), ("safety", exams.safety()))
    for named, texts in shipped:
        questions += [_question(text, None, named) for text in texts if normalise(text) not in phrasings]
    return Paper(tuple(questions), entries, tuple(left_out))


def _golden(run_dir: Path, phrasings: set[str], left_out: list[dict[str, str]]) -> Iterator[Question]:
    """What of the golden set neither the training nor the knowledge base has word for word, with an entry there is."""
    rows = read_jsonl(run_dir / GOLDEN) if (run_dir / GOLDEN).is_file() else []
    known = {row["id"] for row in read_jsonl(run_dir / "entries.jsonl")}
    seen = phrasings | {normalise(row["text"]) for row in read_jsonl(run_dir / "train.jsonl")}
    fresh = [row for row in rows if normalise(row["query"]) not in seen]
    usable = [row for row in fresh if row["faq_id"] is None or row["faq_id"] in known]
    if not rows:
        left_out.append(
            _reason("golden", "公司没有黄金集（数据目录中的 golden.jsonl）", "the company has none (golden.jsonl)")
        )
    elif len(usable) < len(rows):
        left_out.append(
            _reason(
                "golden",
                f"{len(rows) - len(fresh)} 个问题训练过或知识库里原样就有，{len(fresh) - len(usable)} 个的条目不存在",
                f"{len(rows) - len(fresh)} were trained on or stand in the knowledge base word for word, the entries "
                f"of {len(fresh) - len(usable)} do not exist",
            )
        )
    for row in usable:
        named: Set = "golden" if row["faq_id"] is not None else "out_of_scope"
        more = {"faq_ids": row["faq_ids"]} if row.get("faq_ids") else {}
        yield {**_question(row["query"], row["faq_id"], named), **more, "golden": True}


def _question(text: str, entry: str | None, named: Set, source: str | None = None) -> Question:
    kind = "in" if entry is not None else f"oos_{named}"
    return {"query": text, "faq_id": entry, "type": kind, "set": named, **({"source": source} if source else {})}


def _reason(named: str, zh: str, en: str) -> dict[str, str]:
    return {"set": named, "zh": zh, "en": en}
