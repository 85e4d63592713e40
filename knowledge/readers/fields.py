"""One row or record → one entry, under the column names that people and other products use."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from knowledge.readers.limits import Limits
from knowledge.text import clean, clean_line, fingerprint, is_sound, simplify
from knowledge.types import Entry, Problem, ReadResult

_T = TypeVar("_T")
# Ours, the Chinese ones people write, and those of MaxKB, FastGPT, Dify and WeKnora. `title` is a question only where
# nothing better is there: MaxKB puts its questions in a column of their own beside the title.
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "faq_id", "faqid", "编号", "条目编号"),
    "question": (
        "question", "questions", "q", "问题", "标准问题", "标准问", "主问题", "提问", "问", "问句", "用户问题",
        "客户问题", "常见问题", "standard_question", "standardquestion", "query", "问题描述", "问题内容", "咨询问题",
        "咨询内容", "客户咨询", "客户提问", "客户问法", "用户提问", "题目", "问题q", "faq",
    ),
    "title": ("title", "标题", "分段标题", "问题标题"),
    "answer": (
        "answer", "answers", "a", "答案", "回答", "回复", "答", "标准答案", "机器人回答", "答复", "解答", "内容",
        "分段内容", "回复内容", "content", "detail", "reply", "response", "解决方案", "解决办法", "解决方法",
        "处理方法", "处理办法", "处理方案", "标准回复", "标准回答", "回答内容", "答案内容", "参考答案", "参考回复",
        "话术", "标准话术", "回复话术", "答复话术", "参考话术", "应答话术", "客服话术", "客服回复", "答案a", "回答a",
    ),
    "similar_questions": (
        "similar_questions", "similar_question", "similarquestions", "similar", "相似问", "相似问题", "相似问法",
        "相似问句", "相似提问", "扩展问", "扩展问题", "同义问", "同义问法", "同义问题", "其他问法", "别的问法", "问法",
        "相似说法", "indexes",
    ),
    "negative_questions": (
        "negative_questions", "negative_question", "negativequestions", "负例", "反例", "负例问题", "反例问题",
        "排除问", "排除问题",
    ),
    "category": ("category", "分类", "类别", "类目", "目录", "分组", "tag_name", "所属分类", "问题分类"),
    "tags": ("tags", "tag", "标签", "关键词", "关键字", "keywords"),
    "enabled": ("enabled", "enable", "is_enabled", "启用", "是否启用", "启用状态", "状态", "是否有效"),
    "disabled": ("disabled", "is_disabled", "停用", "是否停用", "禁用", "是否禁用"),
    "action": ("action", "动作", "业务动作"),
    "valid_from": ("valid_from", "effective_from", "生效日期", "生效时间", "有效期起"),
    "valid_until": ("valid_until", "effective_until", "失效日期", "失效时间", "到期日期", "有效期止", "有效期至"),
    "channels": ("channels", "channel", "渠道", "适用渠道", "可见渠道"),
}  # fmt: skip
_FIELD_OF = {name: field for field, names in NAMES.items() for name in names}
# A column of these is an id of the company's own only where it holds more than running numbers.
RUNNING_NAMES = ("编号", "条目编号")
_REMARK = re.compile(r"[(\[【].*$", re.DOTALL)
_NUMBERED = re.compile(r"[\s_]*\d+$")
_YES = {"true", "1", "是", "启用", "已启用", "有效", "yes", "y", "on", "enabled", "开启", "正常", "√"}
_NO = {"false", "0", "否", "停用", "已停用", "禁用", "无效", "no", "n", "off", "disabled", "关闭", "×", "x"}
SHOWN_CHARACTERS_MAX = 60
LIST_FIELDS = ("similar_questions", "negative_questions", "tags", "channels")
# ISO, and what Excel shows of a date in Chinese and with slashes; a time of day behind it says nothing here.
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]\d{1,2}:\d{2}.*)?")


def field_of(name: object) -> str | None:
    """The field a column or key stands for (「问题(必填)」 → question, 「相似问题1」 → similar_questions), or None."""
    plain = simplify(str(name or "")[:200]).strip().lstrip("*").lower()
    plain = _REMARK.sub("", plain).strip().rstrip(":*").strip()
    for variant in (plain, _NUMBERED.sub("", plain)):
        if variant in _FIELD_OF:
            return _FIELD_OF[variant]
    return None


class MalformedError(ValueError):
    """A row whose content cannot be an entry: why, and where known in which field stands what."""

    def __init__(self, reason: str = "malformed", value: object = "") -> None:
        super().__init__(f"{reason}: {value!r}")
        self.reason, self.value, self.field = reason, str(value), ""


class TooLongError(ValueError):
    """A row with a text beyond the limits."""


class Uncalculated(str):
    """The empty text of a cell whose formula no spreadsheet program has calculated yet."""

    __slots__ = ()


class Collector:
    """Gathers entries and problems row by row."""

    def __init__(self, limits: Limits, *, answers_needed: bool = True, keep_duplicates: bool = False) -> None:
        self.limits = limits
        self._answers_needed, self._keep_duplicates = answers_needed, keep_duplicates
        self._entries: list[Entry] = []
        self._places: list[str] = []
        self._problems: list[Problem] = []
        self._ids: set[str] = set()
        self._fingerprints: set[str] = set()

    def add(self, place: str, record: Mapping[str, Any], called: Mapping[str, str] | None = None) -> None:
        """Take one record (field → value); what is wrong with it becomes a problem at `place`. `called` says where in
        the record's row a field stands.

        `uncalculated` in it says that a formula without a value stands where the question or the answer should.
        """
        question = ""
        try:
            question = _line(record.get("question") or record.get("title"))[:200]
            entry = build(record, self.limits)
        except MalformedError as error:
            where = (called or {}).get(error.field, error.field)
            shown = (
                error.value if len(error.value) <= SHOWN_CHARACTERS_MAX else error.value[:SHOWN_CHARACTERS_MAX] + "…"
            )
            return self.problem(place, error.reason, question, f"{where}：{shown}" if shown else where)
        except TooLongError:
            return self.problem(place, "too_long", question[:50])
        reason = self._refusal(entry)
        if reason in ("no_question", "no_answer") and record.get("uncalculated"):
            reason = "not_calculated"
        if reason is not None:
            return self.problem(place, reason, entry.question)
        self._ids.add(entry.id)
        self._fingerprints.add(fingerprint(entry.question, entry.answer))
        self._entries.append(entry)
        self._places.append(place)
        return None

    def problem(self, place: str, reason: str, question: str = "", detail: str = "") -> None:
        # What cannot be stored cannot be shown either: the row is named by its place alone.
        question, detail = (text if is_sound(text) else "" for text in (question, detail))
        self._problems.append(Problem(place, reason, question, detail))

    def result(self) -> ReadResult:
        return ReadResult(tuple(self._entries), tuple(self._places), (), tuple(self._problems))

    @property
    def is_full(self) -> bool:
        """Whether more rows than allowed have come."""
        return len(self._entries) + len(self._problems) >= self.limits.rows_max

    def _refusal(self, entry: Entry) -> str | None:
        if not entry.question:
            return "no_question"
        if self._answers_needed and not entry.answer and not entry.action:
            return "no_answer"
        if entry.id and entry.id in self._ids:
            return "duplicate_id"
        same = not entry.id and fingerprint(entry.question, entry.answer) in self._fingerprints
        return "duplicate" if same and not self._keep_duplicates else None


def build(record: Mapping[str, Any], limits: Limits) -> Entry:
    """The entry a record describes; `id` and `question` may be empty. Raises MalformedError or TooLongError."""

    def take(field: str, read: Callable[[Any], _T]) -> _T:
        try:
            return read(record.get(field))
        except MalformedError as error:
            error.field = field
            raise

    question = take("question", _line) or take("title", _line)
    similar = take("similar_questions", _lines)
    negative = take("negative_questions", _lines)
    entry = Entry(
        id=take("id", _line),
        question=question,
        answer=take("answer", _text),
        similar_questions=tuple(dict.fromkeys(text for text in similar if text != question)),
        negative_questions=tuple(dict.fromkeys(negative)),
        category=take("category", _line) or None,
        tags=tuple(dict.fromkeys(take("tags", _lines))),
        enabled=take("enabled", _flag) is not False and not take("disabled", _flag),
        action=take("action", _line) or None,
        valid_from=take("valid_from", _date),
        valid_until=take("valid_until", _date),
        channels=tuple(dict.fromkeys(take("channels", _lines))),
    )
    _check(entry, limits)
    return entry


def _check(entry: Entry, limits: Limits) -> None:
    lines = (*entry.phrasings, *entry.negative_questions)
    labels = (*entry.tags, *entry.channels, entry.category or "", entry.action or "")
    if entry.valid_from and entry.valid_until and entry.valid_until < entry.valid_from:
        error = MalformedError("dates_reversed", f"{entry.valid_until} < {entry.valid_from}")
        error.field = "valid_until"
        raise error
    if not all(is_sound(text) for text in (*lines, *labels, entry.answer, entry.id)):
        raise MalformedError
    too_long = (
        max(map(len, lines)) > limits.question_characters_max
        or len(entry.answer) > limits.answer_characters_max
        or max(map(len, labels)) > limits.label_characters_max
        or len(entry.id) > limits.id_characters_max
        or len(lines) > limits.phrasings_max
    )
    if too_long:
        raise TooLongError


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return "\n\n".join(part for part in map(_text, value) if part)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise MalformedError(value=value)


def _line(value: Any) -> str:
    if isinstance(value, list | tuple):
        raise MalformedError(value=value)
    return clean_line(text) if (text := _text(value)) else ""


def _lines(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise MalformedError(value=value)
    return [line for line in map(_line, value) if line]


def _date(value: Any) -> date | None:
    text = _line(value)
    if not text:
        return None
    found = _DATE.fullmatch(text)
    if not found:
        raise MalformedError("bad_date", text)
    try:
        return date(*map(int, found.groups()))
    except ValueError as error:
        raise MalformedError("bad_date", text) from error


def _flag(value: Any) -> bool | None:
    """What is said, None where nothing is."""
    if isinstance(value, bool) or value is None:
        return value
    word = _text(value).strip().lower()
    if word and word not in _YES | _NO:
        raise MalformedError("bad_flag", word)
    return word in _YES if word else None
