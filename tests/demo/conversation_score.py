"""How many turns of conversations go right: `python tests/demo/conversation_score.py [--held-out [1|2]] [--engine]`.

The demo company with its FAQ, documents, actions and order database, the real encoder and the pipeline that serves;
history, slots and events go from turn to turn as `bot/turns.py` carries them. Each turn of `conversations.jsonl` has

- `decision`: what a good support lead accepts;
- `source`: entry ids, or `FILE#HEADING` for a section of a document. An answer, a written answer and a question back
  need one of them among their sources, or among what they offer (`@2`: the second of the questions offered last);
- `sources_all`: groups of such, for two questions in one message: one of every group is needed;
- `offered`: the message replies to offered questions. Where the bot offered none, the turn is not counted.

`--held-out` plays `conversations_held_out.jsonl`, `--held-out 2` the second such set: both written and frozen before
what they measure was tuned, the second from the entries' titles alone. A conversation
with a `company` is about that one of `tests/benchmarks/small_companies.txt`; its sources are named by their questions.

Without `--engine` nothing is generated: what would be written from documents is quoted, with the decision `answer`.
Prints the share of turns right, by kind, and every wrong turn with what was said. `--json FILE` keeps it all.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bot.commands.ask import opened
from bot.config import Settings
from bot.demo_company import load_demo
from bot.dialogue.pipeline import Pipeline
from bot.dialogue.types import Answer, Source, Turn, Utterance
from bot.importing import import_file
from bot.storage import documents, knowledge
from bot.storage.database import Database
from bot.storage.database import opened as opened_database
from bot.turns import HISTORY_UTTERANCES
from tests.benchmarks.fit_calibration import small_companies

CONVERSATIONS = Path(__file__).with_name("conversations.jsonl")
HELD_OUT = Path(__file__).with_name("conversations_held_out.jsonl")
HELD_OUT_2 = Path(__file__).with_name("conversations_held_out_2.jsonl")
DEMO = ""
NOTHING: Mapping[str, str] = MappingProxyType({})
NEEDS_SOURCE = ("answer", "generate", "clarify")


@dataclass(frozen=True, slots=True)
class Said:
    """A turn as labelled, the bot's answer, and what is wrong with it: "" for nothing, None where it does not count."""

    conversation: str
    number: int
    label: dict[str, Any]
    answer: Answer
    wrong: str | None


def covers(wanted: str, source: Source, names: dict[str, str], offered: Sequence[str]) -> bool:
    """Whether a source is the entry or the section of a document that a label names."""
    if wanted.startswith("@"):
        place = int(wanted[1:]) - 1
        return place < len(offered) and source.faq_id == offered[place]
    name, _, heading = wanted.partition("#")
    if source.document_id:
        return names.get(source.document_id) == name and source.title.endswith(heading)
    return wanted in (source.faq_id, source.title)


def judge(
    label: dict[str, Any],
    answer: Answer,
    names: dict[str, str],
    offered: Sequence[str],
    questions: Mapping[str, str] = NOTHING,
) -> str | None:
    """What is wrong with the answer: "" for nothing, None where the turn has nothing to reply to. `questions` are the
    entries' ids by their questions: what an answer to several leaves open is among its suggestions alone.
    """
    if label.get("offered") and not offered:
        return None
    if answer.decision not in label["decision"]:
        return f"decision {answer.decision}, not {'|'.join(label['decision'])}"
    if answer.decision not in NEEDS_SOURCE:
        return ""
    groups = label.get("sources_all") or ([label["source"]] if label["source"] else [])
    asked_back = (Source(one, "", 0.0, faq_id=questions.get(one)) for one in answer.suggestions)
    told = (*answer.sources, *asked_back)
    missing = [
        "|".join(group)
        for group in groups
        if not any(covers(wanted, source, names, offered) for wanted in group for source in told)
    ]
    return f"sources lack {' and '.join(missing)}" if missing else ""


async def talk(
    pipeline: Pipeline, conversation: dict[str, Any], names: dict[str, str], questions: Mapping[str, str] = NOTHING
) -> AsyncIterator[Said]:
    """One conversation from its first turn to its last, turn by turn."""
    history: list[Utterance] = []
    slots: dict[str, Any] = {}
    events: tuple[dict[str, Any], ...] = ()
    ever: tuple[str, ...] = ()
    for number, label in enumerate(conversation["turns"], 1):
        turn = Turn(
            conversation["id"], label["user"], tuple(history[-HISTORY_UTTERANCES:]), conversation.get("language", "zh"),
            slots=slots, events=events,
        )  # fmt: skip
        answer = await pipeline.answer(turn)
        just = history[-1].options if history else ()
        # What a reply to offered questions picks from was offered just before; what is spoken of, some time before.
        wrong = judge(label, answer, names, just if label.get("offered") else ever, questions)
        yield Said(conversation["id"], number, label, answer, wrong)
        slots = answer.slots if answer.slots is not None else slots
        events = answer.events if answer.events is not None else events
        options = tuple(source.faq_id or "" for source in answer.sources) if answer.decision == "clarify" else ()
        ever = options or ever
        history.append(Utterance("user", label["user"]))
        history.append(answer.said)


