"""The kinds of channels: what each is called, which parameters it takes, and where its code lies."""

import difflib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connectors.errors import ConnectorError

if TYPE_CHECKING:
    from connectors.channel import Channel, Service

COMMON = ("kind", "name")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kind. `choices` are all its values, the first one the default where it is not `required`."""

    name: str
    zh: str
    en: str
    secret: bool = False
    required: bool = True
    choices: tuple[str, ...] = ()
    url: bool = False
    pattern: str = ""
    expects: tuple[str, str] = ("文字", "text")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of channel. `made_by` is `module:class`; "" for the kinds that are served without an outbox."""

    kind: str
    zh: str
    en: str
    made_by: str
    parameters: tuple[Parameter, ...]


def _secret(name: str, zh: str, en: str, **more: Any) -> Parameter:
    return Parameter(name, zh, en, secret=True, **more)


API_BASE = Parameter("api_base", "平台接口地址（代理或测试用）", "the platform's API address", required=False, url=True)
AES_KEY = {
    "pattern": r"[A-Za-z0-9+/]{43}",
    "expects": ("43 个字母和数字", "43 letters and digits"),
}
TOKEN = _secret("token", "Token（令牌）", "Token")

KINDS: dict[str, Kind] = {
    one.kind: one
    for one in (
        Kind("rest", "Rasa REST", "Rasa REST", "", (_secret("token", "令牌", "token", required=False),)),
        Kind(
            "wechat",
            "微信公众号",
            "WeChat Official Account",
            "connectors.wechat.channel:WeChatChannel",
            (
                Parameter("app_id", "开发者ID（AppID）", "AppID"),
                _secret("app_secret", "开发者密码（AppSecret）", "AppSecret"),
                TOKEN,
                _secret("encoding_aes_key", "消息加解密密钥", "EncodingAESKey", required=False, **AES_KEY),
            ),
        ),
        Kind(
            "wecom",
            "企业微信应用",
            "WeCom application",
            "connectors.wecom.channel:WeComChannel",
            (
                Parameter("corp_id", "企业ID（CorpID）", "CorpID"),
                Parameter("agent_id", "应用的 AgentId", "the application's AgentId"),
                _secret("secret", "应用的 Secret", "the application's Secret"),
                TOKEN,
                _secret("encoding_aes_key", "EncodingAESKey", "EncodingAESKey", **AES_KEY),
            ),
        ),
        Kind(
            "wecom_kf",
            "微信客服",
            "WeChat customer service (WeCom)",
            "connectors.wecom.kf:WeComKfChannel",
            (
                Parameter("corp_id", "企业ID（CorpID）", "CorpID"),
                _secret("secret", "微信客服的 Secret", "the Secret of WeChat customer service"),
                TOKEN,
                _secret("encoding_aes_key", "EncodingAESKey", "EncodingAESKey", **AES_KEY),
            ),
        ),
        Kind(
            "wecom_bot",
            "企业微信智能机器人",
            "WeCom bot",
            "connectors.wecom.bot:WeComBotChannel",
            (TOKEN, _secret("encoding_aes_key", "EncodingAESKey", "EncodingAESKey", **AES_KEY)),
        ),
        Kind(
            "dingtalk",
            "钉钉机器人",
            "DingTalk robot",
            "connectors.dingtalk.channel:DingTalkChannel",
            (
                Parameter("client_id", "Client ID（原 AppKey）", "Client ID"),
                _secret("client_secret", "Client Secret（原 AppSecret）", "Client Secret"),
                Parameter("mode", "接收方式", "how messages come", required=False, choices=("http", "stream")),
            ),
        ),
        Kind(
            "feishu",
            "飞书机器人",
            "Feishu or Lark bot",
            "connectors.feishu.channel:FeishuChannel",
            (
                Parameter("app_id", "App ID", "App ID"),
                _secret("app_secret", "App Secret", "App Secret"),
                _secret("encrypt_key", "Encrypt Key", "Encrypt Key", required=False),
                _secret("verification_token", "Verification Token", "Verification Token"),
            ),
        ),
        Kind(
            "telegram",
            "Telegram 机器人",
            "Telegram bot",
            "connectors.telegram.channel:TelegramChannel",
            (
                _secret("bot_token", "机器人令牌", "the bot's token"),
                _secret("secret_token", "webhook 校验令牌（webhook 模式必填）", "secret token", required=False),
                Parameter("mode", "接收方式", "how updates come", required=False, choices=("webhook", "polling")),
            ),
        ),
        Kind(
            "chatwoot",
            "Chatwoot 机器人",
            "Chatwoot agent bot",
            "connectors.chatwoot.channel:ChatwootChannel",
            (
                Parameter("base_url", "Chatwoot 的地址", "Chatwoot's address", url=True),
                Parameter(
                    "account_id", "账号编号", "the account's number", pattern=r"\d+", expects=("数字", "a number")
                ),
                _secret("api_access_token", "机器人的访问令牌", "the bot's access token"),
                _secret("webhook_secret", "webhook 签名密钥", "webhook secret", required=False),
            ),
        ),
        Kind(
            "callback",
            "Rasa 回调渠道",
            "Rasa callback channel",
            "connectors.rasa.callback:CallbackChannel",
            (
                _secret("token", "令牌", "token", required=False),
                Parameter("url", "回复送到的地址", "where replies are delivered", url=True),
            ),
        ),
        Kind(
            "socketio",
            "Rasa Socket.IO",
            "Rasa Socket.IO",
            "connectors.rasa.socketio:SocketIOChannel",
            (_secret("token", "令牌", "token", required=False),),
        ),
        Kind(
            "webhook",
            "通用 Webhook（Standard Webhooks）",
            "generic webhook (Standard Webhooks)",
            "connectors.webhook.channel:WebhookChannel",
            (
                _secret(
                    "secret",
                    "签名密钥",
                    "signing secret",
                    pattern=r"(whsec_)?[A-Za-z0-9+/]{2,}={0,2}",
                    expects=("Base64（可带 whsec_ 前缀）", "base64, with or without whsec_"),
                ),
                Parameter("url", "回复送到的地址", "where replies are delivered", url=True),
            ),
        ),
    )
}


