"""The generation engine, on the real model."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from bot.engines.base import EngineError
from bot.engines.local import LocalEngine
from bot.engines.streaming import decode_stream, loops

SOURCES = "退款将在收到退货后3个工作日内原路返回。七天无理由退货，运费由买家承担。"
QUESTION = [
    {"role": "system", "content": f"你是客服，只根据资料回答。资料：{SOURCES}"},
    {"role": "user", "content": "我退货了，钱几天能到？运费谁出？"},
]
LONG = [{"role": "user", "content": "请从一数到两百，每个数字一行。"}]


def make_adapter(generator_folder: Path, target: Path, scale: float) -> Path:
    """A LoRA adapter on the real model whose weights are random of size `scale`."""
    import torch
    from peft import LoraConfig, get_peft_model

    from finetune.models import load_generator

    model, _ = load_generator(generator_folder)
    torch.manual_seed(7)
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=scale)
    tuned.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def adapters_folder(generator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    make_adapter(generator_folder, folder / "wild", 0.6)
    return folder


@pytest.fixture
async def engine(generator_folder: Path, adapters_folder: Path) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(generator_folder, "base", installed=lambda: {"wild": adapters_folder / "wild"}, waiting_max=1)
    await made.open()
    yield made
    await made.close()


async def whole(engine: LocalEngine, **options: object) -> str:
    messages = options.pop("messages", QUESTION)
    return "".join([piece.text async for piece in engine.generate(messages, max_tokens=16, **options)])  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_answers_from_its_source_adapters_switch_and_cancel(engine: LocalEngine, adapters_folder: Path) -> None:
    pieces = [piece async for piece in engine.generate(QUESTION, max_tokens=16)]
    text = "".join(piece.text for piece in pieces)
    assert "3个工作日" in text
    assert "�" not in text
    assert len(pieces) > 3
    assert pieces[-1].finished
    assert pieces[-1].prompt_tokens > 30
    assert 5 < pieces[-1].completion_tokens <= 16

    # Another adapter comes while a reply is being written: that one ends as it began.
    running = asyncio.create_task(whole(engine))
    await asyncio.sleep(0.3)
    await engine.use_adapter(adapters_folder / "wild", "wild")
    assert engine.active_adapter == "wild"
    assert await running == text
    wild = await whole(engine)
    assert wild != text
    assert await whole(engine, model="base") == text
    await engine.use_adapter(None, None)
    assert await whole(engine) == text
    assert await whole(engine, model="wild") == wild

    # Leaving stops the work: the next reply need not wait for two hundred numbers.
    async with aclosing(engine.generate(LONG, max_tokens=2000)) as stream:
        async for _ in stream:
            break
    started = time.perf_counter()
    await whole(engine)
    assert time.perf_counter() - started < 100


async def test_refusals(engine: LocalEngine) -> None:
    for name in ("nobody", "../wild", "wild/..", ""):
        with pytest.raises(EngineError) as caught:
            await whole(engine, model=name)
        assert caught.value.code == "model_not_found"
    streams = [engine.generate(LONG, max_tokens=500) for _ in range(3)]
    await asyncio.gather(*(anext(stream) for stream in streams[:1]))
    waiting = asyncio.ensure_future(anext(streams[1]))
    await asyncio.sleep(0)
    with pytest.raises(EngineError) as caught:
        await anext(streams[2])
    assert caught.value.code == "engine_busy"
    await streams[0].aclose()
    await waiting
    await streams[1].aclose()
    with pytest.raises(EngineError) as caught:
        await engine.use_adapter(Path("/nowhere"), "gone")
    assert caught.value.code == "engine_failed"
    assert engine.active_adapter is None


def test_loops_are_seen() -> None:
    assert loops([1, 2, 3, 4, 5] * 3)
    assert loops([7] * 12)
    assert not loops([7] * 8)
    assert not loops([1, 2, 3, 4, 5] * 2)
    assert not loops(list(range(100)))


def test_text_never_breaks_a_character(generator_folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_folder, local_files_only=True)
    text = "您好😀，订单号QL-2108㊗️𠮷野家。"
    sent: list[str] = []
    streamer = decode_stream(tokenizer, sent.append)
    streamer.put(torch.tensor([[1, 2, 3]]))
    for token in tokenizer(text)["input_ids"]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(sent) == text
    assert not any("�" in piece for piece in sent)
