"""Words of which one does not do for another: a question about dogs is not answered with the price for cats.

An encoder sees little between them, for they stand in the same sentences. Pure functions.
"""

import re
from collections.abc import Iterable

from knowledge.codes import codes
from knowledge.text import simplify

_NUMBER = r"(\d+(?:\.\d+)?|[一二两三四五六七八九十]+)"
# A number before one of these names a kind or a size; before 天, 元 or 件 it is a matter of the case.
_SIZE = re.compile(_NUMBER + r"\s*(寸|码|升|匹|座|人份|人间|人座|居室|室|年级|号楼|号线|期)")
# In Chinese a Latin word before a number is a name with its size or model: PPR 40, iPhone 15, DN 25.
_LATIN_AND_NUMBER = re.compile(r"(?<![a-z0-9])([a-z]{2,12})[ -]?(\d{1,4})(?![\d.])")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_RATIO = re.compile(r"一对([一二两三四多])|1对([1-4])")
_DIGITS = {**{mark: str(number) for number, mark in enumerate("一二三四五六七八九", 1)}, "两": "2", "十": "10"}
# Each line: what excludes each other; several words for the same are joined by /.
_KINDS = """
早餐/早饭/早点 午餐/午饭/中餐 晚餐/晚饭 夜宵/宵夜
寒假 暑假/暑期 国庆 春节/过年 五一 元旦 中秋 端午 清明
春季 夏季 秋季 冬季
年卡 季卡 月卡 周卡 次卡
猫 狗/犬 兔 鼠 鸟/鹦鹉 龟
公猫/公狗/公犬/公的 母猫/母狗/母犬/母的/女猫/女狗
男士/男款/男装/男生/男宝 女士/女款/女装/女生/女宝
小学 初中 高中 大学 幼儿园
成人/大人 儿童/小孩/孩子/小朋友 老人
机场 高铁站/火车站 汽车站/客运站 地铁站
冰箱/雪柜 洗衣机 空调 电视 热水器 油烟机 燃气灶 洗碗机 微波炉
专票/专用发票 普票/普通发票
单人 双人 三人 四人
大床 双床 单人床 上下铺
进口 国产
纸质 电子
"""
# As _KINDS; but an entry is about such a place only where each of its wordings names one: 「你们送哪些城市」 with
# 「上海能送吗」 beside it is about every city.
_PLACES = """
台湾 香港 澳门 日本 韩国 新加坡 马来西亚 泰国 越南 俄罗斯 美国 加拿大 英国 法国 德国 意大利 澳洲/澳大利亚 新西兰
新疆 西藏 内蒙古 青海 宁夏 甘肃 海南 云南 贵州 广西 四川 东北 台湾 香港 澳门
北京 上海 广州 深圳 天津 重庆 杭州 成都 武汉 南京 苏州 厦门 青岛 郑州 长沙 沈阳 哈尔滨 东莞 佛山
"""


def _groups(lines: str) -> tuple[tuple[list[str], ...], ...]:
    return tuple(tuple(kind.split("/") for kind in line.split()) for line in lines.split("\n") if line)


_GROUPS = (*_groups(_KINDS), *_groups(_PLACES))
_PLACE_NAMES = frozenset(group[0][0] for group in _groups(_PLACES))
# Most texts name none of them, and are not looked through word by word.
_ANY = re.compile("|".join(word for group in _GROUPS for kind in group for word in kind))


# What may be asked of a thing, and some word of which an entry must have to answer that.
_ASPECTS = tuple(
    (re.compile(asked), re.compile(said))
    for asked, said in (
        (
            "多少钱|什么价|啥价|价格|价钱|价位|收费|费用|怎么卖|几块|几元|贵不贵|贵吗",
            "[元块角¥￥$]|[0-9零一二两三四五六七八九十百千]万|美金|港币|价|费|钱|免|贵|便宜|折|优惠|%",
        ),
        (
            "多久|多长时间|多少天|几天|几小时|几个小时|几个月|几年|几周",
            (
                "[0-9零一二两三四五六七八九十百半几数多] *个? *(秒|分|小时|钟头|天|日|周|星期|月|年|季|晚|夜)"
                "|[天日周月年]内|时候|何时|啥时|好久|几[点号时]|当[天日场]|[次隔明后]天|马上|立[即刻]|即[时可]|随时|尽快|终[身生]|永久|长期|时间|时长|期|工作日"
            ),
        ),
    )
)


def is_beside(query: str, wordings: Iterable[str], answer: str = "") -> bool:
    """Whether the query asks for a price or for how long, and an entry says nothing like it: 「拔智齿多少钱」 is not
    answered by whether it hurts.
    """
    asked = simplify(query).casefold()
    said = simplify("\n".join((*wordings, answer))).casefold()
    return any(asks.search(asked) and not (asks.search(said) or speaks.search(said)) for asks, speaks in _ASPECTS)


def clash(query: str, wordings: Iterable[str], answer: str = "") -> bool:
    """Whether the query names one of several kinds, and an entry names others of them, but not the one.

    Kinds are model numbers (QL-2108, PPR 40), sizes (8寸, 10寸) and words of a list. What only the answer names counts
    as named too.
    """
    asked = _named(query)
    if not asked:
        return False
    worded = tuple(wordings)
    entry, said = _named("\n".join(worded)), _named(answer)
    return any(
        group in entry
        and not kinds & (entry[group] | said.get(group, frozenset()))
        and (group not in _PLACE_NAMES or all(group in _named(wording) for wording in worded))
        for group, kinds in asked.items()
    )


def _named(text: str) -> dict[str, frozenset[str]]:
    """The kinds that a text names, by what they are kinds of."""
    plain = simplify(text).casefold()
    found = {"code": set(codes(text))}
    for number, unit in _SIZE.findall(plain):
        found.setdefault(unit, set()).add(_DIGITS.get(number, number))
    for name, number in _LATIN_AND_NUMBER.findall(plain) if _HAN.search(plain) else ():
        found.setdefault(f"{name} ", set()).add(number)
    found["ratio"] = {_DIGITS.get(one, one) for pair in _RATIO.findall(plain) for one in pair if one}
    for group in _GROUPS if _ANY.search(plain) else ():
        found[group[0][0]] = {kind[0] for kind in group if any(word in plain for word in kind)}
    return {group: frozenset(kinds) for group, kinds in found.items() if kinds}
