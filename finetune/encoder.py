"""Contrastive LoRA of the embedding model: customers' words move to the questions they mean.

Loss: multiple negatives ranking (InfoNCE) with in-batch and mined hard negatives, in both directions
(Henderson et al. 2017, https://arxiv.org/abs/1705.00652; Gao et al. 2021, https://arxiv.org/abs/2104.08821). Candidates
of the anchor's own entry are masked, since they are right answers and no negatives. Out-of-scope words are negatives of
every question, and no question may be nearer to one than customers are to the right question: so the score still
tells what can be answered. What is asked of other fields keeps the vector that the base model gives it (a distillation
as in Li & Hoiem 2016, "Learning without Forgetting", https://arxiv.org/abs/1606.09282), and so does all around it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import normalise, read_jsonl
from finetune.embedding import Embedder
from finetune.errors import FinetuneError
from finetune.evaluate import retrieval
from finetune.forecast import Forecast
from finetune.forecast import forecast as forecast_of
from finetune.loading import fastest_dtype
from finetune.loop import Outcome, Progress
from finetune.loop import train as run_loop
from finetune.runs import RunConfig, fingerprint, option, options_from, replace_folder
from finetune.schedule import Plan, bucketed
from finetune.smalltalk import OUT_OF_SCOPE, everyday

if TYPE_CHECKING:
    import torch

UPDATES_MIN, EPOCHS_MAX, PAIRS_WANTED = 40, 12, 7_000
MINED = 8
# Each measurement embeds them all anew, which on a large knowledge base would take longer than the steps between.
SEARCHED_MAX = 1_500
Labelled = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """What a run can be told; the defaults fit ten examples and five thousand. `epochs` 0: as many as the data asks."""

    rank: int = option(
        16, 1, 256, "LoRA 的秩：越大学得越多，文件越大", "rank of the LoRA: larger learns more, in a larger file"
    )
    alpha: int = option(32, 1, 1024, "LoRA 的缩放，通常是秩的两倍", "scale of the LoRA, usually twice the rank")
    learning_rate: float = option(1e-3, 0, 0.1, "最高学习率", "peak learning rate")
    temperature: float = option(
        0.02,
        0.001,
        1,
        "对比损失的温度：越小越看重最难分的",
        "temperature of the contrastive loss: smaller minds the hardest more",
    )
    batch_pairs: int = option(48, 2, 1024, "每一步用几对问法", "pairs of phrasings of a step")
    hard_negatives: int = option(
        1,
        0,
        MINED,
        "每对再加几个最像的别的条目的问法，最多 8",
        "near phrasings of other entries beside each pair, at most 8",
    )
    out_of_scope: int = option(12, 0, 256, "每一步加几句范围外的话", "out-of-scope texts in each step")
    out_of_scope_weight: float = option(
        0.5, 0, 10, "范围外部分在损失中的权重", "weight of the out-of-scope part of the loss"
    )
    keep_weight: float = option(
        0.2,
        0,
        10,
        "别的领域的话保持原来的向量，这一项在损失中的权重",
        "weight of what keeps the vectors of other fields' texts as they were",
    )
    peer_share: float = option(
        0.3,
        0,
        1,
        "以标注消息（而不是条目自己的问法）为正例的比例，0 到 1",
        "share of pairs whose right text may be a labelled message rather than the entry's own, 0 to 1",
    )
    max_tokens: int = option(
        96, 8, 512, "一句话最多几个词元，超出的截去", "tokens of a text that are read; the rest is cut off"
    )
    epochs: int = option(
        0, 0, 1000, "数据过几遍；0 表示按数据量决定", "passes over the data; 0: as many as its size asks"
    )
    patience: int = option(
        4, 0, 1000, "留出部分连续几次没有变好就停止", "evaluations without improvement before it stops"
    )
    seed: int = option(
        20260101,
        0,
        2**32 - 1,
        "随机数种子：相同的数据和种子得到相同的划分与顺序",
        "seed: the same data and seed give the same split and order",
    )
    checkpoint_seconds: float = option(30.0, 0, 86_400, "每隔几秒存一次检查点", "seconds between checkpoints")


@dataclass(frozen=True, slots=True)
class Pair:
    """An anchor with a text of the same entry, and hard negatives as (text, entry)."""

    anchor: str
    positive: str
    entry: str
    negatives: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs that are each other's negatives, and texts that are everyone's: out-of-scope, and of other fields."""

    pairs: tuple[Pair, ...]
    outside: tuple[str, ...]
    general: tuple[str, ...] = ()

    @property
    def negatives(self) -> list[tuple[str, str]]:
        return [negative for pair in self.pairs for negative in pair.negatives]

    @property
    def texts(self) -> list[str]:
        """All that is computed: anchors, positives, hard negatives, then what is everyone's."""
        sides = [p.anchor for p in self.pairs] + [p.positive for p in self.pairs]
        return [*sides, *(text for text, _ in self.negatives), *self.outside, *self.general]


