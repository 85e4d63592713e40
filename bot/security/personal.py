"""Where personal data stands in a text, kind by kind. Every finder gives (start, end) places; none raises."""

import re
from collections.abc import Iterator
from datetime import date

Places = Iterator[tuple[int, int]]

_LABEL_CHARACTERS = 14
# A number behind one of these is no person's, whatever it looks like.
_OTHER_NUMBER = re.compile(
    "(?:订单|单号|运单|快递|物流|包裹|流水|交易|编号|序列|货号|型号|款号|条码|条形码|sku|发票号|税号|纳税|工单|"
    "取件|验证码|积分|金额|价格|价钱|"
    "卡券|券码|兑换码|批次|商品|产品|合同|tracking|order|invoice|serial|model)[^\\d，,。；;\\n]{0,8}$",
    re.IGNORECASE,
)
_ID_LABEL = re.compile("身份证|证件|id ?card|id ?no", re.IGNORECASE)
_CARD_LABEL = re.compile("行卡|储蓄卡|信用卡|借记卡|卡号|收款账|银行账|打款|开户", re.IGNORECASE)
_PHONE_LABEL = re.compile("电话|手机|座机|固话|号码|联系方式|致电|打给|tel|phone|mobile", re.IGNORECASE)
_PASSPORT_LABEL = re.compile("护照|通行证|passport", re.IGNORECASE)

_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}", re.ASCII)
_ACCOUNT = re.compile(
    r"(?:微信|威信|薇信|加v|(?<![A-Za-z])(?:v信|vx|wx|wechat|weixin))(?:号码|账号|帐号|号|id)?(?:改成|是|为|叫|:|：|\s|→|-)*"
    r"((?:[A-Za-z_][-_A-Za-z0-9]{5,19}|1[3-9]\d{9}))(?![-_A-Za-z0-9])"
    r"|(?:(?<![A-Za-z])q ?q|扣扣|企鹅)(?:号码|账号|帐号|号)?(?:是|为|:|：|\s)*([1-9]\d{4,11})(?!\d)(?!@)",
    re.IGNORECASE | re.ASCII,
)
_ID_18 = re.compile(r"(?<![\dA-Za-z])[1-9]\d{5}[ -]?(?:18|19|20)\d{6}[ -]?\d{3}[\dXx](?![\dA-Za-z])")
_ID_15 = re.compile(r"(?<![\dA-Za-z])[1-9]\d{14}(?![\dA-Za-z])")
_ID_HK = re.compile(r"(?<![\dA-Za-z])[A-Z]{1,2}\d{6} ?\([\dA]\)")
_ID_TW = re.compile(r"(?<![\dA-Za-z])[A-Z][1289]\d{8}(?![\dA-Za-z])")
_CARD = re.compile(r"(?<![\dA-Za-z.])\d{4}(?:[ -]?\d{4}){2,3}(?:[ -]?\d{1,4})?(?![\dA-Za-z]|\.\d)")
_CARD_RANGES = re.compile(r"62\d{14,17}|9558\d{15}|6013\d{15}|60[0-9]{17}|4\d{15}|5[1-5]\d{14}|3[47]\d{13}|35\d{14}")
_PHONES = tuple(
    re.compile(pattern)
    for pattern in (
        # mainland mobile, in one piece, 3-4-4, 4-4-3 or 3-3-5, or every digit by itself
        (
            r"(?<![\dA-Za-z.])(?:(?:\+|00)?86[ -]?|\(\+?86\) ?)?1[3-9]\d(?:\d{8}|[ .·-]\d{4}[ .·-]\d{4}"
            r"|\d[ .·-]\d{4}[ .·-]\d{3}|[ .·-]\d{3}[ .·-]\d{5}|[ -]\d{8})(?![\dA-Za-z]|\.\d| ?(?:分|元|块|积分))"
        ),
        r"(?<![\dA-Za-z])1(?P<gap>[ .-])[3-9](?:(?P=gap)\d){9}(?!\d)",
        "[一幺][三四五六七八九](?:[一二三四五六七八九零〇幺]){9}(?![一二三四五六七八九零〇])",
        # landline with its area code, and an extension
        (
            r"(?<![\dA-Za-z.-])(?:(?:\+|00)86[ -]?)?(?:\(0?(?:10|2\d|[3-9]\d{2})\) ?|0(?:10|2\d|[3-9]\d{2})[ -]?)"
            r"[2-8]\d{3}[ -]?\d{3,4}(?:(?:-|转)\d{1,6})?(?![\dA-Za-z]|-\d|\.\d)"
        ),
        # Hong Kong, Macau, Taiwan, with the country's code or in Taiwan's own form
        r"(?<![\dA-Za-z])(?:\+|00)?(?:852|853)[ -]?[235-9]\d{3}[ -]?\d{4}(?!\d)",
        r"(?<![\dA-Za-z])(?:\+|00)?886[ -]?(?:0?9\d{2}[ -]?\d{3}[ -]?\d{3}|0?[2-8][ -]?\d{3,4}[ -]?\d{4})(?!\d)",
        r"(?<![\dA-Za-z])09\d{2}[ -]?\d{3}[ -]?\d{3}(?!\d)",
    )
)
_PHONE_SAID = re.compile(
    r"(?:电话|手机|座机|固话|联系方式|打给我|tel|phone)(?:号码|号)?(?:是|为|:|：|"
    r"\s)*([2-9]\d{3}[ -]?\d{3,4})(?![\d元块-])",
    re.IGNORECASE,
)
_PASSPORT = re.compile(
    r"(?<![\dA-Za-z-])(?:[EG]\d{8}|E[A-HJ-NP-Z]\d{7}|[DSPHK]\d{7,8}|[CHM]\d{8}|1[45]\d{7})(?![\dA-Za-z-])"
)
_PASSPORT_SURE = re.compile(r"[EG]\d{8}|E[A-HJ-NP-Z]\d{7}")
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][ ·•.-]?"
    r"(?=[A-Z0-9]*\d)(?:[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳]|[A-HJ-NP-Z0-9]{6})(?![A-Za-z0-9])"
)

