"""What can be wrong with a message from outside."""


class ConnectorError(Exception):
    """A message that cannot be taken. `zh` and `en` are sentences that are safe to show; `status` is HTTP's."""

    def __init__(self, code: str, zh: str, en: str, *, status: int = 400, field: str | None = None) -> None:
        super().__init__(zh)
        self.code = code
        self.zh = zh
        self.en = en
        self.status = status
        self.field = field
