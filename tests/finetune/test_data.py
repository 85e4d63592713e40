"""Reading conversations of every form, naming what is wrong, and splitting without leakage."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import Labelled, data_hash, normalise, read_conversations, settle, split
from finetune.errors import FinetuneError

NATIVE = {
    "id": "n",
    "messages": [{"role": "user", "content": "怎么退货", "faq_id": "r"}, {"role": "assistant", "content": "好"}],
}
SHAREGPT = {"id": "s", "conversations": [{"from": "human", "value": "怎么退货"}, {"from": "gpt", "value": "好"}]}
ALPACA = {"instruction": "怎么退货", "input": "", "output": "好", "history": [["在吗", "在"]]}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in lines))
    return path


def test_all_forms_are_read(tmp_path: Path) -> None:
    found, problems = read_conversations(write(tmp_path / "a.jsonl", NATIVE, SHAREGPT, ALPACA))
    assert problems == []
    assert [[(m.role, m.content) for m in one.messages] for one in found] == [
        [("user", "怎么退货"), ("assistant", "好")],
        [("user", "怎么退货"), ("assistant", "好")],
        [("user", "在吗"), ("assistant", "在"), ("user", "怎么退货"), ("assistant", "好")],
    ]
    first = found[0].messages[0]
    assert (first.faq_id, first.reviewed) == ("r", True)
    assert not found[1].messages[0].reviewed


def test_a_list_in_one_json_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([NATIVE, SHAREGPT], ensure_ascii=False, indent=2))
    assert [one.id for one in read_conversations(path)[0]] == ["n", "s"]


def test_out_of_scope_is_a_label_and_no_label_is_none(tmp_path: Path) -> None:
    row = {
        "id": "x",
        "messages": [{"role": "user", "content": "天气", "faq_id": None}, {"role": "user", "content": "嗯"}],
    }
    first, second = read_conversations(write(tmp_path / "a.jsonl", row))[0][0].messages
    assert (first.reviewed, first.faq_id) == (True, None)
    assert not second.reviewed


@pytest.mark.parametrize(
    "bad",
    [
        "not json",
        "[1]",
        '{"messages": [{"role": "robot", "content": "x"}]}',
        '{"messages": [{"role": "user"}]}',
        '{"messages": [{"role": "assistant", "content": "x"}]}',
        '{"other": 1}',
        '{"messages": [{"role": "user", "content": "x", "faq_id": [1]}]}',
        '{"messages": [{"role": "user", "content": "' + "长" * 700_000 + '"}]}',
        "[" * 5000,
    ],
)
def test_a_bad_line_is_named_and_the_others_are_kept(tmp_path: Path, bad: str) -> None:
    found, problems = read_conversations(write(tmp_path / "talks.jsonl", NATIVE, bad, SHAREGPT))
    assert [one.id for one in found] == ["n", "s"]
    assert [(problem.file, problem.line) for problem in problems] == [("talks.jsonl", 2)]
    assert problems[0].zh
    assert problems[0].en


@pytest.mark.parametrize("content", [b"", b"\n\n", b"not json\n", b"\xff\xfe\x00"])
def test_a_file_without_conversations_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(FinetuneError, match=r"a\.jsonl"):
        read_conversations(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="gone"):
        read_conversations(tmp_path / "gone.jsonl")


def test_contradictory_labels_go_to_the_majority_and_ties_go() -> None:
    examples = [Labelled("开票", "a", "1"), Labelled("开票！", "b", "2"), Labelled("退货", "c", "3")]
    settled, tied = settle([*examples, Labelled("退 货", "c", "4"), Labelled("退货", "d", "5")])
    assert [(one.text, one.entry) for one in settled] == [("退货", "c")]
    assert tied == 1


def test_what_a_person_reviewed_is_not_outvoted_by_what_replies_suggest() -> None:
    concluded = [Labelled("科二考啥", "hours", str(i), reviewed=False) for i in range(5)]
    settled, tied = settle([*concluded, Labelled("科二考啥？", "items", "9")])
    assert [(one.entry, one.reviewed) for one in settled] == [("items", True)]
    assert tied == 0
    assert settle(concluded)[0][0].entry == "hours"


texts = st.lists(
    st.tuples(st.sampled_from("甲乙丙丁戊己庚辛壬癸"), st.sampled_from("abcd"), st.integers(0, 8)), max_size=60
)


@given(texts)
def test_no_text_and_no_conversation_is_ever_on_both_sides(rows: list[tuple[str, str, int]]) -> None:
    items = [Labelled(text, entry, str(group)) for text, entry, group in rows]

    def keys(item: Labelled) -> list[str]:
        return [f"g{item.group}", f"t{normalise(item.text)}"]

    train, held = split(items, keys=keys, stratum=lambda e: e.entry, share=0.3, seed=1)
    assert sorted(map(id, train + held)) == sorted(map(id, items))
    assert not {key for item in train for key in keys(item)} & {key for item in held for key in keys(item)}
    assert len(held) <= 0.3 * len(items)


def test_the_split_does_not_depend_on_the_order() -> None:
    items = [Labelled(f"问题{i}", f"e{i % 7}", str(i)) for i in range(70)]

    def held(some: list[Labelled]) -> set[str]:
        parts = split(some, keys=lambda e: [e.text], stratum=lambda e: e.entry, share=0.2, seed=5)
        return {item.text for item in parts[1]}

    assert held(items) == held(items[::-1])
    assert len(held(items)) == 14


def test_the_data_hash_follows_the_content_alone(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", NATIVE), write(tmp_path / "two", NATIVE)
    assert data_hash(one) == data_hash(two)
    write(two, SHAREGPT)
    assert data_hash(one) != data_hash(two)
