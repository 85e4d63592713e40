import pytest

from knowledge.coverage import ANSWER_CHARACTERS_MAX, coverage
from knowledge.lexical import LexicalIndex
from knowledge.text import tokens


def share(query: str, wordings: list[str], answer: str = "") -> float:
    return coverage(dict.fromkeys(tokens(query), 1.0), [tokens(one) for one in wordings], answer)


def test_all_wordings_and_the_answer_count_together() -> None:
    assert share("公猫绝育", ["公猫绝育多少钱"]) == 1
    assert share("公猫绝育", ["公猫多少钱", "绝育"]) == pytest.approx(6 / 7)
    assert share("公猫绝育", ["公猫多少钱"], "公貓絕育 580 元") == 1
    assert share("公狗绝育", ["公猫绝育多少钱"], "公猫绝育 580 元") == pytest.approx(4 / 7)
    assert share("WiFi 密码", [], "WIFI 密碼在桌上") == 1


def test_nothing_is_covered_by_nothing() -> None:
    assert share("", ["公猫"]) == 0
    assert share("公猫", []) == 0
    assert share("公猫", [], "x" * ANSWER_CHARACTERS_MAX + "公猫") == 0


def test_rare_words_weigh_more() -> None:
    index = LexicalIndex()
    for slot, text in enumerate(("洗澡多少钱", "疫苗多少钱", "寄养多少钱")):
        index.add(slot, tokens(text))
    rarities = index.rarities(tokens("兔子多少钱"))
    assert rarities["兔"] > rarities["钱"] > 0
    assert coverage(rarities, [tokens("洗澡多少钱")], "") < 0.5
