"""Supervised LoRA of the generator: replies grounded in the sources that the prompt shows.

The loss is taken on the replies alone, and so are the logits: the body runs over the whole text, the vocabulary of
151,936 only over the positions that have a label.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.chat import IGNORED, encode_example, encode_prompt
from finetune.data import read_jsonl
from finetune.errors import FinetuneError
from finetune.forecast import Forecast
from finetune.forecast import forecast as forecast_of
from finetune.loading import load_generator, smallest_dtype
from finetune.loop import Outcome, Progress
from finetune.loop import train as run_loop
from finetune.lora import add_lora, load_lora, save_lora
from finetune.runs import RunConfig, fingerprint, option, options_from, replace_folder
from finetune.schedule import Plan, bucketed

if TYPE_CHECKING:
    import torch

    from finetune.packed_decoder import PackedDecoder

STEPS_MIN, EXAMPLES_WANTED = 30, 240
Example = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What a run can be told. `epochs` 0: as many as the data asks; a step takes `batch_examples`."""

    rank: int = option(
        16, 1, 256, "LoRA 的秩：越大学得越多，文件越大", "rank of the LoRA: larger learns more, in a larger file"
    )
    alpha: int = option(32, 1, 1024, "LoRA 的缩放，通常是秩的两倍", "scale of the LoRA, usually twice the rank")
    learning_rate: float = option(2e-4, 0, 0.1, "最高学习率", "peak learning rate")
    batch_examples: int = option(8, 1, 1024, "每一步用几个样例", "examples of a step")
    batch_tokens: int = option(
        2048,
        16,
        1_000_000,
        "一次计算最多几个词元，限制内存",
        "most tokens computed at once; bounds the memory",
    )
    max_tokens: int = option(1024, 16, 32_768, "更长的样例不用（词元）", "longer examples are left out (tokens)")
    epochs: int = option(
        0, 0, 1000, "数据过几遍；0 表示按数据量决定", "passes over the data; 0: as many as its size asks"
    )
    patience: int = option(
        2, 0, 1000, "留出部分连续几次没有变好就停止", "evaluations without improvement before it stops"
    )
    evaluations_per_epoch: int = option(
        2, 1, 100, "每一遍测几次留出部分", "evaluations of the held-out part in each pass"
    )
    heldout_examples: int = option(
        16, 0, 10_000, "最多用几个留出样例测量损失", "most held-out examples whose loss is measured"
    )
    seed: int = option(
        20260101,
        0,
        2**32 - 1,
        "随机数种子：相同的数据和种子得到相同的划分与顺序",
        "seed: the same data and seed give the same split and order",
    )
    checkpoint_seconds: float = option(60.0, 0, 86_400, "每隔几秒存一次检查点", "seconds between checkpoints")


