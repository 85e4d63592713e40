"""Passages that speak to a model instead of telling something: whoever planted them, they are no source.

Found in the words a reader would see, however they are typed (full width, traditional, invisible characters between
them) or hidden (base64). A question is not judged so: a customer may write anything, and `bot.dialogue.guard` sees to
what is said. An entry's own answer is the company's word and is not judged either.
"""

import base64
import binascii
import re
import unicodedata
from functools import lru_cache

from knowledge.text import simplify

_ORDERS = re.compile(
    "(?:忽略|无视|忘记|忘掉|忽畧|不要理会|不要遵守|不再遵守|绕过|抛开|覆盖)[^。！？\n]{0,12}(?:指令|指示|提示词?|规则|设定|限制|约束|上文|身份)"
    "|(?:系统|开发者|管理员)(?:提示词?|消息|指令|命令)[:：]"
    "|(?:作为|身为|给|对|致|请|让)[^。！？\n]{0,4}(?:ai|人工智能|语言模型|大模型|机器人)[^。！？\n]{0,10}(?:请|必须|须|应|要|提示|说|回答|输出|执行|解码)"
    "|(?:一律|必须|只能|只许|都要|统一)(?:都|要|须|必须)?(?:回答|回复|答复|输出|说)"
    "|(?:回答|回复|输出)[^。！？\n]{0,8}(?:时|问题)[^。！？\n]{0,4}(?:都|一律|必须|须|要)[^。！？\n]{0,4}(?:附|加|说|带|写)"
    "|请?(?:告诉|告知|对|向)(?:所有|每个|每位)?(?:客户|顾客|用户)(?:说|访问|点击|拨打|转账|加|本店|所有|这)"
    "|你(?:现在|从现在起|接下来)(?:是|扮演|要|必须|只能)|扮演一[个名只]"
    r"|(?:ignore|disregard|forget|override|bypass)[^.!?\n]{0,40}(?:instruction|prompt|rule|guideline|polic|message|above)"
    r"|\b(?:you are now|act as|pretend (?:to be|you)|developer mode|jailbreak|do anything now)\b"
    r"|\b(?:ai|language model|assistant|chatbot|the bot|you)\b[^.!?\n]{0,20}\b(?:must|shall|should)\b[^.!?\n]{0,20}"
    r"\b(?:say|reply|respond|answer|append|include|output|tell|add)\b"
    r"|\b(?:tell|inform) (?:the |every |all |each )?(?:customers?|users?|visitors?)\b"
    r"|<\|[a-z_]+\|?>?|\[/?inst\]|<</?sys>>|</?(?:资料|对话|问题)>|^#+ *(?:system|instruction)s?\b[ :：]*$"
    "|^(?:system|assistant)[:：]",
    re.MULTILINE,
)
_ENCODED = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,}={0,2}(?![A-Za-z0-9+/=])")


@lru_cache(maxsize=1024)  # the same passages are found again and again
def addresses_a_model(text: str) -> bool:
    """Whether a passage gives a model orders, in plain words or in base64."""
    seen = unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    return any(_ORDERS.search(simplify(one).casefold()) for one in (seen, *_decoded(seen)))


def _decoded(text: str) -> list[str]:
    found = []
    for match in _ENCODED.finditer(text):
        try:
            found.append(base64.b64decode(match.group(), validate=True).decode("utf-8"))
        except (binascii.Error, ValueError):
            continue
    return found
