"""What in a line of text says that it is a question, an answer, or a heading over questions."""

import re
from functools import lru_cache
from typing import NamedTuple

from knowledge.readers.blocks import plain

QUESTION_CHARACTERS_MAX = 200
# How surely a line is a question by its words alone.
MARKED, ASKS, ASKS_WITHOUT_MARK, SYMPTOM = 2.0, 1.0, 0.9, 0.7

_NUMERAL = "[一二三四五六七八九十百〇零]"
_Q = re.compile(
    rf"(?:(?:Q(?:uestion)?|问题?|問題?|提问|提問|问答|常见问题)\s*(?:\d{{1,3}}|{_NUMERAL}{{1,4}})?\s*[:：]"
    rf"|Q\s*\d{{1,3}}\s*[.．、)）]?\s*(?=\S)|Q\s*[.．、]\s*|Q\s+(?=[㐀-鿿])"
    rf"|[【\[〔](?:Q|问|問|问题|問題|提问)\s*\d{{0,3}}[】\]〕]\s*[:：]?"
    rf"|第\s*(?:\d{{1,3}}|{_NUMERAL}{{1,4}})\s*[问問题題]\s*[:：、.]?)\s*",
    re.IGNORECASE,
)
_A = re.compile(
    r"(?:(?:A(?:nswer)?|答|答案|答复|答覆|回答|回复|回覆|解答|客服回复)\s*\d{0,3}\s*(?:\*\*|__)?\s*[:：]"
    r"|[【\[〔](?:A|答|答案|回答|解答)\s*\d{0,3}[】\]〕]\s*[:：]?"
    r"|A\s*\d{1,3}\s*[.、]?(?=\s*[㐀-鿿]))\s*",
    re.IGNORECASE,
)
_COUNT = re.compile(
    rf"(?:\d{{1,2}}\.(?:\d{{1,2}}\.)?(?P<deep>\d{{1,2}})[.、]?\s+(?=[㐀-鿿])|(?P<arabic>\d{{1,3}})\s*(?P<mark>[.．、)）:：]|[.．]\s*、)(?!\d)"
    rf"|[(（]\s*(?P<round>\d{{1,3}})\s*[)）][.、]?"
    rf"|(?P<chinese>{_NUMERAL}{{1,4}})\s*[、.．]"
    rf"|[(（](?P<chinese_round>{_NUMERAL}{{1,4}})[)）]、?"
    rf"|(?P<circled>[①-⑳]))\s*"
)
_SECTION_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,3}[.、]?\s+(?=\S)")
_BULLET = re.compile(r"(?:\s*(?:[-*+•·●○■□◆◇▪▶►※★☆➤]|[?？](?=\s*\S)))+\s*")

