"""The generation engine, on the real model."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from bot.engines.base import EngineError, Piece
from bot.engines.compiled import TEXTS_MAX
from bot.engines.local import LocalEngine
from bot.engines.observed import ObservedEngine
from bot.engines.streaming import loops, text_stream

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


@pytest.fixture(scope="module")
def shared_engine(generator_folder: Path, adapters_folder: Path) -> Iterator[LocalEngine]:
    made = LocalEngine(generator_folder, "base", installed=lambda: {"wild": adapters_folder / "wild"}, waiting_max=4)
    yield made
    asyncio.run(made.close())


@pytest.fixture
async def engine(shared_engine: LocalEngine) -> LocalEngine:
    await shared_engine.use_adapter(None, None)
    await shared_engine.open()
    return shared_engine


async def whole(engine: LocalEngine, **options: object) -> str:
    messages = options.pop("messages", QUESTION)
    return "".join([piece.text async for piece in engine.generate(messages, **{"max_tokens": 16, **options})])  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_how_fast_two_models_write_is_measured_and_observed_by_nobody(engine: LocalEngine) -> None:
    observed = ObservedEngine(engine)
    seen: list[float | None] = []
    observed.on_written = lambda _adapter, seconds: seen.append(seconds)
    for adapter in ("wild", None):
        assert await observed.pace(LONG[0]["content"], adapter, 8) > 0
    with pytest.raises(EngineError, match="量不出快慢"):
        await observed.pace(LONG[0]["content"], None, 1)
    assert seen == []


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


async def test_an_adapter_is_loaded_ahead_and_let_go_of_when_its_replies_are_written(engine: LocalEngine) -> None:
    await engine.load("wild")
    assert (engine.loaded, engine.active_adapter) == (("wild",), None)
    alone = await whole(engine, model="wild")
    running = asyncio.create_task(whole(engine, model="wild"))
    await asyncio.sleep(0)  # it is asked for before it is let go of
    await engine.unload("wild")
    assert await running == alone
    await engine.unload("wild")
    assert engine.loaded == ()
    assert await whole(engine, model="wild") == alone  # and is there again for whoever asks
    with pytest.raises(EngineError) as unknown:
        await engine.load("gone")
    assert unknown.value.code == "model_not_found"


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_at_once_each_with_its_own_adapter(engine: LocalEngine) -> None:
    """What is written beside others is what is written alone, whoever comes and goes meanwhile.

    Other kernels compute one text than several, and the wild one's nonsense hangs on rounding: its beginning counts.
    """
    names = ("base", "wild")
    alone = {name: await whole(engine, model=name) for name in names}
    leaving = [engine.generate(LONG, max_tokens=500, model=name) for name in names]
    await asyncio.gather(*(anext(stream) for stream in leaving))
    tasks = [asyncio.create_task(whole(engine, model=names[n % 2], user=str(n))) for n in range(8)]
    await asyncio.gather(*(stream.aclose() for stream in leaving))
    texts = await asyncio.gather(*tasks)
    assert texts[::2] == [alone["base"]] * 4
    assert [text[:2] for text in texts[1::2]] == [alone["wild"][:2]] * 4


@pytest.mark.slow
async def test_refusals(engine: LocalEngine) -> None:
    for name in ("nobody", "../wild", "wild/..", ""):
        with pytest.raises(EngineError) as caught:
            await whole(engine, model=name)
        assert caught.value.code == "model_not_found"
    with pytest.raises(EngineError) as caught:
        await whole(engine, messages=[{"role": "user", "content": "啊" * 40_000}])
    assert caught.value.code == "prompt_too_long"
    with pytest.raises(EngineError) as caught:
        await engine.use_adapter(Path("/nowhere"), "gone")
    assert caught.value.code == "engine_failed"
    assert engine.active_adapter is None


@pytest.mark.slow
async def test_the_queue_is_bounded_and_fair(engine: LocalEngine) -> None:
    running = [engine.generate(LONG, max_tokens=500, user="hog") for _ in range(TEXTS_MAX)]
    for stream in running:
        await anext(stream)
    waiting: list[tuple[AsyncGenerator[Piece], asyncio.Future[Piece]]] = []

    async def ask(user: str) -> None:
        stream = engine.generate(LONG, max_tokens=500, user=user)
        waiting.append((stream, asyncio.ensure_future(anext(stream))))
        await asyncio.sleep(0.01)

    await ask("hog")
    await ask("hog")
    await ask("guest")
    with pytest.raises(EngineError) as caught:  # half of the queue is for others
        await anext(engine.generate(LONG, user="hog"))
    assert caught.value.code == "engine_busy"
    await ask("guest")
    with pytest.raises(EngineError, match="4 个") as caught:
        await anext(engine.generate(LONG, user="third"))
    assert "4 generations" in caught.value.en
    # Room for one comes: the first of the one who waits since first; then the other user's turn.
    for place in (0, 2, 1, 3):
        await running.pop().aclose()
        await asyncio.wait([future for _, future in waiting], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.3)
        assert waiting[place][1].done()
        assert sum(future.done() for _, future in waiting) == 1
        waiting[place] = (waiting[place][0], asyncio.get_running_loop().create_future())
    for stream in (*running, *(stream for stream, _ in waiting)):
        await stream.aclose()


@pytest.mark.slow
async def test_closing_ends_what_runs_and_what_waits(generator_folder: Path) -> None:
    made = LocalEngine(generator_folder, "base")
    streams = [made.generate(LONG, max_tokens=500) for _ in range(TEXTS_MAX + 2)]
    firsts = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await firsts[0]
    await made.close()
    for first, stream in zip(firsts, streams, strict=True):
        with pytest.raises(EngineError, match="关闭"):
            [await first, *[piece async for piece in stream]]
    with pytest.raises(EngineError) as caught:
        await whole(made)
    assert caught.value.code == "engine_closed"


async def test_a_damaged_model_is_an_error_of_the_engine(tmp_path: Path, generator_folder: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((generator_folder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    made = LocalEngine(tmp_path, "base")
    for attempt in (made.open(), whole(made)):
        with pytest.raises(EngineError) as caught:
            await attempt
        assert caught.value.code == "engine_failed"
    await made.close()


def test_loops_are_seen() -> None:
    assert loops([1, 2, 3, 4, 5] * 3)
    assert loops([7] * 12)
    assert not loops([7] * 8)
    assert not loops([1, 2, 3, 4, 5] * 2)
    assert not loops(list(range(100)))


def test_text_never_breaks_a_character(generator_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(generator_folder, local_files_only=True)
    text = "您好😀，订单号QL-2108㊗️𠮷野家。"
    shown = text_stream(tokenizer)
    sent = [shown(token) for token in (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)]
    assert "".join(sent) == text
    assert not any("�" in piece for piece in sent)


GROUNDED = (
    ("怎么申请退货", "在我的订单里点申请退货，审核通过后 3 天内寄回。", "退货要在哪里申请"),
    ("电池多久充一次电", "露营灯长期不用时，每 3 个月充电一次，建议保持一半电量。", "灯放着不用，多久充一次电"),
    ("怎么开发票", "在订单详情点申请发票，电子发票 24 小时内开出。", "发票多久能开出来"),
    ("可以货到付款吗", "暂不支持货到付款，可以用微信、支付宝和银行卡。", "能用支付宝付钱吗"),
)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_it_says_what_transformers_says(engine: LocalEngine, generator_folder: Path) -> None:
    """A sample; `tests/benchmarks/generation_agreement.py` asks the demo company's fifty questions."""
    from bot.dialogue.prompt import grounded_messages
    from finetune.generator import load, reply_to_all

    other = [(title, text) for title, text, _ in GROUNDED]
    prompts = [
        grounded_messages(question, [(title, text), other[n - 1]], "小山露营")
        for n, (title, text, question) in enumerate(GROUNDED)
    ]
    model, tokenizer = load(generator_folder, None)
    exact = reply_to_all(model, tokenizer, prompts, 24)
    alone = [await whole(engine, messages=prompt, max_tokens=24) for prompt in prompts]
    beside = await asyncio.gather(*(whole(engine, messages=prompt, max_tokens=24) for prompt in prompts))
    for found in (alone, beside):
        same = sum(text.strip() == reply for text, reply in zip(found, exact, strict=True))
        assert same >= len(prompts) - 1, (found, exact)
