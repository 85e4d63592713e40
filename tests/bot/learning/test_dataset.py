"""What is learned from: labels, what is left out, and that nothing held out is ever seen."""

import json
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.dialogs import export_dialogs, import_dialogs
from bot.dialogue.prompt import NO_ANSWER, grounded_messages
from bot.learning import dataset, grounding
from bot.storage.database import Database
from finetune.data import normalise, read_jsonl
from finetune.errors import FinetuneError
from knowledge.types import Entry

from .conftest import FAQ, write_jsonl

Add = Callable[[list[dict[str, Any]]], Awaitable[None]]


async def test_labels_are_what_people_said_and_what_staff_answered_word_for_word(
    database: Database, add_faq: Add, dialogs: Path
) -> None:
    await add_faq(FAQ)
    found = dataset.labels(await dataset.gather(database, dialogs))
    assert {(one.text, one.entry) for one in found.examples} == {
        ("衣服不合身想寄回去", "return"),
        ("今天天气", None),
        ("收到再给钱行不", "cod"),
    }
    assert (found.mined, found.unknown, found.contradictory) == (1, 1, 2)


@pytest.mark.parametrize("write", [dataset.write_encoder, dataset.write_generator])
def test_as_much_as_the_pages_ask_for_is_enough_to_compare(
    write: Callable[[dataset.Material, Path, int], dataset.Summary], tmp_path: Path
) -> None:
    """The training page and docs/training.md promise a comparison from 70 similar questions or entries on."""

    def entries(count: int) -> tuple[Entry, ...]:
        per = 2 if write is dataset.write_encoder else 0  # the encoder's material are the similar questions
        named = [f"第{n}件商品" for n in range(count // max(1, per))]
        return tuple(
            Entry(f"e{n}", f"{name}怎么用", f"{name}的说明书第{n}页写了", tuple(f"{name}的用法{i}" for i in range(per)))
            for n, name in enumerate(named)
        )

    assert write(dataset.Material(entries(70)), tmp_path, 1).heldout >= dataset.HELDOUT_MIN
    assert write(dataset.Material(entries(40)), tmp_path, 1).heldout == 0


async def test_stored_conversations_count_as_a_file_does(database: Database, add_faq: Add, dialogs: Path) -> None:
    await add_faq(FAQ)
    await import_dialogs(database, dialogs, "dialogs.jsonl")
    stored = dataset.labels(await dataset.gather(database))
    both = dataset.labels(await dataset.gather(database, dialogs))
    assert {one.text for one in stored.examples} == {one.text for one in both.examples}
    assert len(stored.examples) == 3


async def test_the_bots_own_replies_teach_nothing_and_survive_an_export(
    database: Database, add_faq: Add, tmp_path: Path
) -> None:
    await add_faq(FAQ)
    answer = "目前不支持货到付款，请在线支付。"
    talk = [{"role": "user", "content": "能刷卡不"}, {"role": "assistant", "content": answer, "by": "bot"}]
    staff = [{"role": "user", "content": "收到再给钱行不"}, {"role": "assistant", "content": answer}]
    talks = {"b1": talk, "b2": [*talk, staff[1]], "b3": staff}
    rows = [{"id": name, "messages": messages} for name, messages in talks.items()]
    await import_dialogs(database, write_jsonl(tmp_path / "talks.jsonl", rows), "talks.jsonl")
    expected = {("能刷卡不", "cod"), ("收到再给钱行不", "cod")}  # b2: a person repeated what the bot had said
    found = dataset.labels(await dataset.gather(database))
    assert {(one.text, one.entry) for one in found.examples} == expected
    assert {one.group for one in found.examples} == {"b2", "b3"}
    await export_dialogs(database, tmp_path / "out.jsonl")
    again = {row["id"]: row["messages"] for row in read_jsonl(tmp_path / "out.jsonl")}
    assert again == talks


async def test_nothing_held_out_is_trained_on_or_indexed(database: Database, add_faq: Add, tmp_path: Path) -> None:
    rows = [
        {
            "id": f"e{i}",
            "question": f"问题{i}",
            "answer": f"答案{i}",
            "similar_questions": [f"说法{i}甲", f"说法{i}乙", f"说法{i}丙"],
        }
        for i in range(40)
    ]
    await add_faq(rows)
    summary = dataset.write_encoder(await dataset.gather(database), tmp_path, seed=1)
    heldout = {normalise(row["text"]) for row in read_jsonl(tmp_path / "heldout.jsonl")}
    indexed = {normalise(text) for row in read_jsonl(tmp_path / "entries.jsonl") for text in row["phrasings"]}
    trained = {normalise(row["text"]) for row in read_jsonl(tmp_path / "train.jsonl")}
    assert summary.heldout == len(heldout) >= dataset.HELDOUT_MIN
    assert not heldout & (indexed | trained)
    assert len(indexed | heldout) == 160


async def test_few_examples_all_train_and_nothing_is_held_out(
    database: Database, add_faq: Add, dialogs: Path, tmp_path: Path
) -> None:
    await add_faq(FAQ)
    material = await dataset.gather(database, dialogs)
    assert dataset.write_encoder(material, tmp_path, seed=1).heldout == 0
    assert dataset.write_generator(material, tmp_path, seed=1).heldout == 0
    assert dataset.write_generator(material, tmp_path, seed=1).entries == 4


async def test_empty_answers_and_a_message_of_two_megabytes_teach_nothing(
    database: Database, add_faq: Add, tmp_path: Path
) -> None:
    await add_faq(FAQ)
    talks = [
        {"id": "empty", "messages": [{"role": "user", "content": "退一下", "faq_id": "return"},
                                     {"role": "assistant", "content": " \n"}]},
        {"id": "silent", "messages": [{"role": "user", "content": "  ", "faq_id": "return"}]},
        {"id": "long", "messages": [{"role": "user", "content": "退" * 2_000_000, "faq_id": "return"}]},
    ]  # fmt: skip
    material = await dataset.gather(database, write_jsonl(tmp_path / "talks.jsonl", talks))
    assert {one.text for one in dataset.labels(material).examples} == {"退一下"}
    dataset.write_encoder(material, tmp_path, seed=1)
    assert max(len(row["text"]) for row in read_jsonl(tmp_path / "train.jsonl")) <= dataset.QUERY_CHARACTERS_MAX
    dataset.write_generator(material, tmp_path, seed=1)
    replies = [row["messages"][-1]["content"] for row in read_jsonl(tmp_path / "train.jsonl")]
    assert replies
    assert all(reply.strip() for reply in replies)


async def test_lines_that_are_no_conversation_are_named(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text('{"id": "a", "messages": [{"role": "user", "content": "在吗"}]}\nnonsense\n')
    assert (await dataset.gather(database, path)).problems == ("talks.jsonl:2: 不是有效的 JSON（第 1 列）",)
    path.write_text("nonsense\n")
    with pytest.raises(FinetuneError, match=r"talks\.jsonl"):
        await dataset.gather(database, path)


def entries(count: int) -> list[Entry]:
    return [
        Entry(f"e{i}", f"第{i}种商品多少钱", f"第{i}种商品 {i + 10} 元。", (f"{i}号多少钱", f"how much is {i}"))
        for i in range(count)
    ]


def test_an_example_is_servings_prompt_with_the_answer_in_its_sources() -> None:
    shelf = entries(12)
    rows = grounding.examples(shelf, shelf, [], random.Random(1), "青砾生活", refusal_share=0.0)
    assert {row["entry"] for row in rows} == {entry.id for entry in shelf}
    for row in rows:
        entry = shelf[int(row["entry"][1:])]
        system, user, reply = row["messages"]
        assert reply["content"] == entry.answer
        assert entry.answer in user["content"]
        assert system == grounded_messages("x", [("t", "a")], "青砾生活")[0]
        assert not user["content"].endswith("how much is 1\n</问题>")
        assert row["facts"] == [[figure] for figure in dict.fromkeys((entry.id[1:], str(int(entry.id[1:]) + 10)))]


def test_some_answers_are_to_be_picked_out_of_a_longer_text_that_is_never_cut() -> None:
    for words in (3, 300):
        shelf = [replace(one, answer=f"{one.answer}，{'详' * words}。") for one in entries(40)]
        rows = grounding.examples(shelf, shelf, [], random.Random(1), "", refusal_share=0.0)
        blocks = [
            next(block for block in re.split(r"\n\[\d\] ", row["messages"][1]["content"]) if answer in block)
            for row in rows
            for answer in [row["messages"][-1]["content"]]
        ]
        longer = sum(sum(one.answer in block for one in shelf) > 1 for block in blocks)
        assert 0.2 < longer / len(rows) < 0.5, words


def test_some_examples_have_no_answer_in_their_sources_and_say_so() -> None:
    shelf = entries(60)
    rows = grounding.examples(shelf, shelf, ["今天天气"] * 30, random.Random(1), "")
    refused = [row for row in rows if row["messages"][-1]["content"] == NO_ANSWER]
    assert 0.05 < len(refused) / len(rows) < 0.35
    asked = {entry.similar_questions[0]: entry.answer for entry in shelf}
    for row in refused:
        text = row["messages"][1]["content"]
        question = text.split("<问题>\n")[1].split("\n")[0]
        assert asked.get(question, "没有这句") not in text


@pytest.mark.parametrize(("count", "least", "most"), [(1, 1, 4), (60, 100, 260), (5000, 400, 480)])
def test_the_number_of_examples_stays_in_bounds(count: int, least: int, most: int) -> None:
    shelf = entries(count)
    assert least <= len(grounding.examples(shelf[:600], shelf[:600], [], random.Random(1), "")) <= most


async def test_the_same_knowledge_gives_the_same_files(
    database: Database, add_faq: Add, dialogs: Path, tmp_path: Path
) -> None:
    await add_faq(FAQ)
    material = await dataset.gather(database, dialogs)
    texts = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        dataset.write_generator(material, folder, seed=7)
        texts.append((folder / "train.jsonl").read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0].splitlines()[0])["messages"]


@pytest.mark.parametrize("write", [dataset.write_encoder, dataset.write_generator])
async def test_nothing_personal_is_learnt(
    write: Callable[[dataset.Material, Path, int], dataset.Summary], database: Database, add_faq: Add, tmp_path: Path
) -> None:
    await add_faq(FAQ)
    said = "我叫王小明，电话13812345678，衣服不合身想寄回去，我住在杭州市西湖区文三路90号"
    rows = [{"id": "p", "messages": [{"role": "user", "content": said, "faq_id": "return"}]}]
    material = await dataset.gather(database, write_jsonl(tmp_path / "personal.jsonl", rows))
    (example,) = dataset.labels(material).examples
    assert example.text == "我叫[姓名]，电话[电话]，衣服不合身想寄回去，我住在[地址]"
    write(material, tmp_path, 1)
    written = "".join(
        file.read_text(encoding="utf-8") for file in (tmp_path / "train.jsonl", tmp_path / "heldout.jsonl")
    )
    assert "衣服不合身想寄回去" in written
    assert not any(personal in written for personal in ("王小明", "13812345678", "文三路"))
