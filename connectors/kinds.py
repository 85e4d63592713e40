"""The kinds of channels: what each is called, which parameters it takes, and where a person finds their values."""

from dataclasses import dataclass
from typing import Any

COMMON = ("kind", "name")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kind.

    `choices` are all its values, the first one the default where it is not `required`. With `mode` it belongs to that
    value of the parameter "mode" alone. `where` says in Chinese and English where its value is found.
    """

    name: str
    zh: str
    en: str
    secret: bool = False
    required: bool = True
    choices: tuple[str, ...] = ()
    url: bool = False
    pattern: str = ""
    expects: tuple[str, str] = ("文字", "text")
    mode: str = ""
    where: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of channel. `made_by` is `module:class`; "" for the kinds that are served without an outbox.

    `paste` says where the callback address goes, in Chinese and English; empty where the platform is not told one, and
    of no use in the mode `opens`, in which Kefu opens the connection itself. `open_without` names the parameter
    without which anybody may use it.
    """

    kind: str
    zh: str
    en: str
    made_by: str
    parameters: tuple[Parameter, ...]
    paste: tuple[str, str] = ("", "")
    opens: str = ""
    open_without: str = ""


def _secret(name: str, zh: str, en: str, **more: Any) -> Parameter:
    return Parameter(name, zh, en, secret=True, **more)


API_BASE = Parameter(
    "api_base", "平台接口地址", "the platform's API address", required=False, url=True,
    where=("一般不填；代理、国际版或测试环境才需要", "usually empty; for a proxy, the international edition or a test"),
)  # fmt: skip
AES_FORM = {"pattern": r"[A-Za-z0-9+/]{43}", "expects": ("43 个字母和数字", "43 letters and digits")}


def _token(where: tuple[str, str], **more: Any) -> Parameter:
    return _secret("token", "Token（令牌）", "Token", where=where, **more)


def _aes_key(where: tuple[str, str], **more: Any) -> Parameter:
    return _secret(
        "encoding_aes_key", "EncodingAESKey（消息加解密密钥）", "EncodingAESKey", where=where, **AES_FORM, **more
    )


def _mode(*choices: str, where: tuple[str, str]) -> Parameter:
    return Parameter("mode", "接收方式", "how messages come", required=False, choices=choices, where=where)


CORP_ID = Parameter(
    "corp_id", "企业ID（CorpID）", "CorpID",
    where=("管理后台「我的企业 → 企业信息」最下面", "admin console, My company, Company information, at the bottom"),
)  # fmt: skip
RECEIVING = (
    "应用的「接收消息 → 设置 API 接收」里随机生成",
    "generated at Receive messages, Set API of the application",
)
OWN_WORD = ("自己想一个，双方写成一样", "make one up; both sides use the same")
SAME_PAGE = ("同一页", "the same page")
YOUR_PROGRAM = ("你的程序发消息的地址", "where your program sends messages")
REPLIES_URL = Parameter(
    "url", "回复送到的地址", "where replies are delivered", url=True,
    where=("你的程序收回复的地址", "where your program takes replies"),
)  # fmt: skip
RASA_TOKEN = _secret(
    "token", "令牌", "token", required=False,
    where=("自己想一个；不填则任何人都能发消息", "make one up; without it anybody can send messages"),
)  # fmt: skip

