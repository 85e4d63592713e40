"""Every channel that the shared suite runs with."""

from tests.connectors.cases.base import Case, Sent
from tests.connectors.cases.others import Chatwoot, Telegram, TelegramPolling, Webhook
from tests.connectors.cases.tencent import Kf, WeChat, WeChatSafe, WeCom, WeComBot
from tests.connectors.cases.workplace import (
    DingTalk,
    DingTalkCards,
    DingTalkStream,
    Feishu,
    FeishuLongConnection,
    FeishuPlain,
)

CASES: list[type[Case]] = [
    Webhook, WeChat, WeChatSafe, WeCom, Kf, WeComBot, DingTalk, DingTalkStream, DingTalkCards, Feishu, FeishuPlain,
    FeishuLongConnection, Telegram, TelegramPolling, Chatwoot,
]  # fmt: skip

__all__ = [
    "CASES", "Case", "Chatwoot", "DingTalk", "DingTalkCards", "DingTalkStream", "Feishu", "FeishuLongConnection",
    "FeishuPlain", "Kf", "Sent", "Telegram", "TelegramPolling", "WeChat", "WeChatSafe", "WeCom", "WeComBot", "Webhook",
]  # fmt: skip
