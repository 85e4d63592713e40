"""`kefu train encoder|generator`: one LoRA run, ending with the comparison against the model in use."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bot.commands.parents import results
from bot.language import say

if TYPE_CHECKING:
    from bot.config import Settings
    from bot.learning.process import Event
    from bot.learning.runs import Prepared


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = commands.add_parser("train", help=say("用知识库和对话训练模型", "train a model on the knowledge base"))
    kinds = train.add_subparsers(dest="kind", metavar=say("模型", "MODEL"), required=True)
    for kind, zh, en in (
        ("encoder", "检索模型：把客户的说法对到正确的问题", "the encoder: customers' words to the right question"),
        ("generator", "生成模型：按资料写回答", "the generator: replies written from the sources"),
    ):
        parser = kinds.add_parser(kind, parents=[results()], help=say(zh, en))
        parser.add_argument(
            "--dialogs",
            type=Path,
            metavar="FILE.jsonl",
            help=say(
                "除已导入的对话外再用这个文件（原生、ShareGPT 或 Alpaca 格式）",
                "conversations beside the imported ones (native, ShareGPT or Alpaca form)",
            ),
        )
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help=say("训练参数（TOML 或 JSON）", "options (TOML or JSON)")
        )
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--resume", metavar="RUN", help=say("继续这个中断的训练", "go on with this interrupted run")
        )
        either.add_argument(
            "--dry-run",
            action="store_true",
            help=say("只估计时间和内存，不训练", "tell how long it would take and how much memory; train nothing"),
        )
        parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: "Settings") -> int:
    """Train in a process of its own; Ctrl-C stops it in good order, and the same command goes on."""
    import asyncio

    return asyncio.run(_train(args, settings))


async def _train(args: argparse.Namespace, settings: "Settings") -> int:
    import asyncio
    import json
    import signal
    import sys

    from bot.learning import forecasting, process, retention, runs
    from bot.learning.worker import busy, is_busy
    from bot.storage.database import opened
    from finetune.errors import FinetuneError

    if is_busy(runs.runs_dir(settings)):
        raise busy()
    cancelled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancelled.set)
    async with opened(settings.database) as database:
        if args.dry_run:
            options = read_options(args.config)
            found = await forecasting.forecast(database, settings, args.kind, options, args.dialogs, cancelled)
            print(json.dumps(found) if args.json else "\n".join(told(found)))
            return 0
        if args.resume:
            prepared = runs.find(settings, args.resume)
        else:
            prepared = await runs.prepare(database, settings, args.kind, read_options(args.config), args.dialogs)
        out = sys.stderr if args.json else sys.stdout
        for line in announce(prepared):
            print(line, file=out, flush=True)
        with Display(out) as display:
            try:
                result = await process.carry_out(prepared, display.show, cancelled)
            except FinetuneError as error:
                if error.code != "training_stopped":
                    raise
                stopped = say(error.zh, error.en)
                hint = say("再次运行同一命令即可继续。", "Run the same command again to go on.")
                print(f"{stopped}{hint}", file=sys.stderr)
                return 130
        await runs.register(database, result["manifest"], "cli")
        await retention.tidy(database, settings)
    if args.json:
        print(json.dumps(as_document(result), ensure_ascii=False))
    else:
        for line in conclude(result):
            print(line)
    return 0


def read_options(file: Path | None) -> dict[str, Any]:
    """The options of a TOML or JSON file. Raises KefuError where it is neither."""
    import json
    import tomllib

    from bot.errors import InvalidError

    if file is None:
        return {}
    text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InvalidError(
            "train_config", f"训练参数文件 {file} 无法读取：{error}", f"The options file {file} cannot be read: {error}"
        ) from error
    if not isinstance(found, dict):
        raise InvalidError("train_config", f"{file} 应为参数表", f"{file} must be a table of options")
    return found


def told(forecast: dict[str, Any]) -> list[str]:
    """What a training will take, in words; where memory is short, that too."""
    minutes, gigabytes = forecast["seconds"] / 60, forecast["memory_bytes"] / 1e9
    compared = forecast.get("comparison_seconds")
    more = ("", "") if compared is None else (f"约 {compared / 60:.1f} 分钟", f" of about {compared / 60:.1f} min")
    lines = [
        say(
            f"预计 {forecast['steps']} 步，训练约 {minutes:.1f} 分钟，之后与现用模型比较{more[0]}；"
            f"内存最多约 {gigabytes:.1f} GB。",
            f"{forecast['steps']} steps: about {minutes:.1f} min of training, then the comparison with the model in "
            f"use{more[1]}; at most about {gigabytes:.1f} GB of memory.",
        )
    ]
    available = forecast.get("memory_available_bytes")
    if available is not None and available < forecast["memory_bytes"]:
        lines.append(
            say(
                f"现在只有 {available / 1e9:.1f} GB 内存可用，多半不够：先关掉别的程序，或换一台内存大的机器。",
                f"Only {available / 1e9:.1f} GB of memory are free now, most likely too little: close other programs, "
                "or use a machine with more memory.",
            )
        )
    return lines


def announce(prepared: "Prepared") -> list[str]:
    """What is learned from, what was left out, and whether an earlier run goes on."""
    s = prepared.summary
    name = prepared.name
    lines = [
        say(f"继续上次中断的训练 {name}。", f"Going on with the interrupted run {name}.")
        if prepared.resumed
        else say(f"开始训练 {name}。", f"Training {name}."),
        say(
            f"条目 {s['entries']}，训练样例 {s['train']}，留出 {s['heldout']}；对话中可用的标注 {s['labelled']} 条"
            f"（其中范围外 {s['out_of_scope']}，按回答对上的 {s['mined']}）。",
            f"{s['entries']} entries, {s['train']} examples, {s['heldout']} held out; {s['labelled']} usable labels in "
            f"the conversations ({s['out_of_scope']} out of scope, {s['mined']} matched by their answers).",
        ),
    ]
    if s["unknown"]:
        lines.append(
            say(
                f"跳过 {s['unknown']} 条标注：它们的 faq_id 不在知识库里。",
                f"{s['unknown']} labels skipped: no entry has their faq_id.",
            )
        )
    if s["contradictory"]:
        lines.append(
            say(
                f"跳过 {s['contradictory']} 句标注互相矛盾的话。",
                f"{s['contradictory']} texts skipped: their labels contradict each other.",
            )
        )
    lines += [say(f"跳过 {problem}", f"Skipped {problem}") for problem in s["problems"][:10]]
    if len(s["problems"]) > 10:
        lines.append(say(f"……共 {len(s['problems'])} 行无法读取。", f"… {len(s['problems'])} unreadable lines in all."))
    return lines


class Display:
    """One line a step on a pipe, a live bar on a terminal."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, event: "Event") -> None:
        if event["event"] == "phase":
            self._phase(event["phase"])
        elif event["event"] == "progress":
            self._step(event)
        elif event["event"] == "forecast":
            print(told(event)[0], file=self._out, flush=True)
        elif event["event"] == "comparing":
            self._compared(event)

    def _phase(self, phase: str) -> None:
        names = {"loading": ("载入模型…", "Loading the model…"), "comparing": ("与现用模型比较…", "Comparing…")}
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if phase in names:
            print(say(*names[phase]), file=self._out, flush=True)

    def _step(self, event: "Event") -> None:
        if not self._out.isatty():
            print(step_line(event), file=self._out, flush=True)
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=event["total"], initial=event["step"] - 1, file=self._out, unit=say("步", "step"))
        self._bar.update(event["step"] - self._bar.n)
        shown = {"loss": f"{event['loss']:.3f}", f"{event['unit']}/s": event["rate"]}
        if "heldout" in event:
            shown["heldout"] = event["heldout"]
        self._bar.set_postfix(shown)

    def _compared(self, event: "Event") -> None:
        if not self._out.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=event["total"], file=self._out, unit=say("题", "question"))
        self._bar.total = event["total"]
        self._bar.update(event["done"] - self._bar.n)


