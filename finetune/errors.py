"""What can go wrong in this package, each in one Chinese sentence (`str`), one English one (`.en`) and a code."""

from pathlib import Path


class FinetuneError(Exception):
    """The base of all errors of this package."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(zh)
        self.code, self.zh, self.en = code, zh, en


class ModelError(FinetuneError):
    """A base model is unknown, cannot be fetched, converted or loaded."""


class DamagedFileError(ModelError):
    """A file is not what its checksum or its format says: shortened, altered, malformed or missing."""

    @classmethod
    def size(cls, file: Path | str, expected_bytes: int, found_bytes: int) -> "DamagedFileError":
        return cls(
            "file_truncated",
            f"文件 {file} 大小不对：应为 {expected_bytes} 字节，实际 {found_bytes} 字节。",
            f"{file} has the wrong size: expected {expected_bytes} bytes, found {found_bytes}.",
        )

    @classmethod
    def checksum(cls, file: Path | str, expected: str, found: str) -> "DamagedFileError":
        return cls(
            "checksum_mismatch",
            f"文件 {file} 校验失败：SHA-256 应为 {expected}，实际为 {found}。",
            f"{file} fails its check: expected SHA-256 {expected}, found {found}.",
        )

    @classmethod
    def missing(cls, file: Path | str) -> "DamagedFileError":
        return cls("file_missing", f"缺少文件 {file}。", f"{file} is missing.")

    @classmethod
    def form(cls, file: Path | str, zh: str, en: str) -> "DamagedFileError":
        return cls("file_malformed", f"文件 {file} 无法读取：{zh}。", f"{file} cannot be read: {en}.")
