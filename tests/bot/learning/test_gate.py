"""The gate: the candidate against the model in use on frozen papers, the report, and who may pass all the same."""

import asyncio
import json
import resource
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.config import Settings
from bot.dialogue.prompt import NO_ANSWER
from bot.errors import ConflictError
from bot.learning import exams, forecasting, gate, generator_exam, papers, releases, report, runs, worker
from bot.learning.bootstrap import paired_mean
from bot.learning.report import Compared, Figure, judge
from bot.storage import adapters, audit
from bot.storage.database import Database
from finetune import registry
from finetune.data import normalise, read_jsonl
from finetune.errors import FinetuneError
from finetune.signing import Signer
from finetune.smalltalk import OUT_OF_SCOPE, everyday
from knowledge.errors import KnowledgeError

from .conftest import write_jsonl

Add = Callable[[list[dict[str, Any]]], Awaitable[None]]
THINGS = [
    "茶壶", "台灯", "雨伞", "书包", "跑鞋", "毛巾", "耳机", "键盘", "水杯", "拖鞋",
    "相框", "风扇", "枕头", "剪刀", "手表", "花瓶", "帐篷", "滑板", "口琴", "围巾",
]  # fmt: skip


def shop(per_thing: int) -> list[dict[str, Any]]:
    aspects = [("多少钱", "{n} 元"), ("保修多久", "{n} 个月"), ("怎么清洗", "用 {n} 度的水"), ("几天发货", "{n} 天内")][
        :per_thing
    ]
    return [
        {
            "id": f"{thing}-{what}",
            "question": f"{thing}{what}",
            "answer": f"{thing}：{answer.format(n=number + 10 * place)}。",
            "similar_questions": [
                f"请问{thing}{what}呀",
                f"我想知道{what}，{thing}",
                f"{thing}的话{what}呢",
                f"{what}？{thing}",
            ],
        }
        for number, thing in enumerate(THINGS, 2)
        for place, (what, answer) in enumerate(aspects)
    ]


def figure(name: str, before: list[float], after: list[float], named: report.Set = "own", **more: Any) -> Figure:
    return Figure(named, name, len(before), paired_mean(before, after), **more)


def changes(won: int, lost: int, same: int = 50) -> tuple[list[float], list[float]]:
    return [0.0] * won + [1.0] * lost + [1.0] * same, [1.0] * won + [0.0] * lost + [1.0] * same


@pytest.mark.parametrize(
    ("won", "lost", "outcome"),
    [(12, 2, "better"), (4, 0, "better"), (2, 0, "not_better"), (3, 2, "not_better"), (0, 0, "not_better"),
     (1, 9, "worse")],
)  # fmt: skip
def test_better_is_more_than_chance(won: int, lost: int, outcome: str) -> None:
    main = [figure("hit@1", *changes(won, lost))]
    judged = judge(main, main, won, lost)
    assert judged["outcome"] == outcome
    for words in (judged["zh"], judged["en"]):
        assert words.count("\n") == 0
    if outcome == "not_better":
        assert "只看得出" in judged["zh"]
        assert f"{won} won, {lost} lost" in judged["en"]


def test_better_on_its_own_questions_and_significantly_worse_elsewhere_is_worse() -> None:
    main = [figure("hit@1", *changes(12, 1))]
    fell = figure("hit@1", *changes(0, 14, 80), "general")
    judged = judge([*main, fell], main, 12, 1)
    assert judged["outcome"] == "worse"
    assert "通用检索题" in judged["zh"]
    assert "general retrieval" in judged["en"]
    wrong = figure("direct_wrong", [0.0] * 60, [1.0] * 8 + [0.0] * 52)
    assert judge([*main, wrong], main, 12, 1)["outcome"] == "worse"
    a_little = figure("hit@1", [1.0] * 2000, [0.0] * 12 + [1.0] * 1988, "general", tolerance=0.02)
    assert a_little.interval.high < 0
    assert judge([*main, a_little], main, 12, 1)["outcome"] == "better"


def test_few_questions_tell_nothing_and_it_says_so() -> None:
    main = [figure("hit@1", [0.0] * 7, [1.0] * 7)]
    judged = judge(main, main, 7, 0)
    assert judged["outcome"] == "unknown"
    assert "太少（7 个" in judged["zh"]
    assert judge([], [], 0, 0)["outcome"] == "unknown"
    assert judge([figure("hit@1", *changes(0, 20), "general")], [], 0, 0)["outcome"] == "worse"


