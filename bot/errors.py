"""The error tree: status, code and a text in two languages that is safe to show to anyone."""

from typing import Any

from bot.language import Language


class KefuError(Exception):
    """Something that went wrong in a way we can say in one sentence. `str(error)` is the Chinese sentence.

    `status` is the HTTP status it leaves with; `details` is JSON for programs.
    """

    status = 500

    def __init__(self, code: str, zh: str, en: str, details: Any = None) -> None:
        super().__init__(zh)
        self.code = code
        self.zh = zh
        self.en = en
        self.details = details

    def text(self, language: Language) -> str:
        """The sentence in the language asked for."""
        return self.en if language == "en" else self.zh


class ConfigError(KefuError):
    """A setting is unknown or has a value that cannot be."""


class StorageError(KefuError):
    """The database or a file of the data folder cannot be used."""


class DiskFullError(StorageError):
    """There is no room for what should be written; what was there before is untouched."""

    status = 507

    def __init__(self) -> None:
        super().__init__(
            "disk_full",
            "磁盘已满或不能写入，这次的改动没有保存，原有数据不受影响；请腾出空间后重试",
            "The disk is full or cannot be written: this change is not saved, what was there before is untouched. "
            "Free some space and try again",
        )


class InvalidError(KefuError):
    """The request says something that cannot be done as said."""

    status = 400


class QuestionTooLongError(InvalidError):
    """A message of more characters than the setting `question_characters_max` allows: nobody looks for its answer."""

    def __init__(self, characters: int, characters_max: int) -> None:
        super().__init__(
            "question_too_long",
            f"您的消息有 {characters} 个字，超过了 {characters_max} 个字的上限。请把问题说得简短一些，或分几次发给我。",
            f"Your message has {characters} characters; at most {characters_max} are possible. "
            "Please shorten it or send it in parts.",
            {"characters_max": characters_max},
        )


class UnauthorizedError(KefuError):
    """Nobody is signed in, or the key or token is not valid."""

    status = 401

    def __init__(
        self,
        code: str = "unauthorized",
        zh: str = "请先登录，或提供有效的密钥",
        en: str = "Sign in first, or send a valid key",
    ) -> None:
        super().__init__(code, zh, en)


class ForbiddenError(KefuError):
    """Known, and not allowed to."""

    status = 403


class NotFoundError(KefuError):
    """There is no such thing (or it is not the caller's to see)."""

    status = 404


class ConflictError(KefuError):
    """It moved since the caller looked."""

    status = 409


class TooLargeError(KefuError):
    """More bytes or characters than the settings allow."""

    status = 413


class TooManyRequestsError(KefuError):
    """Over a rate limit; `retry_after_seconds` goes into `Retry-After`."""

    status = 429

    def __init__(self, retry_after_seconds: float) -> None:
        seconds = max(1, round(retry_after_seconds + 0.5))
        super().__init__(
            "too_many_requests",
            f"请求太频繁，请 {seconds} 秒后再试",
            f"Too many requests; try again in {seconds} seconds",
            {"retry_after_seconds": seconds},
        )
        self.retry_after_seconds = seconds


class UnavailableError(KefuError):
    """Not ready yet, or switched off."""

    status = 503


class StoppingError(UnavailableError):
    """Raised inside long work to end it where it is, because the service stops."""

    def __init__(self) -> None:
        super().__init__("stopping", "服务正在停止，请稍候再试", "The service is stopping; try again in a moment")


def sentence(error: BaseException, language: Language) -> str:
    """One sentence for any error: the leaves' carry `zh` and `en` as ours do; a stranger shows its type alone."""
    text = getattr(error, "en" if language == "en" else "zh", None)
    if isinstance(text, str) and text:
        return text
    kind = type(error).__name__
    return f"Internal error ({kind})" if language == "en" else f"内部错误（{kind}）"