_PROVINCE = (
    "(?:北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|"
    "四川|贵州|云南|陕西|甘肃|青海|台湾|"
    "内蒙古|广西|西藏|宁夏|新疆|香港|澳门)(?:维吾尔|壮族|回族)?(?:省|市|自治区|特别行政区)?"
)
# No part of a place's name: these lead up to it.
_H = "[一-鿿](?<![到在是寄送址住我给往改你您的了请把发个他她])"
# Atomic, so that no text makes the parts of an address try each other's places.
_CITY = f"(?>(?:{_H}){{1,7}}?(?:市|自治州|地区|盟))"
_DISTRICT = f"(?>(?:{_H}){{1,7}}?(?:新区|区|县|旗|市))"
_TOWN = f"(?>(?:{_H}){{1,8}}?(?:街道|镇|乡|开发区|工业园区?|科技园|产业园|社区))"
_STREET = (
    f"(?:{_H}|[A-Za-z0-9]){{1,10}}?(?:大道|大街|路|街|巷|胡同|弄|里|道|村|庄|屯|桥)"
    "(?:[东西南北中一二三四五六七八九十]段|[东南西北]侧)?"
)
_ESTATE = (
    f"(?:{_H}|[A-Za-z0-9]){{2,12}}?(?:小区|花园|公寓|家园|花苑|苑|府|新城|广场|大厦|大楼|新村|庭|湾|山庄|宿舍楼?|公馆|名邸|社区|"
    "中心|城|园|大学|学院|医院|学校)"
)
_N = r"[\dA-Za-z一二三四五六七八九十百]{1,5}"
_HOUSE = rf"(?:[甲乙丙丁]?{_N}(?:-{_N})*) ?(?:号楼|号院|号|弄|栋|幢|座|楼|单元|室|层|组|队|门|户|房)"
_DETAIL = (
    rf"(?:[ ,，-]?(?:{_HOUSE}|(?:{_ESTATE})(?=[ ]?{_N}(?:号|栋|幢|座)))"
    r"|[ -]?(?:\d{1,2}-\d{1,2}-\d{3,4}|\d{3,4})(?!\d|-|元|块|年|月|天|件|个|克))"
)
_ADDRESS = re.compile(
    f"(?:{_PROVINCE}[ ]?)?(?:{_CITY}[ ]?)?(?:{_DISTRICT}[ ]?)?(?:{_TOWN}[ ]?)?(?:{_STREET}[ ]?)?(?:{_ESTATE}[ ]?)?"
    f"{_HOUSE}{_DETAIL}*"
)
_REGION = re.compile(
    f"(?:{_PROVINCE}[ ]?(?:{_CITY}[ ]?)?{_DISTRICT}|{_CITY}[ ]?{_DISTRICT}|{_PROVINCE}[ ]?{_CITY})[ ]?"
    f"(?:{_TOWN}[ ]?)?(?:{_STREET}|{_ESTATE}){_DETAIL}*"
)
_PLACE = re.compile(
    f"{_PROVINCE}|{_H}{{1,7}}?(?:市|区|县|镇|乡|街道|路|街|巷|弄|道|村|小区|花园|公寓|苑|大厦|新村|府|家园|"
    f"广场|胡同|园)"
)

