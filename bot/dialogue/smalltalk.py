"""Messages that are no question: greetings and the like, abuse, a choice among offered questions.

Patterns match the whole normalised message, never a part: 「你好，我想退货」 is a question. Loops are possessive and
their words tried longest first, so that no message makes them backtrack.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from knowledge.text import simplify

Kind = Literal["greeting", "thanks", "bye", "identity", "acknowledgement", "cancel"]

SMALL_TALK_CHARACTERS_MAX = 40


def _any(words: str) -> str:
    return "(?:" + "|".join(sorted(words.split(), key=len, reverse=True)) + ")"


_TAIL = "(?:[呀啊哦噢喔哈呢吧啦嘛的吗哟呦滴哒么~]|了(?!解))*+"
_CALL = (
    _any(
        "亲亲 亲 亲爱的 老板娘 老板 掌柜的 客服 小姐姐 小哥哥 姑娘 美女 帅哥 师傅 小伙子 小妹 小助手 小帮手 机器人 "
        "店家 商家 there bot team everyone"
    )
    + "?+"
)
_GREETING = _any(
    "你好 您好 你们好 您们好 大家好 哈喽 哈啰 哈罗 嗨 嘿 喂 在吗 在么 在不 在不在 在不在线 在线吗 有人吗 "
    "有人在吗 有人不  "
    "请问 请问一下 请问下 我想问一下 我想问下 想问一下 想问下 问一下 问下 我想咨询一下 我想咨询下 想咨询一下 "
    "我想咨询 咨询一下 我有个问题 有个问题 我想问个问题 想问个问题 问个问题 有问题想问 请教一下 打扰一下 打扰 "
    "ihaveaquestion caniaskaquestion "
    "早上好 上午好 中午好 下午好 晚上好 早安 早晨 午安 早 节日快乐 新年好 hi hello hey hiya hullo yo "
    "goodmorning goodafternoon goodevening goodday anyonethere areyouthere"
)
_THANKS = _any(
    "谢谢 谢谢你 谢谢您 谢谢你们 蟹蟹 3克油 多谢 感谢 非常感谢 十分感谢 太感谢 谢啦 谢了 谢 3q 辛苦 辛苦你 辛苦您 麻烦 "
    "麻烦你 麻烦您 感恩 唔该 唔该你 唔该晒 多谢你 多谢晒 "
    "thanks thankyou thankyouverymuch thankyousomuch manythanks thx ty cheers"
)
_BYE = _any(
    "再见 再会 拜拜 拜 回见 回头见 下次见 明天见 晚安 没事 没有 没别的事 没其他问题 没问题 "
    "先看看 我先看看 再看看 我再看看 想想 再想想 我再想想 我想想 考虑一下 考虑考虑 我考虑一下 再说 回头再说 等等再说 "
    "先不买 先不买了 "
    "bye byebye goodbye seeyou goodnight seeya"
)
_OK = _any(
    "对不起 不好意思 抱歉 好好 好 好的 好滴 好吧 好嘞 行 行吧 可以 可以的 嗯 嗯嗯 恩 恩恩 哦 噢 喔 "
    "哦哦 ok okay okey 知道 知道了 明白 懂 懂了 了解 了解了 收到 清楚了 刚才急了 刚刚急了 我急了 是我急了 "
    "原来如此 原来这样 是这样啊 great gotit isee allright alright fine understood"
)
_CANCEL = _any("取消 算了 不用 不用了 不查了 不问了 不需要了 不必了 停止 退出 cancel nevermind stop quit forgetit")
_YOU = "(?:请问)?+(?:你这边|你们|你这|你|您)"
_WHAT = _any(
    "谁 哪位 什么人 什么东西 干什么的 干嘛的 做什么的 真人 人工 真的人 机器人 人 人类 真人还是机器人 "
    "人还是机器人 机器人还是真人 机器人还是人  "
    "人工还是机器人 人工智能 ai 智能客服 机器客服 叫什么 叫什么名字 的名字是什么 叫啥 名字叫什么 能做什么 "
    "能干什么 能干嘛 会什么 会做什么 会干什么  "
    "多大 几岁 多少岁 是男是女 是男的还是女的 在哪里上班 累不累 可以做什么 有什么功能 能帮我做什么 可以帮我做什么"
)
_IDENTITY = (
    f"(?:{_YOU}(?:到底|究竟)?+是?+{_WHAT}[吗么不吧]?+"
    "|(?:who|what)(?:are|r)(?:you|u)|are(?:you|u)(?:an?)?(?:bot|robot|human|realperson|real|person|ai)"
    "|what(?:is|s)yourname|whatcanyoudo|(?:你)?自我介绍(?:一下)?|介绍一?下你自己)"
)
_SMALL_TALK: dict[Kind, re.Pattern[str]] = {
    "identity": re.compile(f"(?:{_GREETING}{_TAIL})?+{_IDENTITY}{_TAIL}"),
    "thanks": re.compile(
        f"(?:{_OK}{_TAIL})*+(?:那|真是|真的|非常|太)?+(?:{_THANKS}{_TAIL}{_CALL}{_TAIL}(?:小[\u4e00-\u9fff]{{1,2}})?+{_TAIL})++(?:{_BYE}{_TAIL})*+"
    ),
    "greeting": re.compile(f"{_CALL}{_TAIL}(?:{_GREETING}{_TAIL}{_CALL}{_TAIL})++"),
    "bye": re.compile(f"(?:{_OK}{_TAIL})*+[那先就]*+(?:这样|不说|不聊)?+{_TAIL}(?:{_BYE}{_TAIL})++"),
    "cancel": re.compile(f"[那先]*+(?:还是)?+(?:{_CANCEL}{_TAIL})++(?<![呢吗])"),  # 取消呢？ asks how
    "acknowledgement": re.compile(f"(?:算了)?+(?:{_OK}{_TAIL})++"),
}
# Of several in one message, what the reply is to: who asks for our name beside a greeting wants to know it.
_LEADING: tuple[Kind | None, ...] = ("identity", "cancel", "thanks", "bye", "greeting", "acknowledgement")
_CLAUSE_END = re.compile(r"[,，。.!！?？;；~～\s]+")

_INSULT = (
    "傻逼 傻比 傻屄 傻b 煞笔 沙比 傻叉 傻x 傻瓜 傻子 傻 sb 白痴 蠢货 蠢猪 蠢 笨蛋 笨 人工智障 智障 脑残 弱智 废物 废柴 "
    "垃圾 骗子 骗人 骗钱 坑人 坑钱 黑店 黑心 奸商 无赖 流氓 混蛋 混账 王八蛋 王八 狗屁 放屁 狗东西 狗日 畜生 贱人 "
    "去死 滚 滚蛋 滚开 闭嘴 操 操你 草泥马 cnm nmsl 妈的 他妈 tmd 卧槽 神经病 你有病 不要脸 无耻 "
    "騙子 騙人 騙錢 廢物 白癡 腦殘 混賬 無恥 "
)
# What stands around an insult without making a question of it.
_AROUND_INSULT = (
    "你们 你們 你 您 我 他 这个 这 這 那 是不是 不是 就是 都是 全是 是 就 都 全 真是 真的 真 太 好 很 死 大 臭 破 烂 "
    "狗 什么 一群 一帮 一个 个 群 帮 简直 纯 妈 妈了 老子 给我 公司 店 店铺 商家 卖家 平台 客服 人工智能 机器人 机器 "
    "东西 玩意儿 玩意 服务 态度 公司的 透了 透顶 死了 极了 得很 吗 嘛 吧 啊 呀 呢 了 的 呸 么 嗎"
)
_INSULT_EN = (
    "stupid idiot idiots moron morons dumb dumbass useless worthless pathetic scam scams scammer scammers liar liars "
    "fraud frauds thieves crooks cheats fuck fucking fucku fuckoff shit shitty bullshit crap suck sucks garbage trash "
    "rubbish asshole assholes bastard bastards bitch damnyou screwyou gotohell shutup wtf"
)
_AROUND_INSULT_EN = (
    "you your youre yourself are is it its this that what such so all just the an a and bunch of piece total complete "
    "absolute damn bloody very really company shop store bot robot chatbot customer service assistant people off up"
)
_ABUSE = tuple(
    (re.compile(f"{_any(f'{insults} {around}')}*+"), re.compile(_any(insults)))
    for insults, around in ((_INSULT, _AROUND_INSULT), (_INSULT_EN, _AROUND_INSULT_EN))
)

_NUMERALS = {mark: number for number, marks in enumerate(("一①", "二两②", "三③", "四④", "五⑤"), 1) for mark in marks}
_CHOICE = re.compile(
    "(?:我想问|我要|我选|选|想问|问|就是|就|是)?+(?:第|no|number|option)?+([1-9一二两三四五①②③④⑤])(?:个问题|个|条|项|号|种)?+(?:怎么(?:弄|办|操作|做|处理|回事)?|是什么|呢)?+[吧呀啊的]*+"
)
_YES = re.compile("是的?|对的?|对?就是这个|没错|嗯嗯?|yes|yeah|yep")
_NONE_OF_THEM = re.compile(
    "(?:以上|上面|这些|这几个)?+(?:全都|都|全)?+(?:不是我想问的|不是我要问的|没有我要的|没有我想问的|不是|不对|没有)[的了呀啊吧]*+"
    "|noneof(?:them|these|those|theabove)|none|neither"
)


@lru_cache(maxsize=1024)  # each question is asked of several lists
def normalised(text: str) -> str:
    """Simplified, NFKC, case-folded, only letters and digits: what two ways of typing the same have in common."""
    folded = simplify(text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LN")


def small_talk(text: str) -> Kind | None:
    """Which small talk the whole message is, or each of its clauses; None where it is anything more."""
    if len(text) > 2 * SMALL_TALK_CHARACTERS_MAX:
        return None
    plain = normalised(text)
    if not plain or len(plain) > SMALL_TALK_CHARACTERS_MAX:
        return None
    if kind := _kind(plain):
        return kind
    clauses = [clause for one in _CLAUSE_END.split(text) if (clause := normalised(one))]
    kinds = {_kind(clause) for clause in clauses} if len(clauses) > 1 else {None}
    return None if None in kinds else min(kinds, key=_LEADING.index)


def _kind(plain: str) -> Kind | None:
    return next((kind for kind, pattern in _SMALL_TALK.items() if pattern.fullmatch(plain)), None)


def abusive(text: str) -> bool:
    """Whether the whole message is abuse with no question in it: 「你们是骗子吗」, not 「骗子，怎么还不退款」."""
    plain = normalised(text) if len(text) <= 2 * SMALL_TALK_CHARACTERS_MAX else ""
    if not 0 < len(plain) <= SMALL_TALK_CHARACTERS_MAX:
        return False
    return any(words.fullmatch(plain) and insult.search(plain) for words, insult in _ABUSE)


def chosen(text: str, suggestions: Sequence[str]) -> int | None:
    """Index of the offered question that the message picks: by its words (a tap sends those) or its number."""
    plain = normalised(text)
    for index, suggestion in enumerate(suggestions):
        if plain and plain == normalised(suggestion):
            return index
    match = _CHOICE.fullmatch(plain) if len(plain) <= SMALL_TALK_CHARACTERS_MAX else None
    if match:
        mark = match.group(1)
        number = _NUMERALS.get(mark) or int(mark)
        return number - 1 if number <= len(suggestions) else None
    return 0 if len(suggestions) == 1 and _YES.fullmatch(plain) else None


def chose_none(text: str) -> bool:
    """Whether the message says that none of the offered questions is meant."""
    return len(text) <= SMALL_TALK_CHARACTERS_MAX and _NONE_OF_THEM.fullmatch(normalised(text)) is not None