def step_line(event: "Event") -> str:
    """`step 3/192 loss 1.234 18.2 pairs/s eta 120s`, with `heldout` where it was just measured."""
    line = (
        f"step {event['step']}/{event['total']} loss {event['loss']:.4f} "
        f"{event['rate']} {event['unit']}/s eta {event['eta_seconds']:.0f}s"
    )
    return f"{line} heldout {event['heldout']}" if "heldout" in event else line


def as_document(result: dict[str, Any]) -> dict[str, Any]:
    """The contract's JSON: `verdict` is the outcome, `sentence` what it means in words."""
    verdict = result["verdict"]
    kept = {key: value for key, value in result.items() if key != "manifest"}
    return {**kept, "verdict": verdict["outcome"], "sentence": say(verdict["zh"], verdict["en"])}


def conclude(result: dict[str, Any]) -> list[str]:
    """The comparison, the verdict, and what to do with it."""
    from bot.learning.gate import WITHHELD

    before, after = result["before"] or {}, result["after"] or {}
    lines = [f"{name:22} {before[name]:>8} → {after[name]:>8}" for name in after if name in before]
    lines += [say(note["zh"], note["en"]) for note in result["notes"]]
    verdict = result["verdict"]
    name = result["adapter"]
    lines.append(say(verdict["zh"], verdict["en"]))
    flag = " --override" if verdict["outcome"] in WITHHELD else ""
    lines.append(
        say(
            f"适配器 {name} 已登记（用时 {result['seconds']:.0f} 秒）。逐题的比较：kefu adapters report {name}；"
            f"启用：kefu adapters activate {name}{flag}",
            f"Adapter {name} is registered ({result['seconds']:.0f} s). Question by question: kefu adapters report "
            f"{name}. To use it: kefu adapters activate {name}{flag}",
        )
    )
    return lines