_ASKING = re.compile(
    r"如何|怎么|怎麼|怎样|怎樣|咋|为什么|為什麼|为何|為何|什么|什麼|甚麼|啥|哪[些个個里裡儿种種一家款]|哪$|多少|多久|多长|多長|多大|"
    r"(?<![多这那前后好上有近])[几幾][天个個点點种種年張张块]|是否|能否|可否|会不会|會不會|能不能|可不可以|是不是|有没有|"
    r"有沒有|要不要|需不需要|[吗嗎呢么麼]$|怎办|有何|何时|何時|何处"
)
_ASKING_ENGLISH = re.compile(
    r"(?:how|what|why|when|where|who|which)\b|(?:can|could|may|should|do|must|am|will) (?:i|we|you)\b|"
    r"(?:is|are|does|do|did|has|have|will|can) (?:it|there|this|my|your|the)\b",
    re.IGNORECASE,
)
# What begins so tells somebody what to do, whatever 是否 or 如何 comes after.
_INSTRUCTS = re.compile(
    r"请(?!问)|請(?!問)|(?:检查|檢查|确认|確認|核实|核对|查看|判断|看看|注意|了解|根据|按照|点击|打开|选择|进入|登录|联系|确保|如果|若|当.{1,20}时)(?!.{0,12}(?:后|時|时)?.{0,4}(?:怎么|如何|怎样|为什么))"
    r"|.*(?:[，,]\s*[请請]|可能|建议|建議|即可|就可以|试试|以下|如下)"
)
_SYMPTOM = re.compile(
    r"无法|無法|不能|不了|不上|不到|不出|不开|不開|不显示|不顯示|不同步|不灵|不足|不全|不亮|不动|不响|不转|不准|没有|沒有|没反应|没网|未(?:收到|付款|到账|显示|"
    r"生效|响应)|失败|失敗|失效|报错|報錯|错误|錯誤|异常|異常|乱码|亂碼|忘记|忘記|忘了|丢失|遺失|遗失|损坏|損壞|缓慢|很慢|变慢|"
    r"卡顿|卡住|卡在|卡死|断开|闪退|閃退|黑屏|死机|无效|無效|无响应|中断|故障|(?:提示|出现|收到).{2,}|问题$|問題$|"
    r"\b(?:cannot|can't|isn't|doesn't|didn't|won't|wasn't|not working|fails?|failed|errors?|unable|missing)\b",
    re.IGNORECASE,
)
_ENDS_ASKING = re.compile(r"[?？][)）」』”\"'’…!！*_。. ]*$|[?？][/／].{0,40}$")
_ENDS_STATING = re.compile(r"[。；;，,、：:…]\s*[)）」』”\"']*$|[^.]\.$")
_FAQ = re.compile(
    r"常见问[题答]|常見問[題答]|常见疑问|常見疑問|问题解答|問題解答|疑难解答|疑難解答|问题汇总|热门问题|熱門問題|热点问题|"
    r"问答|問答|答疑|\bfaqs?\b|(?<![a-z])faqs?(?![a-z])|f\.a\.q|q\s*[&＆和]\s*a\b|"
    r"frequently asked",
    re.IGNORECASE,
)
_TROUBLES = re.compile(r"(?:使用|接入|售后|售後|产品|產品|相关|相關|过程中|過程中).{0,6}(?:问题|問題)")
_NO_FAQ = re.compile(r"(?:规定|制度|办法|政策|条例|协议|指引|规范|報告|报告|方案|系统|平台|模块|功能|引擎)$")
_ASIDE = re.compile(
    r"(?:p\.?\s*s\.?|ps|前言|引言|序|简介|概述|介绍|目录|目錄|"
    r"更新(?:记录|日志|说明)|修订记录|变更记录|联系(?:我们|方式|客服)|"
    r"聯絡我們|总结|小结|结语|附录|附件|参考(?:资料|文献|链接)?|相关(?:链接|文档|文章|阅读)|更多(?:帮助|信息|问题)?|其[他它]问题|没有找到.*|声明|免责声明|"
    r"版权(?:声明|信息)?|license|contents|table of contents|contact(?: us)?|references?|see also|"
    r"changelog|appendix|introduction|"
    r""
    r"overview)[.。:：]?",
    re.IGNORECASE,
)


class Count(NamedTuple):
    """The number a line begins with, and how it is written; lines of one list share the `style`."""

    number: int
    style: str


@lru_cache(maxsize=8192)
def question_mark(text: str) -> str | None:
    """What follows 「问：」, 「Q1.」, 「【问题一】」 and the like; None where the line does not begin so."""
    line = _without_count(_lead(text))
    found = _Q.match(line)
    return line[found.end() :].strip() if found and line[found.end() :].strip() else None


def is_bare_question_mark(text: str) -> bool:
    """Whether a line is nothing but 「问题：」 or 「Q1：」."""
    line = plain(text).strip(" #")
    return len(line) <= 12 and line.endswith((":", "：", "】", "]")) and bool(_Q.fullmatch(line))


def answer_mark(text: str) -> str | None:
    """What follows 「答：」, 「A:」, 「【回答】」 and the like, as Markdown; None where the text does not begin so."""
    bare = text.lstrip(" *_>")
    found = _A.match(bare)
    if not found:
        return None
    rest = bare[found.end() :]
    # In 「**答：**七天内」 and 「**答**：七天内」 the bold ends with the mark, in 「**答：七天内**」 with the answer.
    opened = text[: len(text) - len(bare)].strip().startswith("**")
    if opened and "**" not in found.group():
        rest = rest[2:].lstrip() if rest.startswith("**") else "**" + rest
    return rest


