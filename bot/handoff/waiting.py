"""「不用人工了」: a customer who waits for a person would rather go on with the bot."""

import re
import unicodedata

from knowledge.text import simplify

CHARACTERS_MAX = 40
_PERSON = "(?:人工|真人|客服|人工客服|人工服务|人|专员)"
_NO_MORE = "(?:不用|不要|不需要|不必|甭|别|无需|不想|不)"
_PATTERNS = (
    # 不用人工了, 不需要转人工, 别找人工客服了, 不转人工了
    re.compile(f"{_NO_MORE}(?:再)?(?:帮我|给我)?(?:转接?|找|叫|接|等|联系|排队?等?)?{_PERSON}+"),
    # 不等了, 不想等了, 不排队了, 不转了
    re.compile(f"{_NO_MORE}(?:再)?(?:等|排队?|转|找|叫)(?:下去|人)?了?"),
    re.compile(f"(?:取消|退出|结束)(?:转|排队?|等待?)?{_PERSON}*(?:排队|等待)?"),
    re.compile(
        "(?:还是|就)?(?:让|用|找|和|跟|问|换回|转回|回到)?(?:机器人|智能客服|ai)(?:吧|回答|来|聊|就行|就好|就可以|继续)*"
    ),
    re.compile(
        "(?:noneed(?:foran?(?:agent|person|human))?|no(?:agent|person|human)|nevermind(?:theagent)?|"
        "(?:stop|cancel)(?:waiting|theagent|thehandoff)?|(?:idonot|idont|dont)(?:needan?|want(?:an?|to)?)"
        "(?:agent|person|human|wait)(?:anymore)?|backtothebot|(?:the)?botisfine)"
    ),
)
_LEAD = re.compile("^(?:好的?|嗯+|哦|那|算了|行|谢谢|ok|请|麻烦|我|就|先|现在|暂时)+")
_TAIL = re.compile("(?:了|吧|啊|呀|哈|啦|嘛|谢谢|就行|thanks|please|now)+$")
# By themselves these also cancel a form, or answer another question.
_BARE = re.compile("^(?:算了|不用了?|不用麻烦了?|不需要了?|取消|没事了?|cancel|nevermind|noneed|stop)$")


def called_off(text: str, *, busy: bool = False) -> bool:
    """Whether a message says that no person is needed any more. `busy`: a form waits, so a bare 「算了」 is its."""
    if len(text) > CHARACTERS_MAX:
        return False
    plain = simplify(unicodedata.normalize("NFKC", text)).casefold()
    said = "".join(c for c in plain if unicodedata.category(c)[0] in "LN")
    if _BARE.match(_TAIL.sub("", said)) or _BARE.match(said):
        return not busy
    core = _TAIL.sub("", _LEAD.sub("", said))
    return any(pattern.fullmatch(core) for pattern in _PATTERNS)