KINDS: dict[str, Kind] = {
    one.kind: one
    for one in (
        Kind(
            "rest",
            "Rasa REST",
            "Rasa REST",
            "",
            (_secret("token", "令牌", "token", required=False),),
            open_without="token",
        ),
        Kind(
            "wechat",
            "微信公众号",
            "WeChat Official Account",
            "connectors.wechat.channel:WeChatChannel",
            (
                Parameter(
                    "app_id",
                    "开发者ID（AppID）",
                    "AppID",
                    where=(
                        "公众平台「设置与开发 → 开发接口管理 → 基本配置」",
                        "Official Accounts platform, Basic configuration",
                    ),
                ),
                _secret(
                    "app_secret",
                    "开发者密码（AppSecret）",
                    "AppSecret",
                    where=("同一页；忘了只能重置", "the same page; a forgotten one can only be reset"),
                ),
                _token(
                    (
                        "自己想 3 到 32 个字母或数字，和「服务器配置」里的一样",
                        "make up 3 to 32 letters or digits, the same in Server configuration",
                    ),
                    pattern="[A-Za-z0-9]{3,32}",
                    expects=("3 到 32 个字母或数字（微信的规定）", "3 to 32 letters or digits, as WeChat wants it"),
                ),
                _aes_key(
                    (
                        "「服务器配置」里随机生成；选安全模式时必填",
                        "generated in Server configuration; needed in safe mode",
                    ),
                    required=False,
                ),
            ),
            paste=(
                "公众平台「基本配置 → 服务器配置 → 服务器地址(URL)」",
                "Basic configuration, Server configuration, URL",
            ),
        ),
        Kind(
            "wecom",
            "企业微信应用",
            "WeCom application",
            "connectors.wecom.channel:WeComChannel",
            (
                CORP_ID,
                Parameter(
                    "agent_id",
                    "应用的 AgentId",
                    "the application's AgentId",
                    where=("「应用管理 → 自建应用」的应用页面", "the application's page in App management"),
                ),
                _secret(
                    "secret",
                    "应用的 Secret",
                    "the application's Secret",
                    where=(
                        "同一页，点「查看」后在手机企业微信里看",
                        "the same page; it is shown in WeCom on the phone",
                    ),
                ),
                _token(RECEIVING),
                _aes_key(RECEIVING),
            ),
            paste=(
                "应用的「接收消息 → 设置 API 接收 → URL」；服务器 IP 要加进「企业可信IP」",
                "Receive messages, Set API, URL; add the server's address to the trusted IPs",
            ),
        ),
        Kind(
            "wecom_kf",
            "微信客服",
            "WeChat customer service (WeCom)",
            "connectors.wecom.kf:WeComKfChannel",
            (
                CORP_ID,
                _secret(
                    "secret",
                    "微信客服的 Secret",
                    "the Secret of WeChat customer service",
                    where=("「应用管理 → 微信客服 → API」", "App management, WeChat customer service, API"),
                ),
                _token(
                    ("「微信客服 → API → 回调配置」里随机生成", "generated at WeChat customer service, API, Callback")
                ),
                _aes_key(SAME_PAGE),
            ),
            paste=("「微信客服 → API → 回调配置 → URL」", "WeChat customer service, API, Callback, URL"),
        ),
        Kind(
            "wecom_bot",
            "企业微信智能机器人",
            "WeCom bot",
            "connectors.wecom.bot:WeComBotChannel",
            (
                _token(("创建机器人选「API 模式 → 短连接」，随机生成", "generated when the bot is made in API mode")),
                _aes_key(SAME_PAGE),
            ),
            paste=("智能机器人「API 模式」的 URL", "URL of the bot's API mode"),
        ),
        Kind(
            "dingtalk",
            "钉钉机器人",
            "DingTalk robot",
            "connectors.dingtalk.channel:DingTalkChannel",
            (
                Parameter(
                    "client_id",
                    "Client ID（原 AppKey）",
                    "Client ID",
                    where=("开发者后台，应用的「凭证与基础信息」", "developer console, Credentials of the application"),
                ),
                _secret("client_secret", "Client Secret（原 AppSecret）", "Client Secret", where=SAME_PAGE),
                _mode(
                    "http",
                    "stream",
                    where=(
                        "stream 不需要公网地址（推荐）；要和机器人配置里的「消息接收模式」一致",
                        "stream needs no public address (recommended); as in the robot's own settings",
                    ),
                ),
                Parameter(
                    "card_template_id",
                    "AI 卡片模板 ID",
                    "AI card template",
                    required=False,
                    where=(
                        "可选：卡片平台新建「AI 卡片」模板，慢的回答就边写边显示；不填则发文字",
                        "optional: an AI card of the card builder shows slow answers while they are written",
                    ),
                ),
                Parameter(
                    "card_key",
                    "卡片的流式变量名",
                    "the card's variable",
                    required=False,
                    where=(
                        "模板里开启流式的 Markdown 组件绑定的变量，默认 content",
                        "the variable of the template's streaming Markdown component, content by default",
                    ),
                ),
            ),
            paste=("机器人的「消息接收模式 → HTTP 模式 → 消息接收地址」", "the robot's address in HTTP mode"),
            opens="stream",
        ),
        Kind(
            "feishu",
            "飞书机器人",
            "Feishu or Lark bot",
            "connectors.feishu.channel:FeishuChannel",
            (
                Parameter(
                    "app_id",
                    "App ID",
                    "App ID",
                    where=("开发者后台「凭证与基础信息」", "developer console, Credentials"),
                ),
                _secret("app_secret", "App Secret", "App Secret", where=SAME_PAGE),
                _mode(
                    "http",
                    "ws",
                    where=(
                        "ws 是长连接，不需要公网地址；要和「事件与回调」的订阅方式一致",
                        "ws is the long connection and needs no public address; as in Events and callbacks",
                    ),
                ),
                _secret(
                    "verification_token",
                    "Verification Token",
                    "Verification Token",
                    mode="http",
                    where=("「事件与回调 → 加密策略」", "Events and callbacks, Encryption"),
                ),
                _secret(
                    "encrypt_key",
                    "Encrypt Key",
                    "Encrypt Key",
                    mode="http",
                    required=False,
                    where=(
                        "同一页；设了就必须加密（推荐）",
                        "the same page; with it everything must be encrypted (recommended)",
                    ),
                ),
            ),
            paste=("「事件配置」和「回调配置」的请求地址", "the request address of events and of callbacks"),
            opens="ws",
        ),
        Kind(
            "telegram",
            "Telegram 机器人",
            "Telegram bot",
            "connectors.telegram.channel:TelegramChannel",
            (
                _secret(
                    "bot_token",
                    "机器人令牌",
                    "the bot's token",
                    where=("向 @BotFather 发 /newbot", "send /newbot to @BotFather"),
                ),
                _mode("webhook", "polling", where=("polling 不需要公网地址", "polling needs no public address")),
                _secret(
                    "secret_token",
                    "webhook 校验令牌",
                    "secret token",
                    mode="webhook",
                    where=(
                        "自己想一个（字母、数字、_、-），调用 setWebhook 时带上",
                        "make one up (letters, digits, _ and -) and pass it to setWebhook",
                    ),
                ),
            ),
            paste=("调用 setWebhook 时的 url", "the url of setWebhook"),
            opens="polling",
        ),
        Kind(
            "chatwoot",
            "Chatwoot 机器人",
            "Chatwoot agent bot",
            "connectors.chatwoot.channel:ChatwootChannel",
            (
                Parameter(
                    "base_url",
                    "Chatwoot 的地址",
                    "Chatwoot's address",
                    url=True,
                    where=("打开 Chatwoot 时地址栏里的域名部分", "where you open Chatwoot"),
                ),
                Parameter(
                    "account_id",
                    "账号编号",
                    "the account's number",
                    pattern=r"\d+",
                    expects=("数字", "a number"),
                    where=("登录后网址 /app/accounts/ 后面的数字", "the number behind /app/accounts/ in the address"),
                ),
                _secret(
                    "api_access_token",
                    "机器人的访问令牌",
                    "the bot's access token",
                    where=("创建 Agent Bot 时显示", "shown when the agent bot is made"),
                ),
                _secret(
                    "webhook_secret",
                    "webhook 签名密钥",
                    "webhook secret",
                    required=False,
                    where=(
                        "新版 Chatwoot 的 Agent Bot 页面；旧版不签名，不填",
                        "the agent bot's page; older servers do not sign",
                    ),
                ),
            ),
            paste=("Agent Bot 的 Webhook URL", "the agent bot's webhook URL"),
            open_without="webhook_secret",
        ),
        Kind(
            "callback",
            "Rasa 回调渠道",
            "Rasa callback channel",
            "connectors.rasa.callback:CallbackChannel",
            (RASA_TOKEN, REPLIES_URL),
            paste=YOUR_PROGRAM,
            open_without="token",
        ),
        Kind(
            "socketio",
            "Rasa Socket.IO",
            "Rasa Socket.IO",
            "connectors.rasa.socketio:SocketIOChannel",
            (RASA_TOKEN,),
            open_without="token",
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
                    where=OWN_WORD,
                    pattern=r"(whsec_)?[A-Za-z0-9+/]{2,}={0,2}",
                    expects=("Base64（可带 whsec_ 前缀）", "base64, with or without whsec_"),
                ),
                REPLIES_URL,
            ),
            paste=YOUR_PROGRAM,
        ),
    )
}