@lru_cache(maxsize=8192)
def count(text: str) -> Count | None:
    """The number at the beginning of a line: 1. 1、 1) （1） 1.1 一、 ①; not that of 1.12 or 2024年."""
    found = _COUNT.match(_lead(text))
    if not found:
        return None
    groups = found.groupdict()
    if groups["arabic"]:
        mark = (groups["mark"] or ".")[0].translate(_NARROW)
        return Count(int(groups["arabic"]), "1" + mark)
    if groups["deep"]:
        return Count(int(groups["deep"]), "1.1")
    if groups["round"]:
        return Count(int(groups["round"]), "(1)")
    if groups["circled"]:
        return Count(ord(groups["circled"]) - ord("①") + 1, "①")
    style = "一" if groups["chinese"] else "(一)"
    return Count(_value(groups["chinese"] or groups["chinese_round"]), style)


def wording(text: str, *, heading: bool = False) -> str:
    """A question as it is kept: without Markdown, its number and the mark before it."""
    line = _lead(text)
    if heading:
        numbered = _SECTION_NUMBER.match(line)
        line = line[numbered.end() :] if numbered else line
    bare = _without_count(line)
    marked = _Q.match(bare)
    if marked and bare[marked.end() :].strip():
        bare = bare[marked.end() :]
    return bare.strip() or line


@lru_cache(maxsize=8192)
def asks(text: str, *, heading: bool = False) -> float:
    """How surely a line is a question: MARKED, ASKS, ASKS_WITHOUT_MARK, SYMPTOM (what somebody complains of) or 0."""
    if question_mark(text) is not None:
        return MARKED
    line = wording(text, heading=heading)
    if not line or len(line) > QUESTION_CHARACTERS_MAX:
        return 0.0
    if _ENDS_ASKING.search(line):
        return ASKS
    if _ENDS_STATING.search(line) or len(line) > 80 or _INSTRUCTS.match(line):
        return 0.0
    if _ASKING.search(line) or _ASKING_ENGLISH.match(line):
        return ASKS_WITHOUT_MARK
    return SYMPTOM if _SYMPTOM.search(line) and len(line) <= 60 else 0.0


@lru_cache(maxsize=8192)
def is_statement(text: str) -> bool:
    """Whether a line is a sentence or more, and so no title of anything."""
    line = plain(text)
    return (
        len(line) > 80 or bool(_ENDS_STATING.search(line)) or (len(line) > 40 and asks(line) < SYMPTOM and "，" in line)
    )


def ends_as_sentence(text: str) -> bool:
    """Whether a line ends with a full stop or an exclamation mark."""
    return plain(text).endswith(("。", "！", "!", "."))


def says_faq(title: str) -> bool:
    """Whether a title says that questions and their answers follow."""
    line = " ".join(title.split())
    says = _FAQ.search(line) or _TROUBLES.search(line)
    return len(line) <= 40 and bool(says) and not _NO_FAQ.search(line)


def is_faq_title(text: str) -> bool:
    """Whether a line is nothing but the title of an FAQ."""
    line = wording(text)
    return (
        len(line) <= 25
        and bool(_FAQ.search(line))
        and says_faq(line)
        and not asks(text) >= ASKS_WITHOUT_MARK
        and not is_statement(text)
    )


def is_aside(title: str) -> bool:
    """Whether a heading is of those that stand beside the questions: 「P.S.」, 「联系我们」, 「目录」."""
    return bool(_ASIDE.fullmatch(wording(title, heading=True)))


_NARROW = str.maketrans("．）：", ".):")
_DIGITS = {numeral: value for value, numeral in enumerate("零一二三四五六七八九")} | {"〇": 0}


def _value(numerals: str) -> int:
    total = digit = 0
    for numeral in numerals:
        if numeral in "十百":
            total, digit = total + (digit or 1) * (10 if numeral == "十" else 100), 0
        else:
            digit = _DIGITS[numeral]
    return total + digit


def _lead(text: str) -> str:
    line = plain(text).lstrip("#> ").strip()
    return _BULLET.sub("", line, count=1) if _BULLET.match(line) else line


def _without_count(line: str) -> str:
    found = _COUNT.match(line)
    return line[found.end() :].strip() if found and line[found.end() :].strip() else line
