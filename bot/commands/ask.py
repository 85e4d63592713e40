"""`kefu ask` and `kefu chat`: one answer, or a conversation, in the terminal."""

import argparse
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from bot.commands.parents import common, results
from bot.language import say, terminal_language

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.dialogue.pipeline import Pipeline
    from bot.dialogue.types import Answer, Turn
    from bot.filtered import Filtered
    from bot.knowledge_base import KnowledgeBase

CANDIDATES = 5
HISTORY_UTTERANCES = 10


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    asked = commands.add_parser("ask", parents=[results()], help=say("问一个问题", "ask one question"))
    asked.add_argument("question", metavar=say("问题", "QUESTION"))
    asked.set_defaults(run=ask)
    asked.add_argument("--channel", default="cli", help=say("当作从该渠道来问", "ask as on this channel"))
    chatted = commands.add_parser(
        "chat", parents=[common()], help=say("在终端里对话", "a conversation in the terminal")
    )
    chatted.set_defaults(run=chat)
    for parser in (asked, chatted):
        parser.add_argument(
            "--explain", action="store_true", help=say("说明为什么这样回答", "say why it was answered so")
        )


def ask(args: argparse.Namespace, settings: "Settings") -> int:
    """Answer one question as the chat page would; nothing is stored."""
    import asyncio

    return asyncio.run(_ask(args, settings))


def chat(args: argparse.Namespace, settings: "Settings") -> int:
    """Talk until the end of input or 「退出」; nothing is stored."""
    import asyncio

    return asyncio.run(_chat(args, settings))


async def _ask(args: argparse.Namespace, settings: "Settings") -> int:
    import json

    from bot.dialogue.types import Turn

    turn = Turn("cli", args.question, language=terminal_language(), channel=args.channel)
    async with opened(settings) as (pipeline, knowledge_base):
        knowledge_base.check_channel(turn.channel)
        if args.json:
            answer = await pipeline.answer(turn)
            left_out = [one.to_json() for one in await _filtered(answer, knowledge_base, turn)]
            print(json.dumps(as_json(answer) | {"filtered": left_out}, ensure_ascii=False))
            return 0
        answer = await _print_reply(pipeline, turn)
        _print_summary(answer)
        for one in await _filtered(answer, knowledge_base, turn):
            print(_left_out(one))
        if args.explain:
            await _print_reasons(answer, knowledge_base, turn)
    return 0


async def _chat(args: argparse.Namespace, settings: "Settings") -> int:
    import asyncio

    from bot.dialogue.types import Turn, Utterance

    history: list[Utterance] = []
    slots: dict[str, Any] = {}
    events: tuple[dict[str, Any], ...] = ()
    async with opened(settings) as (pipeline, knowledge_base):
        print(say("请输入问题；输入「退出」或按 Ctrl-D 结束。", "Type your question; “exit” or Ctrl-D ends."))
        while True:
            try:
                text = (await asyncio.to_thread(input, "> ")).strip()
            except EOFError:
                print()
                return 0
            if text.lower() in ("退出", "exit", "quit"):
                return 0
            if not text:
                continue
            recent = tuple(history[-HISTORY_UTTERANCES:])
            turn = Turn("cli", text, recent, terminal_language(), "cli", slots=slots, events=events)
            answer = await _print_reply(pipeline, turn)
            for number, suggestion in enumerate(answer.suggestions, 1):
                print(f"  {number}. {suggestion}")
            if args.explain:
                await _print_reasons(answer, knowledge_base, turn)
                for one in await _filtered(answer, knowledge_base, turn):
                    print(_left_out(one))
            slots = answer.slots if answer.slots is not None else slots
            events = answer.events if answer.events is not None else events
            history += [Utterance("user", text), answer.said]


@asynccontextmanager
async def opened(settings: "Settings") -> "AsyncIterator[tuple[Pipeline, KnowledgeBase]]":
    """The answering part of the service on this data folder, without the rest of it; closed at the end."""
    from bot.commands.progress import bar
    from bot.dialogue.actions import open_actions
    from bot.dialogue.pipeline import Pipeline
    from bot.dialogue.policy import Limits
    from bot.generators import make_engine
    from bot.knowledge_base import KnowledgeBase
    from bot.profile import LiveProfile
    from bot.storage import adapters
    from bot.storage.database import opened as opened_database

    async with opened_database(settings.database) as database:
        knowledge_base = KnowledgeBase(database, settings)
        profile = LiveProfile(settings)
        engine = make_engine(settings, profile)
        actions = open_actions(settings)
        try:
            with bar(say("载入知识库", "loading the knowledge base")) as on_progress:
                await knowledge_base.open(on_progress)
            if engine:
                async with database.reading() as session:
                    engine.prefer((await adapters.active(session)).get("generator"))
            yield Pipeline(knowledge_base, profile, engine, actions, Limits.of(settings)), knowledge_base
        finally:
            await actions.close()
            if engine:
                await engine.close()
            await knowledge_base.close()