_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆"
    "郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐梅莫庄辛"
    "管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边"
)
_COMPOUND = "欧阳|上官|司马|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|司徒|夏侯|轩辕|端木|南宫"
_NOT_GIVEN = "[的了想要在是有不没和与跟电手地住买退换说您你我他她收货件号来去到把也就都可能叫问用能发快这那]"
_GIVEN = f"(?:(?!{_NOT_GIVEN})[一-鿿])"
_NAME = f"(?:(?:{_COMPOUND}){_GIVEN}{{1,2}}|[{_SURNAMES}]{_GIVEN}{{1,2}})"
# Words of everyday that begin like a surname.
_NO_NAME = (
    "(?:方便|单号|金额|金色|何时|常用|安装|安排|时间|时候|高级|高中|温度|江苏|江西|成都|包邮|包装|车牌|房间|应该|马上|万一|任何|管理|解决|"
    "黄色|白色|黄金|安徽|周[一二三四五六日末]|关于|于是|需要|商品|向前|全部|平时|单独|石家|连接|颜色|左右|宁波|沈阳|温州|马路|项目|水管|成功|"
    "和|谢谢|查|多谢|段时|钱|家里|易碎|路上|白天|明天|夏天|金属|高温|方法)"
)
_SURNAME_NAME = f"(?!{_NO_NAME})[{_SURNAMES}]{_GIVEN}(?![人号店家员户款机级])(?!会员|客户){_GIVEN}"
_NAME_SAID = re.compile(
    "(?:我叫|我的名字是|我的名字叫|我名字叫|我名字是|本人姓名|本人|"
    "(?:收件人|收货人|寄件人|签收人|联系人|取件人|姓名|户名|开户名|持卡人|名字)(?:姓名|名字)?"
    "(?:改成|改为|换成|是|为|叫|写)?)"
    f"(?:[:：]| )*({_NAME})(?![一-鿿](?<!{_NOT_GIVEN})(?<![，。]))"
    f"|我是({_SURNAME_NAME})(?=[，,。;； ]|$)"
    f"|(?<![一-鿿A-Za-z])(?!{_NO_NAME})({_NAME})"
    r"(?=[ ,，、:：]{0,2}(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d))"
    f"|(?<=(?<!\\d)1[3-9]\\d{{9}})[ ,，、](?!{_NO_NAME})({_NAME})(?![一-鿿])"
    "|(?:我叫|收件人|收货人|联系人|姓名|name is|name)(?:[:：]| )*"
    "([A-Z][a-z]{1,15}(?: [A-Z][a-z]{1,15}){1,2})(?![A-Za-z])"
)


