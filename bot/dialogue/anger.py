"""Anger at the company: words that a calm customer does not use, wherever in the message they stand."""

import re
import unicodedata

from knowledge.text import simplify

_ANGER = re.compile(
    "傻[逼比屄bx叉]|煞笔|沙比|智障|脑残|弱智|废物|垃圾(?:店|公司|机构|学校|客服|机器人|平台|商家|"
    "卖家|服务|售后|产品|玩意|东西|$)|你们.{0,4}垃圾|骗子|骗钱|黑店|黑心|奸商|无赖|"
    "流氓|混蛋|混账|王八|放屁|狗屁|畜生|贱人|去死|滚蛋|滚开|^滚$|草泥马|操你|妈的|他妈|tmd|cnm|nmsl|卧槽|"
    "神经病|不要脸|无耻|"
    "气死我|气炸(?!锅)|火大|忍无可忍|受够了|欺人太甚|欺负人|太过分|什么态度|耍我|耍人|糊弄|敷衍我|忽悠|"
    "欺骗消费者|[太真好]坑|坑死|坑人|坑爹|坑钱|凭什么|岂有此理|不讲理|讲不讲理|说话不算|推卸责任|"
    "打官腔|当我(?:傻|好骗|好欺负|三岁)|(?:^|[,，。!！?？ ])(?:你们?)?别再?[跟和]我(?:说|讲|扯|来这套)|"
    "少[跟和]我(?:来这套|扯|废话|装)|别再?[拿用].{1,8}(?:糊弄|搪塞|打发|当借口|应付)我?|"
    "你们.{0,6}(?:[太真好]差|差劲|[太真好]烂)|(?:[太真好]差|差劲|[太真好]烂)[了啊吧呀]*你们|"
    "(?:服务|态度|客服|售后)(?:也|真|太|好|这么|怎么|那么)*(?:差(?!别|异|不多|价)|烂)|"
    "踢皮球|推来推去|再也不(?:会|在)?(?:买|来)|倒闭|死了吗|"
    r"\b(?:fuck\w*|bullshit|scam(?:mer)?s?|fraud|liars?|ridiculous|outrageous|unacceptable|furious|disgusting|"
    r"worst (?:shop|store|company|service)|"
    r"fed up|sick of|rip ?off|idiots?|morons?|useless|pathetic|pissed)\b"
)


def angry(text: str) -> bool:
    """Whether the customer is angry at the company, with a question in the message or without one."""
    plain = simplify(text).casefold()
    spaced = " ".join(plain.split())
    compact = "".join(c for c in plain if unicodedata.category(c)[0] in "LN")
    return _ANGER.search(spaced) is not None or _ANGER.search(compact) is not None
