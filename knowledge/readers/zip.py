"""A zip file of documents: every member read on its own, every place named with it."""

from collections.abc import Callable
from dataclasses import replace

from knowledge.errors import ReadError
from knowledge.readers.archive import Archive, member_name
from knowledge.readers.limits import Limits
from knowledge.text import fingerprint
from knowledge.types import Entry, Passage, Problem, ReadResult

NESTING_MAX = 2
_HIDDEN = ("__MACOSX/", ".")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp", ".ico", ".css", ".js", ".woff", ".woff2", ".ttf")


def read_members(
    archive: Archive, name: str, limits: Limits, depth: int, read_one: Callable[[bytes, str], ReadResult]
) -> ReadResult:
    """What the members hold together. A member that cannot be read is a problem that names it. Raises ReadError where
    zip files nest too deeply or none of the members can be read for its password."""
    if depth > NESTING_MAX:
        raise ReadError(
            "nested",
            f"文件「{name}」里的压缩包嵌套超过 {NESTING_MAX} 层，请解压后再导入。",
            f"Zip files nest more than {NESTING_MAX} deep in {name}; unpack them first.",
        )
    gathered = _Gathered(limits)
    for member in archive.members:
        called = member_name(member)
        base = called.rsplit("/", 1)[-1]
        if called.startswith(_HIDDEN[0]) or base.startswith(_HIDDEN[1]) or base.lower().endswith(_PICTURES):
            continue
        if member.file_size > limits.bytes_max:
            gathered.problems.append(Problem(called, "too_large"))
            continue
        if gathered.is_full:
            gathered.problems.append(Problem(called, "too_many"))
            break
        try:
            gathered.take(called, read_one(archive.read(member), base))
        except ReadError as error:
            if error.code == "encrypted" and member.flag_bits & 1:
                raise
            gathered.problems.append(Problem(called, error.code))
    return gathered.result()


class _Gathered:
    """The results of the members, an entry that two of them hold taken once."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: list[Entry] = []
        self._places: list[str] = []
        self._passages: list[Passage] = []
        self.problems: list[Problem] = []
        self._ids: set[str] = set()
        self._fingerprints: set[str] = set()

    @property
    def is_full(self) -> bool:
        return len(self._entries) + len(self._passages) + len(self.problems) >= self._limits.rows_max

    def take(self, member: str, found: ReadResult) -> None:
        for place, entry in zip(found.places, found.entries, strict=True):
            reason = self._repeated(entry)
            if reason:
                self.problems.append(Problem(f"{member} {place}", reason, entry.question))
                continue
            self._ids.add(entry.id)
            self._fingerprints.add(fingerprint(entry.question, entry.answer))
            self._entries.append(entry)
            self._places.append(f"{member} {place}")
        for passage in found.passages:
            self._passages.append(replace(passage, position=len(self._passages)))
        self.problems.extend(replace(problem, place=f"{member} {problem.place}".strip()) for problem in found.problems)

    def _repeated(self, entry: Entry) -> str:
        if entry.id:
            return "duplicate_id" if entry.id in self._ids else ""
        return "duplicate" if fingerprint(entry.question, entry.answer) in self._fingerprints else ""

    def result(self) -> ReadResult:
        return ReadResult(tuple(self._entries), tuple(self._places), tuple(self._passages), tuple(self.problems))