def asked_back(one: Said, names: dict[str, str]) -> bool:
    """Whether a wrong turn at least offered what was meant, where it should have been answered."""
    wanted = one.label["source"]
    return one.answer.decision == "clarify" and any(covers(w, s, names, ()) for w in wanted for s in one.answer.sources)


def report(said: Sequence[Said]) -> dict[str, Any]:
    """Shares of turns and of whole conversations right, and counts."""
    counted = [one for one in said if one.wrong is not None]
    leaning = [one for one in said if any(reason.startswith("context:") for reason in one.answer.reasons)]
    kinds = Counter(one.label["kind"] for one in counted)
    right = Counter(one.label["kind"] for one in counted if not one.wrong)
    wrong = {one.conversation for one in counted if one.wrong}
    everyone = {one.conversation for one in said}
    return {
        "turns": len(counted),
        "right": sum(right.values()),
        "share": round(sum(right.values()) / len(counted), 4),
        "conversations_all_right": len(everyone - wrong),
        "conversations": len(everyone),
        "not_counted": len(said) - len(counted),
        "wrong_decisions": dict(Counter(one.answer.decision for one in counted if one.wrong)),
        "p50_ms": {
            "read in context": round(median(one.answer.latency_ms for one in leaning)) if leaning else None,
            "all others": round(median(one.answer.latency_ms for one in said if one not in leaning)),
        },
        "by_kind": {kind: [right[kind], count] for kind, count in kinds.most_common()},
    }


async def load_company(database: Database, settings: Settings, company: str) -> None:
    """The demo company, or one of the small ones with no settings of its own."""
    if company == DEMO:
        await load_demo(database, settings)
        return
    rows = [{"question": one.question, "answer": one.answer} for one in small_companies()[company][0]]
    path = settings.data / "company.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    await import_file(database, path, path.name, settings.data / "uploads", actor="score")


async def run(conversations: Sequence[dict[str, Any]], home: Path, rest: dict[str, Any]) -> list[tuple[Said, bool]]:
    """All conversations, one after another, company by company: each turn, and whether it offered what was meant."""
    said: list[tuple[Said, bool]] = []
    for number, company in enumerate(dict.fromkeys(one.get("company", DEMO) for one in conversations)):
        folder = home / str(number)
        folder.mkdir()
        settings = Settings(data=folder, **rest)
        async with opened_database(settings.database) as database:
            await load_company(database, settings, company)
            async with database.reading() as session:
                names = {one.id: one.name for one in (await documents.list_documents(session))[0]}
                questions = {one.question: one.id for one in await knowledge.all_entries(session)}
        async with opened(settings) as (pipeline, _):
            for conversation in conversations:
                if conversation.get("company", DEMO) == company:
                    turns = talk(pipeline, conversation, names, questions)
                    said += [(one, asked_back(one, names)) async for one in turns]
    return said


def show(one: Said) -> str:
    """A wrong turn: the customer's words, the bot's, and what was wrong."""
    answer = one.answer
    sources = ", ".join(source.faq_id or source.title for source in answer.sources)
    text = " ".join(answer.text.split())[:90]
    return (
        f"{one.conversation} {one.number} [{one.label['kind']}] {one.label['user']}\n"
        f"    {answer.decision} ({sources}) {text}\n    {one.wrong}; {'; '.join(answer.reasons)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="score the demo's conversations")
    parser.add_argument(
        "--held-out", type=int, nargs="?", const=1, default=0, choices=(1, 2),
        help="play the first (1) or the second (2) set of conversations that nothing was tuned on",
    )  # fmt: skip
    parser.add_argument("--engine", action="store_true", help="write answers with the generator")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every turn to this file")
    args = parser.parse_args()
    lines = (CONVERSATIONS, HELD_OUT, HELD_OUT_2)[args.held_out].read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as home:
        rest = {} if args.engine else {"generator": ""}
        judged = asyncio.run(run([json.loads(line) for line in lines], Path(home), rest))
    said = [one for one, _ in judged]
    for one in said:
        if one.wrong:
            print(show(one))
    figures = report(said) | {"wrong_but_offered": sum(offered for one, offered in judged if one.wrong)}
    for kind, (right, count) in figures.pop("by_kind").items():
        print(f"{kind:20} {right:4} of {count:4}  {right / count:.0%}")
    print(json.dumps(figures, ensure_ascii=False))
    if args.json:
        rows = [
            {
                "id": one.conversation, "turn": one.number, "kind": one.label["kind"], "user": one.label["user"],
                "decision": one.answer.decision, "wrong": one.wrong, "text": one.answer.text,
                "sources": [s.faq_id or s.title for s in one.answer.sources], "reasons": one.answer.reasons,
            }
            for one in said
        ]  # fmt: skip
        args.json.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