class ReplyTask:
    """What the loop trains: examples of token ids and labels."""

    unit = "tokens"

    def __init__(
        self, model: Any, pad_id: int, train: Sequence[Example], heldout: Sequence[Example], options: GeneratorOptions
    ) -> None:
        self._model, self.pad_id, self.options = model, pad_id, options
        self.train, self.heldout = train, heldout
        base = model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model
        self.body, self.head = base.base_model, base.get_output_embeddings()
        self._packed = _packed(base)

    @property
    def model(self) -> "torch.nn.Module":
        model: torch.nn.Module = self._model
        return model

    def steps(self, epoch: int) -> list[list[list[Example]]]:
        rng = random.Random(f"{self.options.seed}-{epoch}")  # noqa: S311 - an order, no secret
        batches = bucketed([len(ids) for ids, _ in self.train], self.options.batch_examples, rng)
        return [list(self._micro([self.train[i] for i in batch])) for batch in batches]

    def _micro(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Parts of at most `batch_tokens` tokens as they are computed, which bounds the memory."""
        part: list[Example] = []
        for example in sorted(examples, key=lambda e: len(e[0])):
            if part and self._computed([*part, example]) > self.options.batch_tokens:
                yield part
                part = []
            part.append(example)
        yield part

    def _computed(self, examples: Sequence[Example]) -> int:
        texts = [ids for ids, _ in examples]
        return self._packed.rows(texts) if self._packed else len(texts) * max(map(len, texts))

    def size(self, batch: Sequence[Example]) -> int:
        return sum(label != IGNORED for _, labels in batch for label in labels[1:])

    def units(self, batch: Sequence[Example]) -> int:
        return sum(len(ids) for ids, _ in batch)

    def work(self, batch: Sequence[Example]) -> int:
        return self._computed(batch)

    def loss(self, batch: Sequence[Example]) -> "torch.Tensor":
        import torch

        if self._packed:
            learned = [
                (text, position)
                for text, (_, labels) in enumerate(batch)
                for position in range(1, len(labels))
                if labels[position] != IGNORED
            ]
            return self._packed.loss([ids for ids, _ in batch], learned)
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([i + [self.pad_id] * (longest - len(i)) for i, _ in batch])
        labels = torch.tensor([label + [IGNORED] * (longest - len(label)) for _, label in batch])
        mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in batch])
        hidden = self.body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        following = labels[:, 1:]
        chosen = following != IGNORED
        logits = self.head(hidden[:, :-1][chosen]).float()
        return torch.nn.functional.cross_entropy(logits, following[chosen])

    def evaluate(self) -> float:
        """Mean loss a labelled token of the held-out replies."""
        total = count = 0.0
        for batch in self._micro(self.heldout):
            n = self.size(batch)
            total, count = total + float(self.loss(batch)) * n, count + n
        return total / count

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing: the order depends on seed and epoch alone."""


def _packed(base: Any) -> "PackedDecoder | None":
    """What computes a model in half the time, where it does; others are computed by transformers, padded."""
    from finetune.packed_decoder import PackedDecoder, fits

    return PackedDecoder(base) if fits(base) else None


def encode_rows(tokenizer: Any, rows: Sequence[dict[str, Any]], max_tokens: int) -> tuple[list[Example], int]:
    """The examples of {"messages"} rows, and how many did not fit `max_tokens` or hold no reply."""
    found: list[Example] = []
    for row in rows:
        try:
            found.append(encode_example(tokenizer, row["messages"], max_tokens))
        except FinetuneError as error:
            if error.code not in ("no_reply", "example_too_long"):
                raise
    return found, len(rows) - len(found)


def plan_for(examples: int, heldout: int, options: GeneratorOptions) -> Plan:
    """How long `examples` train: few of them longer, many of them shorter."""
    per_epoch = max(1, -(-examples // options.batch_examples))
    epochs = options.epochs or max(1, min(6, round(EXAMPLES_WANTED / max(1, examples))))
    steps = per_epoch * epochs if options.epochs else max(STEPS_MIN, per_epoch * epochs)
    return Plan(
        steps=steps,
        learning_rate=options.learning_rate,
        evaluate_steps=max(1, per_epoch // max(1, options.evaluations_per_epoch), steps // 12) if heldout else 0,
        patience=options.patience,
        higher_is_better=False,
        checkpoint_seconds=options.checkpoint_seconds,
        seed=options.seed,
    )


def train(
    run_dir: Path,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool] = lambda: False,
    on_forecast: Callable[[Forecast], None] | None = None,
) -> Outcome:
    """Trains, or resumes, the run and writes `run_dir/adapter` (a peft folder).

    Reads `train.jsonl` and `heldout.jsonl` ({"messages": [{"role", "content", "weight"?}]}).

    Raises:
        FinetuneError: nothing to learn from, a bad option, or what `finetune.loop.train` raises.
    """
    config = RunConfig.read(run_dir)
    task, plan = _task(run_dir, config)
    outcome = run_loop(task, plan, run_dir, fingerprint(run_dir, config), on_progress, should_stop, on_forecast)
    replace_folder(run_dir, lambda folder: save_lora(task.model, folder, config.base_name))
    return outcome


def forecast(run_dir: Path) -> Forecast:
    """What `train` will take, without learning anything. Raises what it raises for its data and options."""
    return forecast_of(*_task(run_dir, RunConfig.read(run_dir)))


def _task(run_dir: Path, config: RunConfig) -> tuple[ReplyTask, Plan]:
    import torch

    options = options_from(GeneratorOptions, config.options)
    torch.manual_seed(options.seed)
    model, tokenizer = load_generator(config.base_folder, smallest_dtype())
    rows, _ = encode_rows(tokenizer, read_jsonl(run_dir / "train.jsonl"), options.max_tokens)
    heldout, _ = encode_rows(tokenizer, read_jsonl(run_dir / "heldout.jsonl"), options.max_tokens)
    if not rows:
        raise FinetuneError(
            "too_little_data",
            "没有可以训练的问答：需要至少一个带答案的条目。",
            "There is nothing to learn from: at least one entry with an answer is needed.",
        )
    model = add_lora(model, options.rank, options.alpha, "CAUSAL_LM")
    task = ReplyTask(model, pad_id_of(tokenizer), rows, heldout[: options.heldout_examples], options)
    return task, plan_for(len(rows), len(heldout), options)


def load(folder: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) of a base model, with an adapter on it where one is named. Raises ModelError."""
    model, tokenizer = load_generator(folder, smallest_dtype())
    return (load_lora(model, adapter) if adapter else model), tokenizer


def heldout_loss(model: Any, tokenizer: Any, rows: Sequence[dict[str, Any]], options: GeneratorOptions) -> float:
    """Mean loss a labelled token of {"messages"} rows, as the training measures it. `model` comes from `load`."""
    import torch

    examples, _ = encode_rows(tokenizer, rows, options.max_tokens)
    task = ReplyTask(model, pad_id_of(tokenizer), [], examples[: options.heldout_examples], options)
    with torch.inference_mode():
        return task.evaluate()


def pad_id_of(tokenizer: Any) -> int:
    """The id to fill batches with; where it stands is masked."""
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def reply_to_all(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[dict[str, Any]]],
    max_tokens: int = 160,
    batch_size: int = 8,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    tokens_min: int = 0,
) -> list[str]:
    """Greedy replies to prompts (chat messages), in their order; prompts of similar length run together. None ends
    before `tokens_min` tokens.
    """
    import torch

    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    pad = pad_id_of(tokenizer)
    replies = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        longest = max(len(encoded[i]) for i in part)
        ids = torch.tensor([[pad] * (longest - len(encoded[i])) + encoded[i] for i in part])
        mask = torch.tensor([[0] * (longest - len(encoded[i])) + [1] * len(encoded[i]) for i in part])
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                min_new_tokens=tokens_min,
                do_sample=False,
                pad_token_id=pad,
            )
        for i, row in zip(part, out[:, longest:], strict=True):
            replies[i] = tokenizer.decode(row, skip_special_tokens=True).strip()
        on_progress(min(start + batch_size, len(order)), len(order))
    return replies
