"""JSON and JSON Lines: the native form, and the records other products export."""

import json
from typing import Any, NamedTuple

from knowledge.errors import ReadError
from knowledge.readers.fields import Collector, field_of

# Under these keys an object holds its records.
_LISTS = ("items", "data", "faqs", "faq", "entries", "list", "records", "rows", "qa", "questions")
_ENVELOPES_MAX = 3


class _Fault(NamedTuple):
    """What is wrong with a text, in Chinese and English."""

    zh: str
    en: str


def looks_like(text: str, suffix: str) -> bool:
    """Whether a text is meant to be JSON or JSON Lines. A bracket alone may also open a Markdown link."""
    start = text.lstrip()[:1]
    if not start or start not in "{[":
        return suffix in (".jsonl", ".json", ".ndjson")
    if suffix in (".jsonl", ".json", ".ndjson"):
        return True
    return _parse(text)[1] is None or any(isinstance(_parse(line)[0], dict) for line in text.split("\n", 20)[:20])


def read_json(text: str, name: str, collector: Collector) -> None:
    """Every record of the file into the collector. Raises ReadError where it is not JSON or holds no records."""
    whole, error = _parse(text)
    if error is None:
        records = _records(whole)
        if records is None:
            raise _no_records(name)
        numbered: list[tuple[str, Any, _Fault | None]] = [
            (f"第 {number} 条", record, None) for number, record in enumerate(records, start=1)
        ]
    else:
        lines = [(f"第 {number} 行", line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        numbered = [(place, *_parse(line)) for place, line in lines]
        if not any(isinstance(record, dict) for _, record, _ in numbered):
            raise ReadError(
                "malformed",
                f"文件「{name}」不是完整的 JSON，也不是每行一条的 JSON Lines：{error.zh}。",
                f"{name} is neither whole JSON nor JSON Lines: {error.en}.",
            )
    records_found = [record for _, record, _ in numbered if isinstance(record, dict)]
    if numbered and not any(field_of(key) in ("question", "title") for record in records_found for key in record):
        raise _no_records(name)
    for place, record, _ in numbered:
        if collector.is_full:
            collector.problem(place, "too_many")
            return
        if isinstance(record, dict):
            collector.add(place, _fields(record))
        else:
            collector.problem(place, "malformed")


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        field = field_of(key)
        # An exact native name beats a synonym that stands beside it.
        if field is not None and (field not in found or key == field):
            found[field] = value
    if isinstance(found.get("question"), list):
        questions = found["question"]
        found["question"] = questions[0] if questions else None
        found["similar_questions"] = [*questions[1:], *(found.get("similar_questions") or ())]
    return found


def _records(whole: Any) -> list[Any] | None:
    for _ in range(_ENVELOPES_MAX):
        if isinstance(whole, list):
            return whole
        if not isinstance(whole, dict):
            return None
        inner = next((whole[key] for key in _LISTS if isinstance(whole.get(key), list | dict)), None)
        if inner is None or any(field_of(key) == "answer" for key in whole):
            return [whole]
        whole = inner
    return whole if isinstance(whole, list) else None


def _parse(text: str) -> tuple[Any, _Fault | None]:
    """(value, None), or (None, what is wrong)."""
    try:
        return json.loads(text), None
    except json.JSONDecodeError as error:
        line, column = error.lineno, error.colno
        return None, _Fault(f"第 {line} 行第 {column} 列写得不对", f"line {line}, column {column} is not right")
    except RecursionError:
        return None, _Fault("内容层层嵌套太深", "it nests too deeply")
    except ValueError:  # a number of more digits than Python turns into one
        return None, _Fault("里面的数字太长", "a number in it is too long")


def _no_records(name: str) -> ReadError:
    return ReadError(
        "no_columns",
        f"文件「{name}」里找不到问答：每条需要 question 和 answer（或 问题 和 答案）。",
        f"There are no questions and answers in {name}: each record needs question and answer.",
    )
