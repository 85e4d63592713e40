"""The documents of other companies kept outside the repository: the pairs that a person finds, with whole answers."""

import re
from pathlib import Path

import pytest

from knowledge.readers import read
from knowledge.types import Entry, ReadResult

# Beginning of the file's name → pairs, questions reported without an answer.
EXPECTED = {
    "02": (5, 0),
    "03": (13, 0),
    "04": (5, 0),
    "05": (3, 0),
    "06": (1, 0),
    "07": (0, 28),
    "08": (44, 0),
    "09": (10, 0),
    "10": (172, 0),
    "11": (172, 0),
    "12": (100, 0),
    "13": (1, 0),
    "14": (1, 0),
    "15": (14, 0),
    "16": (4, 0),
    "17": (8, 0),
    "18": (2, 0),
}


def found_in(folder: Path, number: str) -> ReadResult:
    (path,) = (folder / "documents").glob(f"{number}_*")
    return read(path)


def entry(found: ReadResult, start: str) -> Entry:
    (one,) = (entry for entry in found.entries if entry.question.startswith(start))
    return one


@pytest.mark.parametrize("number", EXPECTED)
def test_as_many_pairs_as_a_person_finds(bench_data: Path, number: str) -> None:
    found = found_in(bench_data, number)
    assert (len(found.entries), len(found.problems)) == EXPECTED[number]
    assert all(problem.reason == "no_answer" for problem in found.problems)


@pytest.mark.parametrize("number", EXPECTED)
def test_the_name_of_a_file_gives_nothing_away(bench_data: Path, number: str) -> None:
    (path,) = (bench_data / "documents").glob(f"{number}_*")
    found = read(path, f"x{path.suffix}")
    assert (len(found.entries), len(found.problems)) == EXPECTED[number]


def squeezed(text: str) -> str:
    """Text without what differs between a file's Markdown and an answer: spaces, admonitions, sizes of pictures."""
    text = re.sub(r'!!! Abstract ""|\{width="\d+px"\}', "", text)
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize(
    ("number", "mark"), [("08", r"\n## \d+\. "), ("15", r"\n### "), ("16", r"\n### "), ("17", r"\n### ")]
)
def test_answers_of_markdown_are_whole(bench_data: Path, number: str, mark: str) -> None:
    (path,) = (bench_data / "documents").glob(f"{number}_*")
    parts = re.split(mark, path.read_text(encoding="utf-8").replace("\r\n", "\n"))[1:]
    answers = [re.split(r"\n## ", part.split("\n", 1)[1])[0] for part in parts]
    assert [squeezed(entry.answer) for entry in found_in(bench_data, number).entries] == [squeezed(a) for a in answers]


def test_word(bench_data: Path) -> None:
    found = found_in(bench_data, "02")
    first = found.entries[0]
    assert first.question == "银行/支付宝/财付通已扣款，订单仍显示未付款"
    assert first.answer.startswith("出现此问题，可能是银行")
    assert first.answer.endswith("我们会协助您解决。")
    third = entry(found, "收不到订单信息怎么办")
    assert third.answer.startswith("请您排查")
    assert "a、您可能不是在本网站" in third.answer
    assert "b、您可能是使用其他账号" in third.answer
    first, second = found_in(bench_data, "18").entries
    assert first.question.startswith("关于一些晚上断网断电")
    assert second.answer.startswith("1.多拨几次试试")
    assert second.answer.endswith("本教程目前不支持心跳包的破解。")


def test_pdf(bench_data: Path) -> None:
    found = found_in(bench_data, "03")
    assert entry(found, "/give 命令").answer == (
        "1.12使用 /give @p filled_map 1 i，获得序号为i的地图\n\n1.13+使用 /give @p filled_map{map:i}，获得序号为i的地图"
    )
    assert "就能看到用户可以使用的下载方式了" in entry(found, "SlopeCraft.exe 是在").answer
    assert entry(found, "SlopeCraft turned everything").question.endswith("look nothing like the original?")
    assert entry(found, "SlopeCraft.exe isn't").answer.startswith("DO NOT DOWNLOAD")
    assert found.places[-1] == "第 2 页"
    assert not any("FAQ.md" in one.answer or "1 / 2" in one.answer for one in found.entries)
    assert not entry(found, "导出的投影").answer.endswith("Thank you!")


def test_pages(bench_data: Path) -> None:
    found = found_in(bench_data, "04")
    assert entry(found, "我不懂技术").answer.endswith("自行在猪八戒等威客网站找团队接入。")
    assert not any("Copyright" in one.answer or "QQ" in one.answer for one in found.entries)
    (single,) = found_in(bench_data, "06").entries
    assert single.answer.endswith("然后点击客如云系统进行初始化。")
    assert found_in(bench_data, "07").problems[0].question == "客如云闪退及Pad报错怎么办？"
    for number in ("04", "05", "06", "07"):
        assert not found_in(bench_data, number).passages, "navigation and footers are no passages"


def test_tables(bench_data: Path) -> None:
    protocols = entry(found_in(bench_data, "09"), "中控 Pro 支持哪些协议")
    assert protocols.similar_questions == ("能连哪些智能设备协议", "Matter 支持吗")
    assert protocols.category == "产品"
    assert entry(found_in(bench_data, "10"), "加油~").answer == "加油，我认为你的方向是对的。"
    assert found_in(bench_data, "12").entries[0].question == "空气净化器pro连续可以开多久"
    for number in ("13", "14"):
        (one,) = found_in(bench_data, number).entries
        assert (one.question, len(one.similar_questions)) == ("MaxKB是什么？", 3)
        assert one.answer.startswith("MaxKB 是一款")
        assert one.answer.endswith("百度千帆大模型等。")
