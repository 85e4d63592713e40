"""Five hundred messages with eight hundred invented personal items of nine kinds, and what only looks like them.

Every item is made up by a generator of its own, none by the patterns under test; every line is of this file.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

TWO_SHARE = 0.4
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
REGIONS = ("110105", "310115", "330106", "440305", "510107", "320508", "420106", "610113", "350203", "370202")
SURNAMES = (
    "王",
    "李",
    "张",
    "刘",
    "陈",
    "杨",
    "赵",
    "黄",
    "周",
    "吴",
    "徐",
    "孙",
    "朱",
    "马",
    "胡",
    "林",
    "郭",
    "何",
    "高",
    "罗",
    "欧阳",
    "司马",
)
GIVEN = (
    "伟",
    "芳",
    "娜",
    "秀英",
    "敏",
    "静",
    "丽",
    "强",
    "磊",
    "洋",
    "艳",
    "勇",
    "军",
    "杰",
    "娟",
    "涛",
    "超",
    "明辉",
    "雨桐",
    "子涵",
    "浩然",
    "欣怡",
    "建国",
    "晓东",
)
PLACES = (
    ("浙江省", "杭州市", "西湖区", "文三路"),
    ("江苏省", "苏州市", "吴中区", "东吴南路"),
    ("广东省", "深圳市", "南山区", "科技园南路"),
    ("四川省", "成都市", "武侯区", "天府大道中段"),
    ("湖北省", "武汉市", "洪山区", "珞喻路"),
    ("山东省", "青岛市", "市南区", "香港中路"),
    ("陕西省", "西安市", "雁塔区", "高新二路"),
    ("福建省", "厦门市", "思明区", "湖滨南路"),
    ("", "北京市", "朝阳区", "建国路"),
    ("", "上海市", "浦东新区", "张杨路"),
    ("", "重庆市", "渝中区", "民生路"),
    ("湖南省", "长沙市", "岳麓区", "麓谷大道"),
)
ESTATES = ("阳光花园", "锦绣家园", "翠苑小区", "金色公寓", "万科广场", "书香苑", "幸福新村", "紫金大厦")
WORDS = ("sunny", "xiaoyu", "lucky", "panda", "moon", "river", "leaf", "kevin", "amy", "happy")
DOMAINS = ("qq.com", "163.com", "gmail.com", "126.com", "outlook.com", "sina.cn", "mail.example.org")


@dataclass(frozen=True)
class Line:
    """A message, and where in it the invented items stand: (kind, start, end)."""

    text: str
    items: tuple[tuple[str, int, int], ...]


class Maker:
    """Makes values of each kind from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def digits(self, count: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(count))

    def wide(self, text: str) -> str:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)

    def phone(self) -> str:
        mobile = "1" + self.rng.choice("3456789") + self.digits(9)
        three = (mobile[:3], mobile[3:7], mobile[7:])
        landline = self.rng.choice(("010", "021", "0571", "0755", "028")), self.rng.choice("2345678") + self.digits(7)
        forms: list[Callable[[], str]] = [
            lambda: mobile,
            lambda: mobile,
            lambda: mobile,
            lambda: " ".join(three),
            lambda: "-".join(three),
            lambda: "+86 " + mobile,
            lambda: "+86-" + "-".join(three),
            lambda: "86" + mobile,
            lambda: self.wide(mobile),
            lambda: "-".join(landline),
            lambda: "".join(landline),
            lambda: f"({landline[0]}){landline[1]}",
            lambda: "-".join(landline) + "-" + self.digits(3),
            lambda: f"+852 {self.rng.choice('569')}{self.digits(3)} {self.digits(4)}",
            lambda: f"+853 6{self.digits(3)} {self.digits(4)}",
            lambda: f"+886 9{self.digits(2)} {self.digits(3)} {self.digits(3)}",
            lambda: f"09{self.digits(2)}-{self.digits(3)}-{self.digits(3)}",
        ]
        return self.rng.choice(forms)()

    def mobile(self) -> str:
        return "1" + self.rng.choice("3456789") + self.digits(9)

    def id_card(self) -> str:
        body = (
            self.rng.choice(REGIONS)
            + f"{self.rng.randint(1950, 2008)}{self.rng.randint(1, 12):02d}{self.rng.randint(1, 28):02d}"
            + self.digits(3)
        )
        check = "10X98765432"[sum(int(d) * w for d, w in zip(body, WEIGHTS, strict=True)) % 11]
        number = body + check
        return self.rng.choice(
            (number, number, number.lower(), f"{number[:6]} {number[6:14]} {number[14:]}", self.wide(number))
        )

    def bank_card(self) -> str:
        start, length = self.rng.choice(
            (("622202", 19), ("621700", 19), ("622588", 16), ("623059", 19), ("433670", 16), ("526855", 16))
        )
        body = start + self.digits(length - 1 - len(start))
        total = 0
        for place, digit in enumerate(reversed(body)):
            value = int(digit) * (2 if place % 2 == 0 else 1)
            total += value - 9 if value > 9 else value
        number = body + str(-total % 10)
        grouped = " ".join(number[i : i + 4] for i in range(0, length, 4))
        return self.rng.choice((number, number, grouped, grouped.replace(" ", "-"), self.wide(number)))

    def email(self) -> str:
        name = self.rng.choice(WORDS) + self.rng.choice(("", ".", "_", "-")) + self.rng.choice((*WORDS, self.digits(4)))
        return self.rng.choice((name + "@" + self.rng.choice(DOMAINS), self.digits(9) + "@qq.com"))

    def address(self) -> str:
        province, city, district, road = self.rng.choice(PLACES)
        house = f"{self.rng.randint(1, 999)}号"
        estate = self.rng.choice(ESTATES)
        block = f"{self.rng.randint(1, 30)}{self.rng.choice(('栋', '幢', '号楼', '座'))}"
        door = f"{self.rng.randint(1, 30)}0{self.rng.randint(1, 4)}"
        room = f"{self.rng.randint(1, 4)}单元{door}{self.rng.choice(('室', ''))}"
        forms = (
            province + city + district + road + house,
            province + city + district + road + house + estate + block + room,
            city + district + road + house + block + room,
            city.removesuffix("市") + district + estate + block + room,
            f"{province or city} {city} {district} {road}{house}".replace(f"{city} {city}", city),
            road + house + estate + block,
            district + road + house + block,
        )
        return self.rng.choice(forms)

    def name(self) -> str:
        return self.rng.choice(SURNAMES) + self.rng.choice(GIVEN)

    def plate(self) -> str:
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        start = self.rng.choice("京沪浙粤苏川鄂鲁闽湘") + self.rng.choice("ABCDE")
        body = self.rng.choice(
            (
                self.rng.choice(letters) + self.digits(4),
                self.digits(5),
                self.digits(3) + self.rng.choice(letters) + self.digits(1),
                "D" + self.digits(5),
            )
        )
        return start + self.rng.choice(("", "", "·", " ")) + body

    def passport(self) -> str:
        return self.rng.choice(
            ("E" + self.digits(8), "G" + self.digits(8), "E" + self.rng.choice("ABCDEFGHJK") + self.digits(7))
        )

    def account(self) -> str:
        return self.rng.choice(
            (
                self.rng.choice(WORDS) + self.rng.choice(("_", "-", "")) + self.digits(4),
                "wxid_" + self.rng.choice(WORDS) + self.digits(3),
            )
        )

    def qq(self) -> str:
        return self.rng.choice("123456789") + self.digits(self.rng.randint(6, 9))

    # what is no personal data
    def order(self) -> str:
        return self.rng.choice(
            (
                f"2026{self.rng.randint(1, 12):02d}{self.digits(10)}",
                "QL" + self.digits(12),
                self.digits(13).replace("0", "7", 1),
            )
        )

    def parcel(self) -> str:
        return self.rng.choice(
            ("SF" + self.digits(13), "YT" + self.digits(13), "JD" + self.digits(13), "7" + self.digits(13))
        )

    def price(self) -> str:
        return self.rng.choice(
            (
                f"{self.rng.randint(1, 9999)}.{self.digits(2)}元",
                f"¥{self.rng.randint(10, 99999)}",
                f"{self.rng.randint(1, 99)}万",
            )
        )

    def code(self) -> str:
        return self.rng.choice(
            ("HW-6021", "PPR-9087", "QL2108", "DG-4402", "A12345678B", "X-13812345", "ISO9001", "GB11643-1999")
        )

    def day(self) -> str:
        return self.rng.choice(
            (
                f"2026-{self.rng.randint(1, 12):02d}-{self.rng.randint(1, 28):02d}",
                f"{self.rng.randint(1, 12)}月{self.rng.randint(1, 28)}号",
                "20261130",
                "9:00-21:00",
                "2026/11/03 14:25:36",
            )
        )


