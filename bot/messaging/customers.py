"""What a customer is called where the staff see them: by name where the platform says it, never by a long id."""

from bot.language import Language
from bot.storage.conversations import Conversation

ID_CHARACTERS_MAX = 12
TAIL_CHARACTERS = 4
# As people call the places, by the kind of channel.
PLACES = {
    "wechat": ("公众号", "WeChat"),
    "wecom": ("企业微信", "WeCom"),
    "wecom_kf": ("微信客服", "WeChat service"),
    "wecom_bot": ("企业微信", "WeCom"),
    "dingtalk": ("钉钉", "DingTalk"),
    "feishu": ("飞书", "Feishu"),
    "telegram": ("Telegram", "Telegram"),
    "chatwoot": ("Chatwoot", "Chatwoot"),
    "callback": ("Rasa", "Rasa"),
    "socketio": ("Rasa", "Rasa"),
    "webhook": ("Webhook", "webhook"),
    "openai": ("接口", "API"),
    "rest": ("接口", "API"),
}


def customer_of(conversation: Conversation, language: Language) -> str:
    """「小李（公众号）」, 「公众号客户 3f9a」 where no name is known, 「网页访客 3f9a」 on the page."""
    english = language == "en"
    kind = conversation.account.partition(":")[0] or conversation.channel
    if kind == "web":
        return f"{'Visitor' if english else '网页访客'} {conversation.id[-TAIL_CHARACTERS:]}"
    place = PLACES.get(kind, (kind, kind))[english]
    group = (", group" if english else "，群聊") if conversation.group else ""
    if conversation.nickname:
        name = conversation.nickname
        return f"{name} ({place}{group})" if english else f"{name}（{place}{group}）"
    user = conversation.user
    short = user if len(user) <= ID_CHARACTERS_MAX else user[-TAIL_CHARACTERS:]
    return f"{place}{group} customer {short}" if english else f"{place}{group}客户 {short}"


def nickname(given: str) -> str:
    """A name that a platform gave, in one line of what can be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in given).split())[:64]
