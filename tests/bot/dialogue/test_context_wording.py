"""What leans on the conversation and what stands alone; several questions in one message."""

import pytest

from bot.dialogue.context.comparing import compared
from bot.dialogue.context.wording import (
    clauses,
    cores,
    coverage,
    follow_up,
    is_another_thing,
    named_option,
    parts,
    passage_on,
    subject_of,
    unsolved,
)
from bot.dialogue.types import Utterance
from knowledge.types import Entry

ANSWERED = (
    Utterance("user", "买的东西不想要了怎么退"),
    Utterance(
        "bot", "在「我的订单」里点申请退货。\n1. 打包\n2. 叫快递\n3. 填单号", "answer", (), ("r",), ("怎么申请退货",)
    ),
)
DAMAGE = Entry(
    "d", "收到的商品破损了怎么办", "请在签收后 **48 小时内**拍下外箱和破损处的照片。核实后任选免费补发或全额退款。"
)


@pytest.mark.parametrize(
    "text",
    [
        "那运费呢",
        "运费呢？",
        "那么发票",
        "要多久",
        "多久到账",
        "什么时候能退",
        "好的，那要多久呢",
        "第二步怎么弄",
        "不是，我说的是换货",
        "能跟积分一起用吗",
        "可不可以和别的券一起用",
        "要来几次",
        "总共得跑几趟啊",
        "扣多少",
    ],
)
def test_what_surely_leans_on_the_subject(text):
    lean = follow_up(text, ANSWERED)
    assert lean is not None
    assert lean.surely
    assert lean.subject == "怎么申请退货"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("那运费呢", "运费"),
        ("那要多久呢", "要多久"),
        ("不是，我说的是换货", "换货"),
        ("第二个怎么弄", "叫快递 怎么弄"),
        ("它要寄回去吗", "要寄回去吗"),
        ("and the freight, who pays it?", "the freight, who pays"),
    ],
)
def test_what_is_added(text, words):
    lean = follow_up(text, ANSWERED)
    assert lean is not None
    assert lean.surely
    assert lean.words == words
    assert lean.query == f"怎么申请退货 {words}"


@pytest.mark.parametrize(
    ("subject", "text", "asked"),
    [
        ("PPR-9087电池多大", "PPR-9088呢", "ppr-9088电池多大"),
        ("PPR-9087 和 PPR-9086 哪个好", "PPR-9088呢", ""),  # one cannot tell which
        ("退货运费谁出", "那换货呢", "换货运费谁出"),
        ("绿茶保质期多久", "红茶呢", "红茶保质期多久"),
        ("绿茶保质期多久", "普洱呢", ""),
        ("怎么申请退货", "多久到账", ""),
        ("How do I cancel my booking?", "what about 4pm", ""),  # no letters within a word
    ],
)
def test_the_subject_asked_of_another_thing(subject, text, asked):
    lean = follow_up(text, (Utterance("bot", "……", "answer", (), ("r",), (subject,)),))
    assert lean is not None
    assert lean.transferred == asked


def test_what_stands_alone():
    assert follow_up("那运费呢", ()) is None
    assert follow_up("我上个月在你们店里买的那个杯子的盖子坏了想单独买一个盖子可以吗", ANSWERED) is None
    short = follow_up("会员怎么升级", ANSWERED)
    assert short is not None
    assert not short.surely
    assert follow_up("", ANSWERED) is None
    assert follow_up("。。。", ANSWERED) is None


def test_the_subject_is_what_was_answered_last_not_what_leaned_on_it():
    leaning = (*ANSWERED, Utterance("user", "要多久"), Utterance("bot", "您想问哪个？", "clarify", ("甲", "乙")))
    assert subject_of(leaning) == "怎么申请退货"
    unanswered = (
        Utterance("user", "你好"),
        Utterance("bot", "您好", "chitchat"),
        Utterance("user", "炖锅的盖子单卖吗"),
    )
    assert subject_of(unanswered) == "炖锅的盖子单卖吗"
    assert subject_of(()) == ""


def test_another_question_is_a_subject_of_its_own_and_a_bare_name_is_not():
    offered = Utterance("bot", "您想问哪个？", "clarify", ("甲", "乙"))
    assert subject_of((*ANSWERED, Utterance("user", "还有，炖锅的盖子单卖吗"), offered)) == "还有，炖锅的盖子单卖吗"
    assert subject_of((*ANSWERED, Utterance("user", "还有运费呢"), offered)) == "怎么申请退货"


def test_what_was_refused_is_no_subject_nor_is_what_was_before_it():
    refused = (*ANSWERED, Utterance("user", "今天杭州天气怎么样"), Utterance("bot", "帮不上您", "refuse"))
    assert subject_of(refused) == ""
    assert follow_up("那明天呢", refused) is None


def test_the_clauses_of_a_message():
    assert clauses("几点关门，我七点半才下班") == ("几点关门", "我七点半才下班")
    assert clauses("谢谢，几点关门") == ()
    assert clauses("几点关门") == ()