def validate(table: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a `[[channels]]` table with defaults filled in.

    Raises:
        ConnectorError: the kind or a parameter does not exist, one is missing, or a value is not what it takes. `field`
            names the parameter. Values of secrets are never repeated.
    """
    kind, name = str(table.get("kind", "")), str(table.get("name", table.get("kind", "")))
    known = KINDS.get(kind)
    if known is None:
        raise _wrong(
            "kind", f"不支持渠道类型 {kind!r}，目前有：{', '.join(KINDS)}",
            f"the kind {kind!r} is not supported; there are: {', '.join(KINDS)}",
        )  # fmt: skip
    where = f"{kind}/{name}"
    parameters = {one.name: one for one in (*known.parameters, API_BASE)}
    for given in table:
        if given not in parameters and given not in COMMON:
            near = difflib.get_close_matches(given, parameters, 1)
            raise _wrong(
                given,
                f"{where} 没有参数 {given}" + (f"，是否想写 {near[0]}？" if near else ""),
                f"{where} has no parameter {given}" + (f"; did you mean {near[0]}?" if near else ""),
            )
    return {one.name: _value(where, one, table.get(one.name)) for one in parameters.values()}


def _value(where: str, parameter: Parameter, value: Any) -> Any:
    name = parameter.name
    if value is None or value == "":
        if parameter.required:
            raise _wrong(name, f"{where} 缺少参数 {name}（{parameter.zh}）", f"{where} lacks {name} ({parameter.en})")
        return parameter.choices[0] if parameter.choices else None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # an agent or account id is written without quotes as often as with them
    shown = "" if parameter.secret or not isinstance(value, str) else f"，而不是 {value!r}"
    shown_en = "" if parameter.secret or not isinstance(value, str) else f", not {value!r}"
    zh, en = parameter.expects
    if parameter.choices:
        zh = en = " | ".join(parameter.choices)
    if parameter.url:
        zh, en = "http 或 https 地址", "an http or https address"
    right = isinstance(value, str) and (
        (not parameter.choices or value in parameter.choices)
        and (not parameter.url or _is_url(value))
        and (not parameter.pattern or re.fullmatch(parameter.pattern, value) is not None)
    )
    if not right:
        raise _wrong(name, f"{where} 的 {name} 必须是{zh}{shown}", f"{name} of {where} must be {en}{shown_en}")
    return value


def make(table: Mapping[str, Any], service: "Service") -> "Channel":
    """The channel of a `[[channels]]` table. Raises ConnectorError, see `validate`."""
    parameters = validate(table)
    kind = KINDS[str(table["kind"])]
    module, _, name = kind.made_by.partition(":")
    made: Channel = getattr(importlib.import_module(module), name)(str(table["name"]), parameters, service)
    return made


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _wrong(field: str, zh: str, en: str) -> ConnectorError:
    return ConnectorError("channel", f"channels：{zh}", f"channels: {en}", field=field)
