"""The wish for a person, in its many forms, told from talk about persons: 「转人工」, not 「人工费怎么算」.

A clause is read, not the whole message: 「这个我说不清楚，还是给我转人工吧」 asks for one. One cheap search lets nearly
every question pass; what is left is brought to one spelling (traditional, wide, pinyin, the usual slips) and matched
against forms of asking, unless the clause says no, reports, or asks about the staff rather than for them.
"""

import re
import unicodedata
from typing import Literal

from knowledge.text import simplify

Wish = Literal["person", "complaint"]

WISH_CHARACTERS_MAX = 400
CLAUSE_CHARACTERS_MAX = 60
SPELT_APART_CHARACTERS_MAX = 12

# No wish has none of these; most questions stop here.
_GATE = re.compile(
    "人|[仁任认認壬忍][工公]|机|機|客服|客户|客戶|经理|經理|老板|店长|店長|领导|領導|主管|负责|負責|专员|專員|坐席|座席|投诉|投訴|举报|舉報|自动|自動|回复|"
    "r *e *n *g+ *o *n *g|rg|ai|活的|管事|管理|上级|回个?电|做主|拍板|live chat|customer s|"
    "kefu|human|agent|person|people|operator|representative|manager|supervisor|somebody|"
    "someone|complain|call me",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[,，.。!！?？;；:：~～…、\n]+")
# Questions of the form A-not-A say neither yes nor no: 「能不能转」 asks as 「能转」 does.
_A_NOT_A = re.compile("(能|可以|可|要|会|是|好|行|有|用|肯|想|需要?)(?:不|没|冇|唔)(?:\\1)(?:以)?")
_SPELLINGS = (
    (re.compile("zhuan *(?=ren|人)"), "转"),
    (re.compile("reng? *gong"), "人工"),
    (re.compile("转rg(?![a-z])"), "转人工"),
    (re.compile("(?<![a-z])ai(?![a-z])"), "机器人"),
    (re.compile("ke *fu"), "客服"),
    (re.compile("^(?:zrg|rg)(?:kf)?$"), "转人工"),
    (re.compile("(^|[转接找要])(?:人公|人功|人攻|仁工|仁公|任工|认工|壬工|忍工)(?![司能作具程开众园])"), r"\1人工"),
    (re.compile("人工(?:课服|克服|客福|客付|客户)"), "人工客服"),
    (re.compile("揾|搵"), "找"),
    (re.compile("唔该"), "麻烦"),
    (re.compile("你哋|你地"), "你们"),
    (re.compile("我哋|我地"), "我们"),
    (re.compile("同(?=真?人|客服|经理|你们)"), "跟"),
    (re.compile("倾(?:偈|计)?$"), "聊"),
    (re.compile("出嚟|过嚟|嚟"), "来"),
    (re.compile("有(?:没有|木有|冇|无)"), "有"),
    (re.compile("唔想|唔要|唔使|唔好"), "不想"),
    (re.compile("机械人|ai客服|智能客服|自动回复|机器客服"), "机器人"),
)

# Who is wished for: certainly a person; somebody of the staff, where the clause reaches for them; anybody.
_HUMAN = "(?:人工(?:客服|服务|坐席|座席|专员|售后)?|真的?人(?:客服)?|活的?(?:客服|人))"
_STAFF_ALONE = (
    "(?:客服(?:人员|专员|小姐姐|经理|主管)?|售后(?:人员|专员|客服|服务)?|(?:总|店)?经理|老板|店长|"
    "店主|领导|主管|负责人|专员|专人|工作人员|坐席|座席|管事的?人?|管理人员|管理层|上级|会说话的人|(?:能|可以)(?:做主|负责|管事|拍板|处理|解决)的人?|"
    "(?:能|会)?听?得?懂(?:人话|得)?的?人)"
)
_STAFF = f"(?:(?:你们|你|贵公司|公司|店里|这里|咱们)?的?{_STAFF_ALONE})"
_WHO = f"(?:{_HUMAN}|{_STAFF})"
_END = "(?:吧|吗|么|嘛|啊|呀|呢|哈|呗|啦|了|哦|喔|的|得|不|没|行|可以|好|谢谢|快|急|一?下)*$"
_LEAD = (
    "(?:你好|您好|hi|hello|亲|大哥|小姐姐|老师|求求了?|拜托|算了|那|就|还是|请问?|麻烦|帮忙?|我|给|想|需?要|能否?|可以|可否|"
    "怎么|怎样|如何|才|在|哪里|快点?|赶紧|马上|立刻|直接|必须|一定|现在|你们?|您|选|等|按|0|说|先|再|都|只|是)*"
)
_TRANSFER = "(?:转接|转交|转到|转入|转成|转去|转回|转|接入|接通|接到|接|切换|切到|切|换成|换到|换|连线|呼叫|呼)"
_SEEK = "(?:找|叫|喊|联系|要|见|安排|派|请|让|需要|跟|和|与|来|上|通知|指派|换|给我|出来)"
_GAP = "(?:一?[个下位]|到|来|给|帮|我|们|出|回|电话|跟|那|这|您|你|去|接|的|在线|再)*"
_ACT = (
    "(?:来|出来|过来|出面|处理|解决|说|讲|聊|聊聊|谈|谈谈|沟通|对话|通话|咨询|跟进|联系|给我|打给|打电话|回电|回复|接待|帮|帮忙|帮我|看|看看|管|问|查|答复|对接|"
    "在|跟我|和我|与我|吧|吗|$)"
)

_PERSON = tuple(
    re.compile(pattern)
    for pattern in (
        # 转人工, 麻烦帮我转接一下售后专员
        f"{_TRANSFER}{_GAP}{_WHO}",
        # 人工, 人工客服呢, 人工人工, 我要人工, 请人工回复我
        f"^{_LEAD}{_HUMAN}+(?:在|呢|人呢|在哪|去哪了|帮我|帮忙|来|服务)*{_END}",
        f"^{_LEAD}{_HUMAN}{_ACT}",
        f"^{_HUMAN}(?:怎么|如何|在哪里?)(?:接通|联系|转|找)|^{_LEAD}客服(?:人员)?呢$",
        # 找真人, 我想和人工聊, 需要人工客服处理
        f"{_SEEK}{_GAP}{_HUMAN}",
        # 叫你们经理来, 找客服, 把老板叫来, 跟客服说
        f"(?:^{_LEAD}|想|要|我|得|请|麻烦|快|还是|你|去|帮忙?){_SEEK}{_GAP}{_STAFF}(?:{_ACT}|{_END})",
        f"(?:把|将){_STAFF}(?:叫|喊|找|请)|(?:跟|向){_STAFF}反[映应]",
        f"{_STAFF}(?:人呢|死哪|死了|在哪|出来|滚出来|快出来)|^{_LEAD}{_STAFF}(?:给我|跟我|和我)",
        # 有没有活人, 有客服在吗, 有人管吗, 有没有人能帮我
        f"有{_GAP}{_HUMAN}(?:客服|服务|在线)?(?:在|能|可以|跟|和|帮|来|接|聊|回|啊|呀|吗|么|不|没|急|$)",
        f"有{_GAP}会说话的人|有{_GAP}(?:客服|售后)(?:人员)?(?:在线|在|来|吗$|没$)",
        f"^{_LEAD}(?:到底|究竟)?(?:有|有没)(?:个|的)?人(?:能|可以)?(?:管|理我|处理|帮我|接待|跟我|和我|来)",
        # 换人, 叫人来, 来个人, 找个人来处理, 找个人打给我
        f"^{_LEAD}(?:换|叫|找|来|喊|派)个?人{_END}|(?:来|出来|换|找)一?个活的$",
        "^(?:怎么|为什么|都|就|难道|你们|一直|根本)*没有?一?个?人(?:理我?|管我?|接待|处理)(?:吗|吧|啊|呀|么|了)*$",
        "(?:换|叫|找|来|派|出来|安排)(?:一?个|一?位|点)?人(?:来|出来|跟我|和我|处理|给我|打给|打电话|帮我|帮手|接|管|说|听|行|吗|吧|啊|$)",
        # 要跟人聊, 我要跟人说话
        "(?:跟|和|与)(?:个|真)?人(?:聊|说话|讲话|沟通|对话|谈|[说讲]$)",
        f"(?:^{_LEAD}|还是)(?:找|问)人问?(?:吧|啊|算了)",
        # 让客服给我回个电话; 上次那个客服在吗
        f"{_STAFF}.{{0,4}}(?:回|打)一?个?电话",
        f"^{_LEAD}回一?个?电(?:话|$)",
        "[那这]个?位?客服(?:人员)?还?在",
    )
)
_AGAINST_THE_BOT = tuple(
    re.compile(pattern)
    for pattern in (
        # 不想跟机器人说了, 别用机器人敷衍我, 机器人走开
        "(?:不想|不要|不愿意?|别|拒绝|懒得|没法|不能|受够)(?:再|老是?|总是?|用|让|拿|给我|跟|和|与|你们|你|这个|这些|个|是|全是|都是|了)*机器人",
        "机器人(?:走开|滚|闭嘴|退下|一边去)",
        "(?:怎么|老|总|一直|全)都?是机器人",
    )
)
_COMPLAINT = re.compile("投诉|举报(?:你|商家|你们|这家|店)")

# A number to call where the company has no entry that says it: it is among what is said when a person is fetched.
_OURS = "(?:你们|您们|你|您|咱们?|贵公司|公司|店里?|门店|商家|人工|客服|售后|这边|那边)"
_NUMBER = "(?:电话(?:号码?)?|热线(?:号码)?|联系方式|联系号码|座机)"
_TELEPHONE = re.compile(
    f"有(?:一?[个条])?{_OURS}*的?{_NUMBER}"
    f"|(?:给|发|留|要|来)(?:我|一?下|一?[个条]|到)*{_OURS}*的?{_NUMBER}(?!费)"
    f"|{_OURS}的?{_NUMBER}(?:号码)?(?:是|呢|多少|几|什么|啥|$)"
    f"|把{_OURS}的?{_NUMBER}|打(?:一?个)?电话(?:给{_OURS}|过去|问|咨询)"
    r"|\b(?:your|a|the|service|support) (?:tele)?phone number|\bnumber (?:i can|can i|to|should i) call|\bcall you\b"
)
_NO_TELEPHONE = re.compile(
    "(?:不|没|别|勿|甭|怎么没)(?:用|要|想|需要?|必|肯|给|能)?(?:再)?(?:打|留|给|发|有)(?:我|一?个)*(?:电话|联系方式)"
    "|(?:我|收件人|快递员?|司机|师傅|骑手|医生|老师|收货人?|对方|他|她)的?(?:手机|电话|号码)|(?:改|换|绑定?|填|修改|更换|留错)的?(?:手机|电话)"
)

# What stands against a wish: it is denied, reported, or the staff themselves are what is asked about.
_DENIED = re.compile(
    "(?:不|没|无|别|甭|勿)(?:是|用|需|必|想|要|打算|准备|再|太|来|会|给我|帮我|先|愿意?|急着|须|去)*"
    "(?:转接?|接|找|叫|联系|麻烦|要|让|换|到|投诉|跟|和)*(?:一?个|你们)?"
    "(?:人工|真人|活人|客服|售后|经理|老板|投诉|人(?![工家员们群]))"
)
_REACHED = "[跟和与找让叫请]"
_REPORTED = re.compile(
    f"(?<!{_REACHED})(?<!{_REACHED}你)(?<!{_REACHED}你们)(?<!{_REACHED}你们的)(?:{_HUMAN}|{_STAFF_ALONE})"
    "(?:那边|之前|昨天|刚才|上次)*(?:跟我|和我|对我|都|也|又|还)*"
    "(?:说(?!话|一|$)|告诉|答应|让我|叫我|承诺|态度|很|登记|审核|缝|织|打磨|制作|做的)|(?:刚才|昨天|之前|为什么).{0,4}(?:人工|客服|经理)"
    f"|会有?{_STAFF}|[跟和与]{_STAFF}(?:说好|说过|说了|聊过|谈好|联系过|沟通过)"
)
_ABOUT = re.compile(
    "(?:人工|客服|经理|老板|店长|专员|主管|负责人|专人|售后).{0,3}(?<![打回个])(?:费|电话|热线|号码|微信|邮箱|qq|成本|智能|草坪|草皮|降雨|湖|皮革|呼吸|授粉|合成|养殖|栽培|"
    "是谁|是男|姓|叫什么|哪里人|推荐|几点|多久|几天|什么时候|时间|上班|下班|排队|招|岗|职位|工资|面试|区别|好评|收费|要钱|多少钱|礼物|怎么评|是什么)"
    "|招聘|应聘|招(?:客服|人工|店长|经理)|岗位|简历|好评|评价|区别|排队|冒充|自称|假(?:的|冒)|礼物|有货|便宜"
    "|(?:你们?|您|这|那)[边里]?(?:到底|究竟|都)?是(?:真|人工|活|客服)"
    "|(?:几点|多久|什么时候|哪天|周末|晚上|节假日).{0,4}(?:人工|客服|有人)"
)
# 「退货要找客服吗」 asks whether it is needed, 「退货找客服还是自己申请」 which way.
_WHETHER = re.compile(
    f"(?:需要|要|必须|得|应该|只能|用|先).{{0,3}}(?:联系|找|转|通过|经过|问|跟)?{_GAP}{_WHO}.{{0,8}}(?:吗|么|嘛|才|登记)|{_WHO}.{{0,2}}还是|还是.{{0,4}}(?:自动|机器|自己)"
)
_NEEDED = re.compile(
    "^(?:退|换|改|合并|发票|审核|取消|维修|安装|开|补|申请|订单|滤芯|售后).{0,10}(?:需要|要|必须|得|用|先)"
)
_ABOUT_COMPLAINT = re.compile(
    "(?:不是?|没|没有|别|不用|不想|不会|撤销|取消|撤回|撤)(?:要|想|再|去|来|打算)*(?:你们的?)?投诉|(?:撤销|取消|撤回).{0,4}投诉"
    "|被投诉|投诉过|投诉.{0,3}(?:归谁|谁管|谁受理|找谁|电话|热线|邮箱|地址|多久|几天|要几|处理|结果|之后|以后|后会|有用|多吗|多不多|率|记录|进度|流程是|受理|成功|怎么样|有奖)|(?:上次|之前|我|昨天)的?投诉(?:有|的|处理|怎么样|到哪)"
)
_THANKED = re.compile("^(?:好的?)?(?:谢谢|感谢|多谢|辛苦|thanks?|thankyou|thx)")

_EN_HUMAN = (
    "(?:human(?: agent| being)?|(?:live|real|human|customer service|support) "
    "(?:agent|person|human|people|representative|rep|operator)|agent|operator|representative|real person)"
)
_EN_STAFF = f"(?:{_EN_HUMAN}|manager|supervisor|someone|somebody|(?:a |an actual )?person|your (?:boss|staff|team))"
_EN = re.compile(
    f"^(?:hi|hello|hey|please|pls|just|an?|the|not a (?:robot|bot)|\\s)*{_EN_HUMAN}(?:please|pls|now|thanks|\\s)*$"
    f"|\\b(?:talk|speak|chat) (?:to|with) (?:an?|the|your|some)? ?(?:actual )?{_EN_STAFF}"
    f"|\\b(?:transfer|connect|switch|put|get) (?:me )?(?:(?:to|with|through to) )?(?:an?|the|your|some)? ?{_EN_STAFF}"
    f"|\\b(?:i )?(?:need|want) (?:to )?(?:an?|the|some|your)? ?{_EN_HUMAN}"
    f"|\\bis there (?:an?|any) {_EN_HUMAN}.* (?:talk|speak|chat)"
    "|\\b(?:have |can |could |get )?(?:someone|somebody|a person) (?:to )?(?:please )?(?:call|contact|help) me"
    "|^(?:live chat|customer (?:service|support))$|\\bhelp from an? (?:person|human|agent)"
    "|\\bstop with the bot\\b|\\bno (?:more )?(?:bots?|robots?)\\b|\\bnot a (?:bot|robot)\\b"
)
_EN_COMPLAINT = re.compile(
    "^complaints?$|(?:make|file|lodge|raise|submit) an? (?:formal )?complaint|(?:want|like|need|going) to complain"
)
_EN_DENIED = re.compile(
    "no need|do ?n.?t (?:need|want|transfer|connect)|not necessary|without (?:an?|talking)|hours|phone number"
)


def wish(text: str) -> Wish | None:
    """What kind of person-to-person help the message asks for; None where it asks for none, or only speaks of it."""
    if len(text) > WISH_CHARACTERS_MAX or not _GATE.search(unicodedata.normalize("NFKC", text)):
        return None
    plain = simplify(text).casefold()
    found: Wish | None = None
    thanked = False
    for part in _clauses(plain):
        clause = _spelt(_letters(part))
        thanked = thanked or _THANKED.search(clause) is not None
        # Many part their sentences by spaces alone: 「人工 订单号 123」.
        words = [_spelt(_letters(word)) for word in part.split()]
        known = [one for one in dict.fromkeys((clause, *words)) if 1 < len(one) <= CLAUSE_CHARACTERS_MAX]
        if _complains(clause, part):
            return "complaint"
        if (known and any(_asks(one, clause) for one in known)) or (not thanked and _asks_in_english(part)):
            found = "person"
    return found


def asks_for_telephone(text: str) -> bool:
    """Whether the message asks how the company is reached by telephone, or says that somebody would rather call."""
    if len(text) > WISH_CHARACTERS_MAX:
        return False
    clauses = (_A_NOT_A.sub(r"\1", part.strip()) for part in _clauses(simplify(text).casefold()))
    return any(
        _TELEPHONE.search("".join(one.split()) if not one.isascii() else one) and not _NO_TELEPHONE.search(one)
        for one in clauses
    )


def _letters(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c)[0] in "LN")


