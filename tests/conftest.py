"""Shared fixtures: the real models, where they are prepared, and the outside data, where there is any.

And how the tests are dealt out to processes (`make test`): whole files, so that what a module's fixtures prepare is
prepared once, with the exceptions below; the long ones first, and apart from that mixed, for one process computes while
another one waits.
"""

import ctypes
import gc
import hashlib
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from knowledge.types import Entry

# A job in a shell's background is started deaf to Ctrl-C, and so would be every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

KEPT_BYTES_MAX = 2 << 30
TOGETHER = ("tests/browser/",)  # they share one service
APART = ("tests/connectors/test_killed.py", "tests/connectors/test_suite.py", "tests/power/")


def dealt_as(test: str) -> str:
    """What a test is dealt out with: its folder, its function (with all its parameters), or its file."""
    for folder in TOGETHER:
        if test.startswith(folder):
            return folder
    return test.partition("[" if test.startswith(APART) else "::")[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    dealt = {item: dealt_as(item.nodeid) for item in items}
    long = {dealt[item] for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (dealt[item] not in long, hashlib.sha256(dealt[item].encode()).digest()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling

    class Dealt(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return dealt_as(nodeid)

    return Dealt(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """The models of a test go with it, and their memory goes back to the machine, where the C library can do so: what
    several processes keep of theirs would be more than a small machine has."""
    if psutil.Process().memory_info().rss > KEPT_BYTES_MAX:
        gc.collect()
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


def zone_of_noon() -> str:
    """A time zone in which it is about one o'clock: far from midnight and within a shop's hours."""
    ahead = 13 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}"  # POSIX counts westwards


def models_folder() -> Path:
    named = os.environ.get("KEFU_MODELS")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kefu" / "models"


def missing(what: str) -> None:
    """A missing optional piece: a visible skip on a user's machine, a failure where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must provide {what}")
    pytest.skip(f"needs {what}")


def prepared(name: str) -> Path:
    folder = models_folder() / name
    if not (folder / "kefu-model.json").is_file():
        missing(f"the base model {name} (kefu models prepare)")
    return folder


@pytest.fixture(scope="session")
def encoder_folder() -> Path:
    return prepared("multilingual-e5-small")


@pytest.fixture(scope="session")
def shared_encoder(encoder_folder: Path) -> Any:
    """The real encoder, loaded once for all tests."""
    from knowledge.encoders import TransformerEncoder

    return TransformerEncoder(encoder_folder, threads=1)


@pytest.fixture(scope="session")
def generator_folder() -> Path:
    return prepared("qwen2.5-coder-0.5b-instruct")


@pytest.fixture(scope="session")
def bench_data() -> Path:
    """The folder of outside benchmark data; users who have none see a skip."""
    named = os.environ.get("KEFU_BENCH_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("needs the benchmark data: set KEFU_BENCH_DATA")
    return Path(named)


@pytest.fixture(scope="session")
def with_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function: a data folder in which lies an empty database of the newest version. The migrations, which have tests
    of their own, are run once for all: they cost every test a tenth of a second."""
    from bot.storage.schema import upgrade

    template = tmp_path_factory.mktemp("migrated") / "kefu.db"
    upgrade(f"sqlite:///{template}")

    def place(data: Path) -> Path:
        data.mkdir(parents=True, exist_ok=True)
        if not (data / "kefu.db").exists():
            shutil.copy(template, data / "kefu.db")
        return data

    return place


@pytest.fixture(scope="session")
def shop() -> list[Entry]:
    return [
        Entry("return", "怎么退货", "七天无理由退货。", ("我要退货", "买错了能退吗"), ("怎么换货",), "售后"),
        Entry("exchange", "怎么换货", "在订单里申请换货。", ("换个颜色行吗",), (), "售后"),
        Entry("invoice", "发票什么时候开", "确认收货后三天内。", ("能开专票吗",)),
        Entry("freight", "退货运费谁出", "质量问题由我们承担。"),
        Entry("pot", "PPR-9087 炖锅能放洗碗机吗", "可以。"),
        Entry("pan", "PPR-9078 煎锅能放洗碗机吗", "不可以。"),
        Entry("hours", "人工客服几点上班", "九点到二十一点。"),
        Entry("coupon", "优惠券怎么用不了", "请看有效期。"),
        Entry("address", "下单后还能改地址吗", "发货前可以。"),
        Entry("points", "积分什么时候过期", "每年年底。"),
    ]


# What the small reranker is taught: a customer's words, and the entry of `shop` that is meant.
TAUGHT = {
    "退货要多少运费": "return",
    "寄回去的钱谁给": "freight",
    "报销用的那张纸": "invoice",
    "换地方": "address",
    "改一下": "exchange",
    "锅能机洗吗": "pan",
}


@pytest.fixture(scope="session")
def taught() -> dict[str, str]:
    return dict(TAUGHT)


@pytest.fixture(scope="session")
def reranker_folder(shop: list[Entry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real cross-encoder of a few kilobytes in a Hugging Face folder, which knows TAUGHT by heart."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("reranker")
    pairs = [
        (question, text, float(entry.id == answer))
        for question, answer in TAUGHT.items()
        for entry in shop
        for text in entry.phrasings
    ]
    characters = sorted({character for question, text, _ in pairs for character in question + text})
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    with torch.random.fork_rng():
        torch.manual_seed(11)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=96, max_position_embeddings=64, num_labels=1,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        model = BertForSequenceClassification(config)
        tokenizer.enable_padding(pad_id=0)
        batch = tokenizer.encode_batch([(question, text) for question, text, _ in pairs])
        given = {
            "input_ids": torch.tensor([one.ids for one in batch]),
            "attention_mask": torch.tensor([one.attention_mask for one in batch]),
            "token_type_ids": torch.tensor([one.type_ids for one in batch]),
        }
        wanted = torch.tensor([label for *_, label in pairs])
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(200):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(**given).logits[:, 0], wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if loss.item() < 0.005:
                break
    assert loss.item() < 0.005
    model.save_pretrained(folder)
    return folder