TEMPLATES = (
    "收件人：{name}，电话{phone}，地址：{address}",
    "麻烦把收货地址改成{address}，收件人{name}，手机{phone}",
    "我叫{name}，我的电话是{phone}，请回电",
    "订单{order}的收货人是{name}，电话{phone}，怎么还没到",
    "寄到{address}，{phone}",
    "{name} {mobile} {address}",
    "{address} {name} {mobile}",
    "换个地址：{name}，{mobile}，{address}",
    "地址写错了，应该是{address}",
    "我住在{address}，明天能送到吗",
    "退款打到这张卡：{bank_card}，户名：{name}",
    "我的银行卡号是{bank_card}，什么时候到账",
    "卡号 {bank_card} 开户名 {name}",
    "身份证号{id_card}，姓名：{name}，帮我实名认证",
    "我的身份证是 {id_card}，登记一下",
    "海关要身份证，号码 {id_card}，电话 {phone}",
    "发票发到{email}",
    "请把说明书发到我的邮箱 {email} 谢谢",
    "邮箱：{email}，电话：{phone}",
    "我的微信号是{account}，加我",
    "加我微信：{account} 聊",
    "QQ号{qq}，联系我",
    "qq：{qq}，发我资料",
    "车牌{plate}，到店自提停哪",
    "我的车是{plate}，可以进园区吗",
    "护照号{passport}，买家在国外",
    "用护照 {passport} 实名可以吗，姓名：{name}",
    "换绑手机号，旧号{phone}，新号{phone}",
    "打我电话{phone}或者{phone}都行",
    "{name_said}，{phone}，{address}",
    "师傅上门前打{phone}，地址{address}",
    "付了{price}，订单号{order}，退到卡{bank_card}",
    "买了{code}，{day}下的单，电话{phone}",
    "联系人：{name}，{address}，{phone}，邮箱{email}",
    "我叫{name}，身份证{id_card}，手机{phone}，住{address}",
    "{day}之前送到{address}行不行",
    "运单号{parcel}，收件人：{name}",
    "发票抬头是公司，邮箱{email}，订单{order}",
)
CLEAN = (
    "订单号{order}怎么还没发货",
    "快递单号{parcel}三天没动了",
    "{code}和{code}有什么区别",
    "{day}下的单，实付{price}，能退吗",
    "客服电话是400-000-2108吗，几点上班",
    "满99元包邮，我买了{price}还要运费？",
    "序列号123456789012345是正品吗",
    "验证码收不到，提示 10086",
    "{code} 多少钱，{price}贵不贵",
    "新疆乌鲁木齐包邮吗，几天能到",
    "上海市能不能当日达",
    "我是会员，为什么没有打折",
    "你们一号店在哪，有几层楼",
    "订单编号{order}，付款{price}，{day}到货吗",
    "滤芯PPR-9087用了1200升，要换吗",
    "我叫了快递上门取件，没人来",
    "我叫客服来",
    "收货人能改吗，收件人不在家怎么办",
    "商品编号 6901234567892 有货吗",
    "积分 13800 分能换什么",
    "交易流水号 4200001234202611221234567890 查一下",
    "税号91330401MA2CXXXX1D可以开专票吗",
    "QL-2108 1800瓦 220V 能带到国外吗",
    "保修2年，从2026-01-02算到2028-01-01对吗",
    "3期免息，每期333.33元，一共1000元",
)


def lines(count: int = 500, wanted: int = 800, seed: int = 20261122) -> list[Line]:
    """`count` messages, some without any item, with `wanted` items in all."""
    maker = Maker(seed)
    made: list[Line] = []
    items = 0
    while items < wanted:
        asked = maker.rng.sample(TEMPLATES, 2 if maker.rng.random() < TWO_SHARE else 1)
        line = _fill("。".join(asked), maker)
        if items + len(line.items) <= wanted:
            made.append(line)
            items += len(line.items)
    made += [_fill(maker.rng.choice(CLEAN), maker) for _ in range(count - len(made))]
    maker.rng.shuffle(made)
    return made


def _fill(template: str, maker: Maker) -> Line:
    text = ""
    items: list[tuple[str, int, int]] = []
    rest = template.replace("{name_said}", "收件人{name}")
    while "{" in rest:
        before, _, rest = rest.partition("{")
        slot, _, rest = rest.partition("}")
        text += before
        value = getattr(maker, slot)()
        if slot not in ("order", "parcel", "price", "code", "day"):
            kind = {"qq": "account", "mobile": "phone"}.get(slot, slot)
            items.append((kind, len(text), len(text) + len(value)))
        text += value
    return Line(text + rest, tuple(items))
