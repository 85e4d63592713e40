import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.text import clean, clean_line, fingerprint, is_sound, normalise, plain, tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("怎么退货？", "怎么退货"),
        ("退貨運費誰出", "退货运费谁出"),
        ("ＰＰＲ－９０８７　怎么用", "ppr-9087怎么用"),
        ("How  to Return?", "how to return"),
        ("《发票》，怎么开！", "发票怎么开"),
    ],
)
def test_the_same_question_has_one_normal_form(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), [("1.5米", "15米"), ("C++", "C"), ("C#", "C"), ("？", "！"), ("50%", "50")])
def test_what_differs_stays_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_a_model_code_is_found_whole_joined_and_in_parts() -> None:
    assert set(tokens("PPR-9087")) == {"ppr9087", "ppr", "9087"}
    assert "ppr9087" in tokens("我的ppr9087坏了")
    assert "9087" in tokens("9087 怎么用")
    assert tokens("退貨")[:2] == ["退", "货"]
    assert "退货" in tokens("退貨")


def test_tokens_of_nothing() -> None:
    assert tokens("") == []
    assert tokens("？！。") == []


def test_clean_keeps_lines_and_drops_controls() -> None:
    assert clean(" a\r\nb\x00\x07\u2028c\ufeff \n") == "a\nb\nc"
    assert clean_line(" 怎么\n 退货\t？ ") == "怎么 退货 ？"


def test_soundness() -> None:
    assert is_sound("退货")
    assert not is_sound("退\ufffd")
    assert not is_sound("\ud800")


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean_line(clean_line(text)) == clean_line(text)


def test_fingerprints_tell_question_from_answer() -> None:
    assert fingerprint("怎么退货？", "七天。") == fingerprint("怎麼退貨", "七天")
    assert fingerprint("怎么", "退货") != fingerprint("怎么退", "货")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, knowledge.index, knowledge.encoders, knowledge.readers, knowledge.writers, knowledge.evaluate\n"
        "print([m for m in ('torch','faiss','transformers','peft','openpyxl','opencc') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("怎么退貨？？", "怎么退货"),
        ("PPR-9087，多少钱!", "PPR-9087,多少钱"),
        ("「你好」（请问）：发票。", "你好」(请问):发票"),
        ("C++ 怎么学", "C++ 怎么学"),
        ("？？", "??"),
    ],
)
def test_the_encoder_reads_a_question_without_the_marks_around_it(written: str, read: str) -> None:
    assert plain(written) == read
    assert plain(read) == read