def as_json(answer: "Answer") -> dict[str, Any]:
    """The contract's reply, with what `kefu ask` adds: score, probability and reasons."""
    from bot.storage.conversations import source_json
    from bot.storage.values import iso, new_id, now

    return {
        "id": new_id(),
        "role": "bot",
        "text": answer.text,
        "decision": answer.decision,
        "sources": [source_json(source) for source in answer.sources],
        "suggestions": list(answer.suggestions),
        "generated": answer.generated,
        "created_at": iso(now()),
        "latency_ms": answer.latency_ms,
        "score": answer.score,
        "probability": answer.probability,
        "reasons": list(answer.reasons),
    }


async def _print_reply(pipeline: "Pipeline", turn: "Turn") -> "Answer":
    from bot.commands.progress import bar
    from bot.dialogue.types import Delta, Done

    answer: Answer | None = None
    events, waiting = pipeline.run(turn), ExitStack()
    waiting.enter_context(bar(say("回答", "answering")))
    try:
        async for event in events:
            waiting.close()
            if isinstance(event, Delta):
                print(event.text, end="", flush=True)
            elif isinstance(event, Done):
                answer = event.answer
    finally:
        waiting.close()
        await events.aclose()
    print()
    assert answer is not None  # noqa: S101 - `run` ends with Done or raises
    return answer


def _print_summary(answer: "Answer") -> None:
    for number, suggestion in enumerate(answer.suggestions, 1):
        print(f"  {number}. {suggestion}")
    names = {
        "answer": say("直接回答", "answered"),
        "clarify": say("请客户选择", "asked back"),
        "generate": say("由模型根据资料写成", "written by the model from sources"),
        "handoff": say("转人工", "handed to a person"),
        "refuse": say("谢绝", "declined"),
        "chitchat": say("寒暄", "small talk"),
        "action": say("业务动作", "business action"),
    }
    print()
    print(
        say(
            f"结果：{names[answer.decision]}（{answer.decision}）  把握：{answer.probability:.2f}  "
            f"得分：{answer.score:.3f}  用时：{answer.latency_ms} ms",
            f"Decision: {names[answer.decision]} ({answer.decision})  probability: {answer.probability:.2f}  "
            f"score: {answer.score:.3f}  time: {answer.latency_ms} ms",
        )
    )
    for source in answer.sources:
        where = source.faq_id or source.document_id or ""
        print(say(f"来源：{source.title}（{where}）", f"Source: {source.title} ({where})"))


async def _filtered(answer: "Answer", knowledge_base: "KnowledgeBase", turn: "Turn") -> "list[Filtered]":
    """What was left out of the search; nothing where nobody looked for an answer."""
    from bot.filtered import filtered

    if answer.decision in ("refuse", "chitchat", "action"):
        return []
    found = await knowledge_base.search(turn.text, channel=turn.channel)
    return await filtered(knowledge_base, found, channel=turn.channel)


def _left_out(one: "Filtered") -> str:
    entry = one.entry
    channels = ", ".join(entry.channels)
    why = {
        "disabled": say("已停用", "disabled"),
        "category": say(f"分类是 {entry.category or '–'}", f"of the category {entry.category or '–'}"),
        "channel": say(f"只在渠道 {channels} 回答", f"answered on {channels} only"),
        "not_yet": say(f"{entry.valid_from} 才生效", f"valid from {entry.valid_from}"),
        "expired": say(f"{entry.valid_until} 已失效", f"valid until {entry.valid_until}"),
    }
    reasons = say("，", ", ").join(why[reason] for reason in one.reasons)
    return say(
        f"被过滤：{entry.question}（{entry.id}）：{reasons}", f"Left out: {entry.question} ({entry.id}): {reasons}"
    )


async def _print_reasons(answer: "Answer", knowledge_base: "KnowledgeBase", turn: "Turn") -> None:
    print(say("依据：", "Reasons:"))
    for reason in answer.reasons:
        print(f"  {reason}")
    if answer.decision == "refuse":
        return  # nobody looked for an answer
    found = await knowledge_base.search(turn.text, channel=turn.channel)
    if not found.hits and not found.passages:
        return
    print(say("候选（向量、字面、总分、重排）：", "Candidates (dense, lexical, score, reranker):"))
    for hit in (*found.hits[:CANDIDATES], *found.passages[:CANDIDATES]):
        entry, passage = knowledge_base.entry(hit.id), knowledge_base.passage(hit.id)
        title = entry.question if entry else passage.title if passage else ""
        reranked = "    –" if hit.rerank is None else f"{hit.rerank:.3f}"
        same = say(f"（和 {hit.same_as} 是同一个问题）", f" (same question as {hit.same_as})") if hit.same_as else ""
        print(f"  {hit.dense:.3f} {hit.lexical:.3f} {hit.score:.3f} {reranked}  {hit.id}  {title}{same}")