class ContrastiveTask:
    """What the loop trains. `entries` are the phrasings that the index has; `train` the labelled texts beside them."""

    unit = "pairs"

    def __init__(
        self,
        embedder: Embedder,
        entries: dict[str, list[str]],
        train: Sequence[Labelled],
        heldout: Sequence[Labelled],
        options: EncoderOptions,
    ) -> None:
        self.embedder, self.options, self.entries = embedder, options, entries
        self.phrasings = [(text, entry) for entry, texts in entries.items() for text in texts]
        self.texts = {entry: list(texts) for entry, texts in entries.items()}
        for text, entry in train:
            if entry is not None and text not in self.texts.setdefault(entry, []):
                self.texts[entry].append(text)
        self.outside = outside_texts(train, entries)
        self.general = self._general()
        # At this moment the LoRA adds nothing yet, also where a run goes on from its checkpoint.
        self.kept = dict(zip(self.general, embedder.vectors(self.general), strict=True)) if self.general else {}
        self.heldout = list(heldout)
        self.searched = searched_entries(entries, heldout, options.seed)
        self.anchors = [(t, entry) for entry, texts in sorted(self.texts.items()) if len(texts) > 1 for t in texts]
        self.mined: list[list[int]] = []
        self.mined_epoch = -1

    @property
    def model(self) -> "torch.nn.Module":
        model: torch.nn.Module = self.embedder.model
        return model

    def steps(self, epoch: int) -> list[list[Batch]]:
        if self.options.hard_negatives and epoch % 2 == 0 and self.mined_epoch != epoch:
            self.mined, self.mined_epoch = self._mine(), epoch
        rng = random.Random(f"{self.options.seed}-{epoch}")  # noqa: S311 - an order, no secret
        pairs = [self._pair(position, rng) for position in range(len(self.anchors))]
        lengths = [self.embedder.tokens(pair.anchor) for pair in pairs]
        found = []
        for positions in bucketed(lengths, self.options.batch_pairs, rng):
            outside = rng.sample(self.outside, min(self.options.out_of_scope, len(self.outside)))
            general = rng.sample(self.general, min(self.options.out_of_scope, len(self.general)))
            found.append([Batch(tuple(pairs[i] for i in positions), tuple(outside), tuple(general))])
        return found

    def _pair(self, position: int, rng: random.Random) -> Pair:
        """Mostly the entry's own phrasings as the right candidate, since these are what a search compares with."""
        text, entry = self.anchors[position]
        own = [other for other in self.entries.get(entry, ()) if other != text]
        peers = [other for other in self.texts[entry] if other != text]
        positive = rng.choice(peers if not own or rng.random() < self.options.peer_share else own)
        near = self.mined[position] if self.mined else []
        chosen = rng.sample(near, min(self.options.hard_negatives, len(near)))
        return Pair(text, positive, entry, tuple(self.phrasings[i] for i in chosen))

    def _general(self) -> list[str]:
        """Everyday questions, without those that the base model finds as near to a wording here as every other of
        what is learnt from is to its own entry's: this company may well be asked them.
        """
        import numpy as np

        known = {normalise(text) for texts in self.texts.values() for text in texts}
        asked = [text for text in everyday() if normalise(text) not in known]
        rng = random.Random(self.options.seed)  # noqa: S311 - a choice, no secret
        chosen = rng.sample(sorted(self.texts), min(SEARCHED_MAX, len(self.texts)))
        pairs = [(self.texts[entry][0], self.texts[entry][1]) for entry in chosen if len(self.texts[entry]) > 1]
        if not pairs or not self.options.out_of_scope:
            return []
        wordings = self.embedder.vectors([self.texts[entry][0] for entry in chosen])
        one, other = (self.embedder.vectors([pair[side] for pair in pairs]) for side in (0, 1))
        limit = float(np.median((one * other).sum(axis=1)))
        nearest = (self.embedder.vectors(asked) @ wordings.T).max(axis=1)
        return [text for text, near in zip(asked, nearest, strict=True) if near < limit]

    def _mine(self) -> list[list[int]]:
        """For each anchor the phrasings of other entries that the encoder as it is finds nearest."""
        import numpy as np

        names = {entry: number for number, entry in enumerate(self.texts)}
        matrix = self.embedder.vectors([text for text, _ in self.phrasings])
        owner = np.array([names[entry] for _, entry in self.phrasings])
        anchors = self.embedder.vectors([text for text, _ in self.anchors])
        found: list[list[int]] = []
        for start in range(0, len(anchors), 256):
            scores = anchors[start : start + 256] @ matrix.T
            own = np.array([names[entry] for _, entry in self.anchors[start : start + 256]])
            scores[owner[None, :] == own[:, None]] = -np.inf
            nearest = np.argsort(-scores, axis=1, kind="stable")[:, :MINED]
            found += [[int(i) for i in row if np.isfinite(scores[r, i])] for r, row in enumerate(nearest)]
        return found

    def size(self, batch: Batch) -> int:
        return len(batch.pairs)

    def units(self, batch: Batch) -> int:
        return len(batch.pairs)

    def work(self, batch: Batch) -> int:
        return sum(map(self.embedder.tokens, set(batch.texts)))

    def loss(self, batch: Batch) -> "torch.Tensor":
        import numpy as np
        import torch

        pairs, negatives = batch.pairs, batch.negatives
        vectors = self.embedder.forward(batch.texts)
        n = len(pairs)
        anchors, positives = vectors[:n], vectors[n : 2 * n]
        hard, outside = vectors[2 * n : 2 * n + len(negatives)], vectors[2 * n + len(negatives) :]
        entries = [p.entry for p in pairs]
        columns = torch.cat([positives, hard])
        forward = _ranking(anchors, columns, entries, entries + [entry for _, entry in negatives])
        backward = _ranking(positives, torch.cat([anchors, outside]), entries, [*entries, *[None] * len(outside)])
        target, sharp = torch.arange(n), 1 / self.options.temperature
        cross_entropy = torch.nn.functional.cross_entropy
        loss = (cross_entropy(forward * sharp, target) + cross_entropy(backward * sharp, target)) / 2
        if len(outside):
            nearest = torch.logsumexp(outside @ columns.T * sharp, dim=1)
            right = (anchors * positives).sum(dim=1) * sharp
            above = torch.nn.functional.softplus(nearest[:, None] - right[None, :]).mean()
            loss = loss + self.options.out_of_scope_weight * above
        if batch.general:
            before = torch.from_numpy(np.stack([self.kept[text] for text in batch.general]))
            moved = 1 - (vectors[-len(batch.general) :] * before).sum(dim=1).mean()
            loss = loss + self.options.keep_weight * sharp * moved
        return loss

    def evaluate(self) -> float:
        """MRR@10 of the held-out queries over phrasings of `searched`: smoother than the hit rate on few queries."""
        return retrieval(self.embedder.vectors, self.searched, self.heldout).mrr_10

    def state(self) -> dict[str, Any]:
        return {"mined": self.mined, "mined_epoch": self.mined_epoch}

    def load_state(self, state: dict[str, Any]) -> None:
        self.mined, self.mined_epoch = state["mined"], state["mined_epoch"]