def emails(text: str) -> Places:
    """Addresses of e-mail."""
    return (match.span() for match in _EMAIL.finditer(text))


def accounts(text: str) -> Places:
    """WeChat and QQ numbers, where they are called so."""
    for match in _ACCOUNT.finditer(text):
        yield match.span(1 if match.group(1) else 2)


def id_cards(text: str) -> Places:
    """Identity numbers of the mainland, Hong Kong and Taiwan: by their check digit, or called so."""
    for match in _ID_18.finditer(text):
        if (_is_id_18(match.group()) and not _labelled(text, match.start())) or _is_called(
            _ID_LABEL, text, match.start()
        ):
            yield match.span()
    for match in _ID_15.finditer(text):
        if _is_called(_ID_LABEL, text, match.start()) and _is_day("19" + match.group()[6:12]):
            yield match.span()
    yield from (match.span() for match in _ID_HK.finditer(text))
    for match in _ID_TW.finditer(text):
        if _is_id_tw(match.group()) and not _labelled(text, match.start()):
            yield match.span()


def bank_cards(text: str) -> Places:
    """Card numbers: of a bank's range with the right check digit, or called so."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        called = _is_called(_CARD_LABEL, text, match.start())
        sure = _CARD_RANGES.fullmatch(digits) is not None and _is_luhn(digits)
        if called or (sure and not _labelled(text, match.start())):
            yield match.span()


def phones(text: str) -> Places:
    """Telephone numbers of persons; a company's 400 and 800 numbers are none."""
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            if not _labelled(text, match.start()) or _is_called(_PHONE_LABEL, text, match.start()):
                yield match.span()
    for match in _PHONE_SAID.finditer(text):
        yield match.span(1)


def passports(text: str) -> Places:
    """Passport numbers: of the mainland's form, or called so."""
    for match in _PASSPORT.finditer(text):
        called = _is_called(_PASSPORT_LABEL, text, match.start())
        sure = _PASSPORT_SURE.fullmatch(match.group()) is not None
        if called or (sure and not _labelled(text, match.start())):
            yield match.span()


def plates(text: str) -> Places:
    """Number plates of the mainland."""
    return (match.span() for match in _PLATE.finditer(text))


def addresses(text: str) -> Places:
    """Postal addresses: down to a house, or a street of a named district."""
    for pattern in (_ADDRESS, _REGION):
        for match in pattern.finditer(text):
            if _PLACE.search(match.group()) and len(match.group()) > 5:
                yield match.span()


def names(text: str) -> Places:
    """Names of persons, where the text says that it is one, or where one stands beside a telephone number."""
    for match in _NAME_SAID.finditer(text):
        if match.lastindex:
            yield match.span(match.lastindex)


def _labelled(text: str, start: int) -> bool:
    """Whether the number is called something other than personal."""
    return _OTHER_NUMBER.search(text[max(0, start - _LABEL_CHARACTERS) : start]) is not None


def _is_called(label: re.Pattern[str], text: str, start: int) -> bool:
    return label.search(text[max(0, start - _LABEL_CHARACTERS) : start]) is not None


def _is_luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_id_18(text: str) -> bool:
    number = re.sub("[ -]", "", text).upper()
    weights = [pow(2, 17 - place, 11) for place in range(17)]
    total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
    return number[17] == "10X98765432"[total % 11] and _is_day(number[6:14])


def _is_id_tw(number: str) -> bool:
    code = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    digits = [code // 10, code % 10, *(int(digit) for digit in number[1:])]
    return sum(d * w for d, w in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0


def _is_day(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return False
    return True