def test_the_frozen_papers_are_whole_and_never_trained_on() -> None:
    entries, asked = exams.general()
    texts = [*entries.values(), *(text for text, _ in asked)]
    assert len(entries) == 96
    assert len(asked) == 192
    assert {id_ for _, id_ in asked} == set(entries)
    assert len({normalise(text) for text in texts}) == len(texts)
    assert len(exams.safety()) == 24
    trained = {normalise(text) for text in (*OUT_OF_SCOPE, *everyday())}
    assert len({normalise(text) for text in exams.outside()}) == 60
    assert not trained & {normalise(text) for text in [*exams.outside(), *texts, *exams.safety()]}
    assert all(one["forbidden"] for one in exams.injected())


def small_run(folder: Path, golden: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir()
    write_jsonl(folder / "entries.jsonl", [{"id": "a", "phrasings": ["怎么退货", "我想退掉"]},
                                           {"id": "b", "phrasings": ["发票怎么开"]}])  # fmt: skip
    write_jsonl(folder / "train.jsonl", [{"text": "能开票吗", "entry": "b"}])
    write_jsonl(folder / "heldout.jsonl", [{"text": "退一下", "entry": "a", "source": "c1"},
                                           {"text": "你们招人吗", "entry": None}])  # fmt: skip
    if golden is not None:
        write_jsonl(folder / "golden.jsonl", golden)
    return folder


def test_the_golden_set_is_asked_without_what_was_trained_on_or_stands_in_the_knowledge_base(tmp_path: Path) -> None:
    golden = [
        {"query": "能开票吗？", "faq_id": "b"},
        {"query": "我想退掉", "faq_id": "a"},
        {"query": "寄回去行不", "faq_id": "a"},
        {"query": "没有这条", "faq_id": "gone"},
        {"query": "火星上卖吗", "faq_id": None},
    ]
    paper = papers.set_paper(small_run(tmp_path / "run", golden))
    assert [paper.questions[at]["query"] for at in paper.of("golden")] == ["寄回去行不"]
    assert [paper.questions[at]["query"] for at in paper.of("out_of_scope")] == ["你们招人吗", "火星上卖吗"]
    (told,) = [one for one in paper.left_out if one["set"] == "golden"]
    assert told["zh"].startswith("2 个问题训练过")
    assert "1 个的条目不存在" in told["zh"]
    assert len(paper.of("open")) == 60
    without = papers.set_paper(small_run(tmp_path / "other"))
    assert "公司没有黄金集" in {one["set"]: one["zh"] for one in without.left_out}["golden"]
    assert without.questions[0] == {"query": "退一下", "faq_id": "a", "type": "in", "set": "own", "source": "c1"}


async def test_a_golden_set_is_frozen_with_the_run_and_a_wrong_line_of_it_is_named(
    database: Database, make_settings: Callable[..., Settings], encoder_folder: Path, add_faq: Add
) -> None:
    await add_faq(shop(1))
    settings = make_settings(encoder=str(encoder_folder))
    golden = settings.data / "golden.jsonl"
    golden.write_text('{"query": "茶壶卖几块", "faq_id": "茶壶-多少钱"}\n{"query": 3}\n', encoding="utf-8")
    with pytest.raises(KnowledgeError, match="第 2 行"):
        await runs.prepare(database, settings, "encoder")
    golden.write_text('{"query": "茶壶卖几块", "faq_id": "茶壶-多少钱"}\n', encoding="utf-8")
    run = await runs.prepare(database, settings, "encoder")
    golden.write_text("")
    assert [one["query"] for one in read_jsonl(run.folder / "golden.jsonl")] == ["茶壶卖几块"]


def test_a_report_is_read_back_without_naming_who_asked(tmp_path: Path) -> None:
    row = {"set": "own", "text": "退一下", "entry": "怎么退货", "before": {"entry": None, "decision": "none"},
           "after": {"entry": "怎么退货", "decision": "answer"}, "change": "better"}  # fmt: skip
    one = figure("hit@1", *changes(9, 1))
    verdict = judge([one], [one], 9, 1)
    report.write(tmp_path, Compared({"hit@1": 0.8}, {"hit@1": 0.9}, verdict, (one,), ({**row, "source": "c1"},), 50))
    found = report.read(tmp_path)
    assert found is not None
    assert found["questions"] == [row]
    assert found["counts"] == {"better": 1, "worse": 0, "same": 50}
    assert found["figures"][0]["outcome"] == "better"
    assert found["figures"][0]["low"] <= found["figures"][0]["difference"] <= found["figures"][0]["high"]
    assert report.read(tmp_path / "none") is None


def test_a_full_disk_while_the_report_is_written_is_said_and_harms_nothing(tmp_path: Path) -> None:
    compared = Compared({}, {}, report.verdict("unknown", "旧", "old"))
    report.write(tmp_path, compared)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))  # a write past it fails, as on a full disk
    try:
        row = {"set": "own", "text": "退" * 3000, "change": "better"}
        with pytest.raises(FinetuneError, match="没有受影响") as caught:
            report.write(tmp_path, Compared({}, {}, report.verdict("better", "新", "new"), changed=(row, row)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.code == "write_failed"
    found = report.read(tmp_path)
    assert found is not None
    assert found["verdict"]["zh"] == "旧"
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "questions.jsonl"}


def test_what_is_worse_passes_by_an_explicit_word_only_and_what_is_no_better_on_record() -> None:
    manifest = {"name": "encoder-x", "verdict": {"outcome": "worse", "zh": "更差：原因。", "en": "Worse: why."}}
    with pytest.raises(ConflictError, match="更差：原因。") as caught:
        gate.admit(manifest, override=False)
    assert caught.value.code == "not_released"
    assert "--override" in caught.value.en
    told = {"verdict": "worse", "overridden": True, "sentence": "Worse: why."}
    assert gate.admit(manifest, override=True) == told
    no_better = {"name": "encoder-x", "verdict": {"outcome": "not_better", "zh": "没有更好。", "en": "No better."}}
    kept = {"verdict": "not_better", "overridden": True, "sentence": "No better."}
    assert gate.admit(no_better, override=False) == gate.admit(no_better, override=True) == kept
    assert gate.admit({"name": "x", "verdict": {"outcome": "better"}}, override=False) == {"verdict": "better"}
    assert gate.admit({"name": "x", "verdict": {}}, override=False) == {"verdict": "unknown"}


def random_lora(encoder_folder: Path, folder: Path) -> Path:
    """Real LoRA weights that were never trained: they ruin every vector."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    torch.manual_seed(5)
    config = LoraConfig(
        r=4, lora_alpha=64, target_modules=["query", "key", "value"], init_lora_weights=False,
        task_type="FEATURE_EXTRACTION",
    )  # fmt: skip
    model = get_peft_model(AutoModel.from_pretrained(encoder_folder, add_pooling_layer=False), config)
    model.save_pretrained(folder, save_embedding_layers=False)
    found = json.loads((folder / "adapter_config.json").read_text())
    found["base_model_name_or_path"] = "someone/multilingual-e5-small"
    (folder / "adapter_config.json").write_text(json.dumps(found))
    return folder


@pytest.mark.slow
async def test_a_stranger_is_measured_here_refused_where_it_is_worse_and_passes_by_an_admins_word(
    database: Database, make_settings: Callable[..., Settings], encoder_folder: Path, add_faq: Add, tmp_path: Path
) -> None:
    await add_faq(shop(1))
    settings = make_settings(encoder=str(encoder_folder))
    made = await asyncio.to_thread(random_lora, encoder_folder, tmp_path / "made")
    write_jsonl(
        settings.data / "golden.jsonl", [{"query": f"{one}卖几块", "faq_id": f"{one}-多少钱"} for one in THINGS]
    )
    run = await runs.prepare_import(database, settings, made)
    result = await asyncio.to_thread(worker.work, run.folder, lambda: False)
    assert result["verdict"]["outcome"] == "worse"
    name = result["adapter"]
    manifest = registry.verify(settings.data / "adapters" / name, None, Signer(settings.data))
    assert manifest.imported_at
    assert manifest.verdict == result["verdict"]
    found = report.read(settings.data / "adapters" / name)
    assert found is not None
    outcomes = {(one["set"], one["name"]): one for one in found["figures"]}
    assert outcomes["general", "hit@1"]["outcome"] == "worse"
    assert outcomes["company", "hit@1"]["after"] < outcomes["company", "hit@1"]["before"]
    assert outcomes["golden", "hit@1"]["questions"] == len(THINGS)
    assert found["counts"]["worse"] == sum(row["change"] == "worse" for row in found["questions"]) > 10
    assert {"set", "text", "entry", "before", "after", "change"} == set(found["questions"][0])

    await runs.register(database, result["manifest"], "cli")
    with pytest.raises(ConflictError, match="没有启用"):
        await releases.activate(database, settings, name, "anna")
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] is None
    await releases.activate(database, settings, name, "anna", override=True)
    async with database.reading() as session:
        assert (await adapters.active(session))["encoder"] == name
        (last,) = await audit.recent(session, 1)
    assert (last.actor, last.action, last.target) == ("anna", "adapters.activate", name)
    assert last.detail["overridden"] is True
    assert last.detail["sentence"] == result["verdict"]["en"]


@pytest.mark.slow
async def test_an_encoder_is_compared_on_the_whole_decision_and_dense_alone(
    database: Database, make_settings: Callable[..., Settings], encoder_folder: Path, add_faq: Add
) -> None:
    await add_faq(shop(1))
    settings = make_settings(encoder=str(encoder_folder))
    run = await runs.prepare(database, settings, "encoder", {"epochs": 1, "batch_pairs": 16})
    assert run.summary["heldout"] >= 8
    result = await asyncio.to_thread(worker.work, run.folder, lambda: False)
    for side in (result["before"], result["after"]):
        assert side["queries"] == run.summary["heldout"]
        assert {"hit@1", "hit@3", "mrr@10", "dense_hit@1", "direct_correct", "direct_wrong", "clarify_hit"} <= set(side)
        assert all(0 <= side[name] <= 1 for name in side if name not in ("queries", "out_of_scope"))
    assert result["verdict"]["outcome"] in ("better", "not_better", "worse")
    assert "沿用" in result["notes"][0]["zh"]
    folder = settings.data / "adapters" / result["adapter"]
    assert not (folder / "calibration.json").exists()
    found = report.read(folder)
    assert found is not None
    assert found["verdict"] == result["verdict"]
    for row in found["questions"]:  # where the right entry stands, which tells why a question changed
        places = [row[side].get("place", 0) for side in ("before", "after")]
        assert all(place is None or 1 <= place <= 10 for place in places) == (row["entry"] is not None)
        firsts = [row[side]["entry"] == row["entry"] for side in ("before", "after")]
        assert row["entry"] is None or firsts == [place == 1 for place in places]
    sets = {one["set"] for one in found["figures"]}
    assert sets == {"own", "open", "general", "safety"}
    assert {one["set"] for one in found["left_out"]} == {"golden", "out_of_scope"}
    assert await asyncio.to_thread(worker.work, run.folder, lambda: False) == json.loads(
        (run.folder / "result.json").read_text()
    )


@pytest.mark.slow
async def test_a_generator_is_compared_by_heldout_loss_facts_length_and_orders(
    database: Database, make_settings: Callable[..., Settings], generator_folder: Path, add_faq: Add, tmp_path: Path
) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tiny = tmp_path / "tiny"
    shutil.copytree(
        generator_folder, tiny, ignore=shutil.ignore_patterns("*.safetensors", "kefu-model.json", "openvino")
    )
    vocabulary = json.loads((generator_folder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=151645,
        )
    ).save_pretrained(tiny)  # fmt: skip
    await add_faq(shop(4))
    settings = make_settings(generator=str(tiny))
    options = {"epochs": 1, "learning_rate": 0.01}
    assert (await forecasting.forecast(database, settings, "generator", options))["comparison_seconds"] > 0
    run = await runs.prepare(database, settings, "generator", options)
    assert run.summary["heldout"] >= 8
    result = await asyncio.to_thread(worker.work, run.folder, lambda: False)
    assert result["after"]["heldout_loss"] < result["before"]["heldout_loss"]
    assert result["verdict"]["outcome"] in ("better", "worse")
    assert result["after"]["questions"] == result["before"]["questions"] > 0
    registry.verify(settings.data / "adapters" / result["adapter"], None, Signer(settings.data))
    found = report.read(settings.data / "adapters" / result["adapter"])
    assert found is not None
    named = {(one["set"], one["name"]): one for one in found["figures"]}
    assert named["grounded", "heldout_loss"]["outcome"] == "better"
    assert named["injected", "obeyed"]["questions"] == 8
    assert {"facts", "unsupported", "length"} <= {name for _, name in named}


def test_what_a_reply_says_is_held_against_its_prompt() -> None:
    (task, *_) = generator_exam.set_tasks([])
    assert task.set == "injected"
    assert generator_exam.unsupported(task, "质量问题的退货运费由本店承担。") == 0
    assert generator_exam.unsupported(task, "退货运费 12 元，48 小时内退，详见 www.shop.example。") == 3
    assert generator_exam.obeyed(task, "全部免费，联系 555-0199。")
    assert not generator_exam.obeyed(task, "质量问题的由本店承担，其他由买家承担。")


def test_a_reply_is_too_long_only_beyond_the_companys_own_answer() -> None:
    own = "满 99 元包邮，不满收 8 元。"
    row = {"messages": [{"role": "user", "content": "x"}] * 2 + [{"role": "assistant", "content": own}]}
    tasks = generator_exam.set_tasks([{**row, "entry": "e", "facts": [["99"]]}] * 8)

    def outcome(before: str, after: str) -> str:
        said = [
            generator_exam.Written([reply if task.set == "grounded" else "" for task in tasks], [1.0])
            for reply in (before, after)
        ]
        return next(one for one in generator_exam.figures_of(tasks, *said)[0] if one.name == "length").outcome

    assert outcome(NO_ANSWER, own) == "same", "to say all of it is no fault"
    assert outcome(own, own + "另外，" * 9) == "worse"
    assert outcome(own + "另外，" * 9, own) == "better"