def searched_entries(
    entries: dict[str, list[str]], heldout: Sequence[Labelled], seed: int, most: int = SEARCHED_MAX
) -> dict[str, list[str]]:
    """The entries that the held-out queries are searched in: their own, and others by chance up to `most` in all."""
    own = {entry for _, entry in heldout}
    others = [entry for entry in entries if entry not in own]
    rng = random.Random(seed)  # noqa: S311 - a choice, no secret
    chosen = own.union(rng.sample(others, max(0, min(len(others), most - len(own)))))
    return {entry: texts for entry, texts in entries.items() if entry in chosen}


def outside_texts(train: Sequence[Labelled], entries: dict[str, list[str]]) -> list[str]:
    """The labelled out-of-scope texts, with everyday ones beside them that are no phrasing of an entry."""
    labelled = [text for text, entry in train if entry is None]
    known = {normalise(text) for texts in entries.values() for text in texts} | set(map(normalise, labelled))
    return labelled + [text for text in OUT_OF_SCOPE if normalise(text) not in known]


def refuse_leaked(train: Sequence[Labelled], heldout: Sequence[Labelled]) -> None:
    """Raises FinetuneError where a held-out text is also learnt from: its figures would prove nothing."""
    seen = {normalise(text) for text, _ in train}
    leaked = [text for text, _ in heldout if normalise(text) in seen]
    if leaked:
        raise FinetuneError(
            "heldout_leaked",
            f"{len(heldout)} 个留出的测试问题里有 {len(leaked)} 个也在训练数据里（例如「{leaked[0][:40]}」），"
            f"这样比较没有意义；请从训练数据里去掉它们。",
            f"{len(leaked)} of {len(heldout)} held-out test questions are also among the training data "
            f"(such as {leaked[0][:40]!r}), which would prove nothing; take them out of the training data.",
        )


