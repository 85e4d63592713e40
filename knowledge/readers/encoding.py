"""Bytes → text in the encoding they were written in, or a clear refusal; never silently wrong characters."""

import codecs
from collections.abc import Iterator

from knowledge.errors import ReadError

SAMPLE_CHARACTERS = 20_000
# Share of the non-ASCII characters that must be everyday ones for a guess to be believed. Chinese text lies above 0.95,
# text read in a wrong double-byte encoding below 0.6.
PLAUSIBLE_SHARE = 0.75
DAMAGED_SHARE_MAX = 0.01
KOREAN_CHARACTERS_MIN = 12


def decode(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, UTF-16 or UTF-32 with a byte order mark, UTF-16 without one, GB18030 or Big5.

    A UTF-8 file with few broken bytes keeps U+FFFD in their places, so that the rows around them survive. Raises
    ReadError (`binary`, `encoding`).
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], encoding, name)
    if b"\x00" in data[:65536]:
        return _utf16_without_mark(data, name)
    try:
        return _refuse_binary(data.decode("utf-8"), name)
    except UnicodeDecodeError:
        pass
    guesses = sorted(_guesses(data), reverse=True)
    if guesses and guesses[0][0] >= PLAUSIBLE_SHARE:
        return _refuse_binary(guesses[0][1], name)
    mended = data.decode("utf-8", "replace")
    others = sum(character > "\x7f" for character in mended)
    if 0 < mended.count("\ufffd") <= max(1, others * DAMAGED_SHARE_MAX):
        return _refuse_binary(mended, name)
    _refuse_binary(data.decode("latin-1"), name)
    raise ReadError(
        "encoding",
        f"看不出文件「{name}」的文字编码，请另存为 UTF-8 后再导入。",
        f"The text encoding of {name} cannot be told; save it as UTF-8 and import it again.",
    )


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _strict(data: bytes, encoding: str, name: str) -> str:
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > max(1, len(text) * DAMAGED_SHARE_MAX):
        raise _binary(name)
    return _refuse_binary(text, name)


def _utf16_without_mark(data: bytes, name: str) -> str:
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if (
            "\x00" not in text
            and ("\n" in text or len(text) < 200)
            and _everyday_share(text, "gb2312") >= PLAUSIBLE_SHARE
        ):
            return _refuse_binary(text, name)
    raise _binary(name)


def _guesses(data: bytes) -> Iterator[tuple[float, str]]:
    for encoding, everyday in (("gb18030", "gb2312"), ("big5", "big5")):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        yield _everyday_share(text, everyday), text
    yield from _korean(data)


def _korean(data: bytes) -> Iterator[tuple[float, str]]:
    """A guess above every other where EUC-KR gives Hangul throughout: read as GB18030, Korean looks like everyday
    Chinese, while Chinese read as EUC-KR is a mixture of Hangul and Hanja."""
    try:
        text = data.decode("euc_kr")
    except UnicodeDecodeError:
        return
    others = [character for character in text[:SAMPLE_CHARACTERS] if character > "\x7f"]
    hangul = sum("가" <= character <= "힣" for character in others)
    if len(others) >= KOREAN_CHARACTERS_MIN and hangul >= 0.95 * len(others):
        yield 2.0, text


def _everyday_share(text: str, standard: str) -> float:
    """Share of the non-ASCII characters that are marks or belong to the frequent half of a character standard."""
    others = [character for character in text[:SAMPLE_CHARACTERS] if character > "\x7f"]
    if not others:
        return 1.0
    return sum(_is_everyday(character, standard) for character in others) / len(others)


def _is_everyday(character: str, standard: str) -> bool:
    try:
        code = character.encode(standard)
    except UnicodeEncodeError:
        return False
    if len(code) != 2:
        return False
    # Level 1 of GB 2312 is rows 16 to 55, of Big5 A440 to C67E; rows 1 to 3 of both hold marks, letters and digits.
    first = code[0]
    return first in (0xA1, 0xA3) or (0xB0 <= first <= 0xD7 if standard == "gb2312" else 0xA4 <= first <= 0xC6)


def _refuse_binary(text: str, name: str) -> str:
    sample = text[:SAMPLE_CHARACTERS]
    controls = sum(character < " " and character not in "\t\n\r\x0b\x0c\x1a\x1b" for character in sample)
    if controls > max(2, len(sample) // 500):
        raise _binary(name)
    return text.removeprefix("\ufeff")


def _binary(name: str) -> ReadError:
    return ReadError(
        "binary",
        f"文件「{name}」不是文本，也不是认识的表格或文档。",
        f"{name} is neither text nor a table or document of a known kind.",
    )
