"""What can go wrong in this package, each in one Chinese sentence (`str`), one English one (`.en`) and a code."""


class KnowledgeError(Exception):
    """The base of all errors of this package."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(zh)
        self.code, self.zh, self.en = code, zh, en

    def __reduce__(self) -> tuple[type["KnowledgeError"], tuple[str, str, str]]:
        return type(self), (self.code, self.zh, self.en)


class ReadError(KnowledgeError):
    """A whole file cannot be read. Codes: empty, binary, too_large, nested, encoding, encrypted, malformed,
    unsupported, no_columns…"""


class WriteError(KnowledgeError):
    """An export cannot be written."""


class EncoderError(KnowledgeError):
    """A folder is no usable encoder, or an adapter does not fit it."""


class RerankerError(KnowledgeError):
    """A folder is no usable reranker."""


class SnapshotError(KnowledgeError):
    """The index on disk cannot be written. The one written before stays as it was."""