def _ranking(
    rows: "torch.Tensor", columns: "torch.Tensor", row_entries: Sequence[str], column_entries: Sequence[str | None]
) -> "torch.Tensor":
    """Similarities [rows, columns] with the other candidates of a row's own entry taken out; row i's right one is i."""
    import torch

    same = torch.tensor([[row == column for column in column_entries] for row in row_entries])
    same[torch.arange(len(row_entries)), torch.arange(len(row_entries))] = False
    return (rows @ columns.T).masked_fill(same, -torch.inf)


def plan_for(pairs: int, heldout: int, options: EncoderOptions) -> Plan:
    """How long `pairs` anchors train: few of them longer, many of them shorter."""
    per_epoch = max(1, -(-pairs // options.batch_pairs))
    epochs = options.epochs or max(2, min(EPOCHS_MAX, round(PAIRS_WANTED / max(1, pairs))))
    steps = per_epoch * epochs if options.epochs else max(UPDATES_MIN, per_epoch * epochs)
    return Plan(
        steps=steps,
        learning_rate=options.learning_rate,
        evaluate_steps=max(per_epoch, 10) if heldout else 0,
        patience=options.patience,
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

    Reads `entries.jsonl` ({"id", "phrasings"}), `train.jsonl` and `heldout.jsonl` ({"text", "entry"}).

    Raises:
        FinetuneError: too little to learn from, held-out questions among what is learnt from, a bad option, or what
            `finetune.loop.train` raises.
    """
    config = RunConfig.read(run_dir)
    task, plan = _task(run_dir, config)
    outcome = run_loop(task, plan, run_dir, fingerprint(run_dir, config), on_progress, should_stop, on_forecast)
    replace_folder(run_dir, lambda folder: task.embedder.save(folder, config.base_name))
    return outcome


def forecast(run_dir: Path) -> Forecast:
    """What `train` will take, without learning anything. Raises what it raises for its data and options."""
    return forecast_of(*_task(run_dir, RunConfig.read(run_dir)))


def _task(run_dir: Path, config: RunConfig) -> tuple[ContrastiveTask, Plan]:
    import torch

    options = options_from(EncoderOptions, config.options)
    entries = {row["id"]: list(row["phrasings"]) for row in read_jsonl(run_dir / "entries.jsonl")}
    rows = {
        name: [(r["text"], r["entry"]) for r in read_jsonl(run_dir / f"{name}.jsonl")] for name in ("train", "heldout")
    }
    refuse_leaked(rows["train"], rows["heldout"])
    torch.manual_seed(options.seed)
    embedder = Embedder(config.base_folder, fastest_dtype(), options.max_tokens)
    embedder.add_lora(options.rank, options.alpha)
    task = ContrastiveTask(embedder, entries, rows["train"], rows["heldout"], options)
    if len(entries) < 2 or not task.anchors:
        raise FinetuneError(
            "too_little_data",
            f"训练数据太少：需要至少 2 个条目，且有条目带不止一种问法"
            f"（现有 {len(entries)} 个条目、{len(task.anchors)} 种可学的问法）。"
            "请先给条目加几句相似问，或在「审核」页处理几条。",
            f"Too little to learn from: at least 2 entries, some with more than one phrasing, are needed "
            f"({len(entries)} entries and {len(task.anchors)} usable phrasings here). Add similar questions to some "
            f"entries, or decide some questions under Review.",
        )
    inside = sum(entry is not None for _, entry in rows["heldout"])
    return task, plan_for(len(task.anchors), inside, options)