@pytest.mark.parametrize(
    "text",
    [
        "还是不行",
        "试过了还是不行啊",
        "没用",
        "重启也没用",
        "换了个手机也一样",
        "按你说的做了，还是没反应",
        "still not working",
    ],
)
def test_what_says_that_it_did_not_help(text):
    assert unsolved(text, ANSWERED)
    assert not unsolved(text, ())
    assert not unsolved(text, (Utterance("bot", "您好", "chitchat"),))


@pytest.mark.parametrize(
    "text", ["不行的话能换吗", "没用过的能退吗", "还是不行就退货吧怎么退", "可以", "别的颜色也一样吗"]
)
def test_questions_are_no_complaint_of_it(text):
    assert not unsolved(text, ANSWERED)


def test_several_questions():
    assert parts("怎么开发票？抬头能改吗？") == ("怎么开发票？", "抬头能改吗？")
    assert parts("运费多少，几天能到") == ("运费多少", "几天能到")
    assert parts("你好！怎么退货？") == ()
    assert parts("我昨天买的杯子碎了。怎么办？") == ()
    assert parts("怎么退货") == ()
    assert parts("多少？" * 9) == ()


def test_how_much_of_what_is_asked_an_entry_speaks_of():
    assert coverage("要拍照吗", DAMAGE) < coverage("外箱破损要拍下吗", DAMAGE) == pytest.approx(0.7 * 0.75 + 0.15)
    assert coverage("多久", DAMAGE) > coverage("多久", Entry("e", "怎么换货", "点申请换货。"))
    assert coverage("多少钱", Entry("e", "怎么换货", "点申请换货。")) == pytest.approx(0.35)
    assert coverage("能开专票吗", DAMAGE) == pytest.approx(0.15)


def test_only_the_sentences_that_say_it():
    assert passage_on("要拍照吗", DAMAGE) == "请在签收后 **48 小时内**拍下外箱和破损处的照片。"
    assert passage_on("是补发还是退款", DAMAGE) == "核实后任选免费补发或全额退款。"
    assert passage_on("多久", DAMAGE).startswith("请在签收后")
    assert passage_on("能开专票吗", DAMAGE) == DAMAGE.answer
    assert passage_on("还有别的办法吗", DAMAGE) == DAMAGE.answer


def test_what_an_english_entry_says():
    pool = Entry("p", "Is there a pool?", "Open 7:00–22:00; closed on the first Monday. Caps ¥30.")
    assert passage_on("is it open on mondays", pool) == pool.answer
    assert coverage("how much is it", pool) == pytest.approx(0.7 * 0.5 + 0.3)
    assert coverage("what about the caps", pool) > coverage("what about the sauna", pool)


def test_the_question_behind_what_is_said_around_it():
    assert "能不能自提" in cores("不好意思小孩乱按的 我想问下能不能自提")
    assert "包邮吗" in cores("好吧 问个正事 包邮吗")
    assert "我想改地址" in cores("不对 我不取消了 我想改地址")
    assert "帮我把短信广告关了就行" in cores("算了不注销了 帮我把短信广告关了就行")
    assert cores("包邮吗") == ()


def test_an_offered_question_named_by_its_words():
    offered = ("怎么申请退货", "退货运费谁出", "想换颜色怎么换货")
    assert named_option("运费", offered) == 1
    assert named_option("退货", offered) is None
    assert named_option("怎么换", offered) is None
    assert named_option("发票", offered) is None


@pytest.mark.parametrize(
    ("words", "another"),
    [("羽绒服", True), ("羽绒睡袋", False), ("睡袋", False), ("毛衣", False), ("脏睡袋", False)],
)
def test_a_thing_of_a_kind_is_not_another_thing_of_it(words, another):
    entry = Entry("w", "羽绒睡袋可以机洗吗", "可以用滚筒洗衣机。", ("睡袋脏了能不能干洗",))
    assert is_another_thing(words, entry) is another


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("年卡和季卡有什么区别", ("年卡", "季卡")),
        ("请问年卡跟月卡哪个划算一点呢？", ("年卡多少钱", "月卡多少钱")),
        ("我想问一下，QL-2108 与 QL-2115 哪款更便宜", ("ql-2108多少钱", "ql-2115多少钱")),
        ("大包和小包的差别在哪里", ("大包", "小包")),
        ("年卡和季卡都能转让吗", ()),
        ("和店里价格有区别吗", ()),
        ("哪个便宜", ()),
        ("年卡和年卡有什么区别", ()),
        ("和" * 2000 + "有什么区别", ()),
    ],
)
def test_two_things_that_are_compared(text, asked):
    assert compared(text, None) == asked


def test_an_entry_that_compares_them_itself_is_not_taken_apart():
    text = "年卡和季卡有什么区别"
    assert compared(text, Entry("x", "季卡与年卡的区别", "")) == ()
    assert compared(text, Entry("x", "季卡多少钱", "年卡更便宜。"))
