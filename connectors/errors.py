"""What can be wrong with a message from outside, and with one that goes out."""

from typing import Literal

# What to do with a message that could not be delivered: try again, give it up for a person to see, keep it until the
# customer writes again, or forget it because somebody else has the conversation.
Outcome = Literal["retry", "dead", "held", "dropped"]


class ConnectorError(Exception):
    """A message that cannot be taken. `zh` and `en` are sentences that are safe to show; `status` is HTTP's."""

    def __init__(self, code: str, zh: str, en: str, *, status: int = 400, field: str | None = None) -> None:
        super().__init__(zh)
        self.code = code
        self.zh = zh
        self.en = en
        self.status = status
        self.field = field


class DeliveryError(ConnectorError):
    """A call to a platform that did not do what it should.

    `retry_after` (seconds) is the platform's own word; with `whole_channel` it holds for everything of the channel.
    `uncertain` is true where the platform may have done it all the same.
    """

    def __init__(
        self,
        code: str,
        zh: str,
        en: str,
        *,
        outcome: Outcome = "retry",
        retry_after: float | None = None,
        whole_channel: bool = False,
        uncertain: bool = False,
    ) -> None:
        super().__init__(code, zh, en, status=502)
        self.outcome: Outcome = outcome
        self.retry_after = retry_after
        self.whole_channel = whole_channel
        self.uncertain = uncertain


def refused(status: int = 403) -> ConnectorError:
    """A callback that does not prove where it comes from. What was wrong is not said: it would help to guess."""
    return ConnectorError(
        "bad_signature",
        "签名不对：请核对两边的密钥和时钟",
        "The signature is not right: compare both sides' secret and clock",
        status=status,
    )