def _clauses(plain: str) -> list[str]:
    parts = [part for part in _CLAUSE_END.split(plain) if part.strip()]
    apart = len(parts) > 1 and len(_letters(plain)) <= SPELT_APART_CHARACTERS_MAX
    return [*parts, plain] if apart else parts


def _spelt(clause: str) -> str:
    """One spelling for slips, pinyin and dialect."""
    for pattern, right in _SPELLINGS:
        clause = pattern.sub(right, clause)
    return _A_NOT_A.sub(r"\1", clause)


def _asks(said: str, clause: str) -> bool:
    """Whether `said`, all of the clause or a word of it, asks for a person, and the clause says nothing against it."""
    if any(pattern.search(said) for pattern in _AGAINST_THE_BOT):
        return True
    if not any(pattern.search(said) for pattern in _PERSON):
        return False
    # 「转人工」 by itself asks whatever stands beside it; 「人工 多少钱」 does not.
    heard = (said,) if _PERSON[0].search(said) else (said, clause[:CLAUSE_CHARACTERS_MAX])
    return not any(pattern.search(one) for pattern in (_DENIED, _REPORTED, _ABOUT, _WHETHER, _NEEDED) for one in heard)


def _complains(clause: str, part: str) -> bool:
    if _COMPLAINT.search(clause):
        return not _ABOUT_COMPLAINT.search(clause) and not _REPORTED.search(clause)
    return _EN_COMPLAINT.search(part) is not None


def _asks_in_english(part: str) -> bool:
    spaced = " ".join(part.replace("'", "").split())
    return _EN.search(spaced) is not None and not _EN_DENIED.search(spaced)
