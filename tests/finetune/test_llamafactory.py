"""ShareGPT, Alpaca and LLaMA-Factory's description of them, there and back."""

import json
from pathlib import Path

import pytest

from finetune.data import Conversation, Message, parse_conversation
from finetune.errors import FinetuneError
from finetune.llamafactory import WRITERS, as_alpaca, as_sharegpt, dataset_info, exchanges, read_dataset_info

TALK = Conversation(
    "c1",
    (
        Message("system", "您是客服。"),
        Message("user", "在吗"),
        Message("assistant", "在的"),
        Message("user", "衣服不合身", "return", reviewed=True),
        Message("user", "能退吗"),
        Message("assistant", "机器说的", machine=True),
        Message("assistant", "七天内可以"),
        Message("assistant", "运费我们出"),
        Message("user", "好"),
    ),
)


def test_both_forms_ask_before_every_answer_and_leave_the_bots_words_out():
    system, pairs = exchanges(TALK)
    assert system == "您是客服。"
    said = [(asked.content, answered.content) for asked, answered in pairs]
    assert said == [("在吗", "在的"), ("衣服不合身\n能退吗", "七天内可以\n运费我们出")]
    assert (pairs[1][0].faq_id, pairs[1][0].reviewed) == ("return", True)
    assert "机器说的" not in json.dumps([as_sharegpt(TALK), as_alpaca(TALK)], ensure_ascii=False)


@pytest.mark.parametrize("form", WRITERS)
def test_what_is_written_is_read_back_and_written_the_same(form):
    row = WRITERS[form](TALK)
    back = parse_conversation(json.loads(json.dumps(row)), "x")
    assert back.id == "c1"
    assert exchanges(back)[1][-1][0].faq_id == "return"
    assert WRITERS[form](back) == row


@pytest.mark.parametrize("form", WRITERS)
def test_a_conversation_nobody_answered_is_left_out(form):
    assert WRITERS[form](Conversation("x", (Message("user", "在吗"),))) is None
    assert WRITERS[form](Conversation("x", (Message("assistant", "您好"), Message("user", "在吗")))) is None


def folder_of(tmp_path: Path, info: object, **files: object) -> Path:
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(info), encoding="utf-8")
    return path


def test_our_own_folder_is_read_back(tmp_path):
    rows = {f"kefu_{form}": [write(TALK)] for form, write in WRITERS.items()}
    found, problems = read_dataset_info(folder_of(tmp_path, dataset_info(), **rows))
    assert problems == []
    assert [len(exchanges(one)[1]) for one in found] == [2, 2]


def test_the_defaults_and_the_openai_form_of_the_documentation_are_understood(tmp_path):
    info = {
        "plain": {"file_name": "plain.json"},
        "renamed": {"file_name": "renamed.json", "columns": {"prompt": "问", "response": "答"}},
        "shared": {"file_name": "shared.json", "formatting": "sharegpt"},
        "openai": {
            "file_name": "openai.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
    }  # fmt: skip
    path = folder_of(
        tmp_path,
        info,
        plain=[{"instruction": "翻译", "input": "你好", "output": "hello"}],
        renamed=[{"问": "几天到", "答": "三天"}],
        shared=[{"conversations": [{"from": "human", "value": "在吗"}, {"from": "gpt", "value": "在"}]}],
        openai=[{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                              {"role": "assistant", "content": "a"}]}],
    )  # fmt: skip
    found, problems = read_dataset_info(path)
    assert problems == []
    assert [[(m.role, m.content) for m in one.messages] for one in found] == [
        [("user", "翻译\n你好"), ("assistant", "hello")],
        [("user", "几天到"), ("assistant", "三天")],
        [("user", "在吗"), ("assistant", "在")],
        [("system", "s"), ("user", "q"), ("assistant", "a")],
    ]


def test_what_cannot_be_read_is_named_and_nothing_outside_the_folder_is(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.json").write_text('[{"instruction": "a", "output": "b"}]')
    info = {
        "good": {"file_name": "good.json"},
        "up": {"file_name": "../secret.json"},
        "gone": {"file_name": "gone.json"},
        "pairs": {"file_name": "good.json", "ranking": True},
        "odd": "text",
        "tools": {"file_name": "tools.json", "formatting": "sharegpt"},
    }
    path = folder_of(
        tmp_path / "inner",
        info,
        good=[{"instruction": "a", "output": "b"}, 7, {"instruction": "x"}],
        tools=[{"conversations": [{"from": "function_call", "value": "{}"}]}],
    )
    found, problems = read_dataset_info(path)
    assert [one.messages[0].content for one in found] == ["a"]
    assert len(problems) == 7


@pytest.mark.parametrize("content", ["", "[]", "nonsense", '{"a": {"file_name": "b.json"}}', "7"])
def test_a_description_of_nothing_is_refused(tmp_path, content):
    path = tmp_path / "dataset_info.json"
    path.write_text(content)
    with pytest.raises(FinetuneError, match=r"dataset_info\.json"):
        read_dataset_info(path)
