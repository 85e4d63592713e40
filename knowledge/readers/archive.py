"""Zip files opened with care: ZIP itself and the Office formats that are one."""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from knowledge.errors import ReadError
from knowledge.readers.limits import Limits

# A member that packs better than this, and is large, was made to swell. Deflate's own bound is about 1030.
RATIO_MAX = 500
RATIO_BYTES_MIN = 20 * 1024 * 1024
_XML_HEAD_BYTES = 65536
_UTF8_NAME = 0x800  # APPNOTE.TXT 4.4.4, bit 11
# In no name that a person gives; in names that were Chinese before a program took them for code page 437 (it may have
# written them as UTF-8 then, and said so).
_BOXES = re.compile("[\u2500-\u259f]")
# The strict form of Office files (ISO/IEC 29500-1, annex A) differs in the names of its namespaces.
_STRICT = (
    (
        b"http://purl.oclc.org/ooxml/wordprocessingml/main",
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    ),
    (
        b"http://purl.oclc.org/ooxml/officeDocument/relationships",
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    ),
)


class Archive:
    """The members of a zip file whose sizes were checked before anything was unpacked.

    Raises ReadError: `malformed` (damaged), `too_large` (too many members or bytes), `encrypted`.
    """

    def __init__(self, data: bytes, name: str, limits: Limits) -> None:
        self.name = name
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            # One without a name cannot be asked whether it is a folder (and no program writes it).
            self.members = [one for one in self._zip.infolist() if one.filename and not one.is_dir()]
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError) as error:
            raise damaged(name) from error
        self._check(limits)
        self.names = {member.filename for member in self.members}

    def _check(self, limits: Limits) -> None:
        unpacked = sum(member.file_size for member in self.members)
        swollen = any(
            member.file_size > RATIO_BYTES_MIN and member.file_size > RATIO_MAX * max(member.compress_size, 1)
            for member in self.members
        )
        if unpacked > limits.unpacked_bytes_max or len(self.members) > limits.archive_members_max or swollen:
            raise ReadError(
                "too_large",
                f"文件「{self.name}」解压后有 {len(self.members)} 个文件、{unpacked} 字节，超过上限 "
                f"{limits.archive_members_max} 个、{limits.unpacked_bytes_max} 字节，或压缩比异常。",
                f"{self.name} unpacks to {len(self.members)} files of {unpacked} bytes, more than the limits of "
                f"{limits.archive_members_max} and {limits.unpacked_bytes_max}, or packs suspiciously well.",
            )

    def read(self, member: str | zipfile.ZipInfo) -> bytes:
        """A member's bytes. `file_size` bounds them, whatever the packed data would swell to."""
        info = self._zip.getinfo(member) if isinstance(member, str) else member
        if info.flag_bits & 1:
            raise encrypted(self.name)
        return b"".join(self._pieces(info))

    def _pieces(self, info: zipfile.ZipInfo, bytes_max: int = 8 * 1024 * 1024) -> Iterator[bytes]:
        """A member piece by piece."""
        try:
            with self._zip.open(info) as file:
                while piece := file.read(bytes_max):
                    yield piece
        except MemoryError:
            raise
        except Exception as error:  # zlib.error, lzma.LZMAError, …: each packing has its own
            raise damaged(self.name) from error

    def pieces(self, member: str) -> Iterator[bytes]:
        """A member's bytes piece by piece."""
        return self._pieces(self._zip.getinfo(member))

    def tail(self, member: str, bytes_max: int = 8 * 1024 * 1024) -> bytes:
        """The last bytes of a member, read through in pieces."""
        kept = b""
        for piece in self.pieces(member):
            kept = (kept + piece)[-bytes_max:]
        return kept

    def xml(self, member: str) -> Any:
        """The root of an XML member (an lxml element), or None where there is no such member. Raises ReadError for
        XML that is broken or declares entities: no Office program writes any."""
        if member not in self.names:
            return None
        from lxml import etree

        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        data = self.read(member)
        refuse_entities(data, self.name)
        for strict, transitional in _STRICT:
            data = data.replace(strict, transitional)
        try:
            return etree.fromstring(data, parser)
        except etree.XMLSyntaxError as error:
            raise damaged(self.name) from error

    def refuse_entities(self) -> None:
        """Raise ReadError where an XML member declares a document type."""
        for member in self.members:
            if member.filename.lower().endswith((".xml", ".rels")):
                refuse_entities(next(self._pieces(member, _XML_HEAD_BYTES), b""), self.name)


def refuse_entities(data: bytes, name: str) -> None:
    """Raise ReadError where XML declares a document type, the door to entities that swell or reach outside."""
    head = data[:_XML_HEAD_BYTES].replace(b"\x00", b"").lower()
    if b"<!doctype" in head or b"<!entity" in head:
        raise ReadError(
            "malformed",
            f"文件「{name}」含有 XML 实体声明，正常的 Office 文件不会有，已拒绝读取。",
            f"{name} declares XML entities, which no Office program writes; it was refused.",
        )


def member_name(member: zipfile.ZipInfo) -> str:
    """A member's name as its maker saw it, whether or not the file says how it is encoded."""
    name = member.filename
    if not member.flag_bits & _UTF8_NAME or _BOXES.search(name):
        with suppress(UnicodeEncodeError):
            # Python takes what is not said to be UTF-8 for code page 437: these are the bytes that it read.
            name = _decoded(name.encode("cp437"))
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    return "".join(character for character in "/".join(parts) if character.isprintable())[:200] or "?"


def _decoded(raw: bytes) -> str:
    """macOS and Linux write UTF-8, Chinese Windows GB18030. Two bytes may be either, 模 or ģ: here they are 模."""
    readings = []
    for encoding in ("utf-8", "gb18030"):
        try:
            readings.append(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" and (readings[0].isascii() or max(readings[0]) >= "\u0800"):
            break
    return readings[-1] if readings else raw.decode("cp437")


def encrypted(name: str) -> ReadError:
    """The refusal of a file with a password."""
    return ReadError(
        "encrypted",
        f"文件「{name}」设有密码，请去掉密码后再导入。",
        f"{name} is protected by a password; remove it and import the file again.",
    )


def damaged(name: str, kind: str = "") -> ReadError:
    """The refusal of a file that is cut off or broken; what the library says of it helps nobody who has the file."""
    return ReadError(
        "malformed",
        f"文件「{name}」不完整或已损坏，不是完好的{f' {kind} ' if kind else ''}文件。"
        "请重新下载，或用原来的程序打开后另存，再导入。",
        f"{name} is incomplete or damaged and no sound{f' {kind}' if kind else ''} file. "
        "Download it again, or open it in its own program and save it anew.",
    )
