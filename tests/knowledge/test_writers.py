import csv
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from knowledge.errors import WriteError
from knowledge.readers import read
from knowledge.text import clean, clean_line
from knowledge.types import Entry
from knowledge.writers import write

LETTERS = st.text(
    st.characters(codec="utf-8") | st.sampled_from(list("=+-@'\"|｜#\n\t,，、;；/吗_x005F_退貨")), max_size=40
)
LINE = LETTERS.map(clean_line).filter(lambda text: bool(text) and "\ufffd" not in text)
ANSWER = LETTERS.map(clean).filter(lambda text: bool(text) and "\ufffd" not in text)
LIST = st.lists(LINE, max_size=3, unique=True).map(tuple)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        question = draw(LINE)
        similar = tuple(text for text in draw(LIST) if text != question)
        start = draw(st.none() | st.dates(min_value=date(1000, 1, 1)))
        category, action = draw(st.none() | LINE), draw(st.none() | LINE)
        entry = Entry(
            f"id-{number}",
            question,
            draw(ANSWER),
            similar,
            draw(LIST),
            category,
            draw(LIST),
            draw(st.booleans()),
            action,
            valid_from=start,
            valid_until=draw(st.none() | st.dates(min_value=start or date(1000, 1, 1))),
            channels=draw(LIST),
        )
        found.append(entry)
    return found


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "xlsx"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(given_entries=entries())
def test_what_is_written_reads_back_equal(tmp_path: Path, suffix: str, given_entries: list[Entry]) -> None:
    path = tmp_path / f"faq.{suffix}"
    write(given_entries, path)
    found = read(path)
    assert list(found.entries) == given_entries
    assert not found.problems


FORMULA = Entry("f", "=cmd|' /C calc'!A0", "+1 元起", ("-5 度能用吗", "@谁"), tags=("a",))


def test_no_spreadsheet_finds_a_formula(tmp_path: Path) -> None:
    write([FORMULA], tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = list(csv.reader(file))[1]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    write([FORMULA], tmp_path / "a.xlsx")
    sheet = load_workbook(tmp_path / "a.xlsx").active
    assert sheet is not None
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value} == {"s"}


def test_another_kind_of_file_and_a_cell_too_long(tmp_path: Path) -> None:
    with pytest.raises(WriteError) as caught:
        write([FORMULA], tmp_path / "a.docx")
    assert caught.value.code == "unsupported"
    with pytest.raises(WriteError) as caught:
        write([Entry("l", "长", "字" * 40_000)], tmp_path / "a.xlsx")
    assert caught.value.code == "cell_too_long"
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    write([FORMULA], path)
    before = path.read_bytes()
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from knowledge.errors import WriteError\nfrom knowledge.types import Entry\n"
        "from knowledge.writers import write\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write([Entry(str(i), 'q' * 50, 'a') for i in range(1000)], Path(sys.argv[1]))\n"
        "except WriteError as error:\n    print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "not_written"
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["faq.jsonl"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_empty_knowledge_base_is_a_file_with_a_header(tmp_path: Path) -> None:
    for suffix in ("csv", "xlsx", "jsonl"):
        write([], tmp_path / f"none.{suffix}")
        assert (tmp_path / f"none.{suffix}").exists()
