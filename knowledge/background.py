"""What "unrelated" looks like to an encoder: the similarity between questions that ask different things."""

import numpy as np

from knowledge.rank import Background
from knowledge.types import Vectors

SAMPLE = 512
# Everyday questions that have little to do with each other: what "unrelated" looks like to an encoder before the
# company's own entries say it, and a counterweight while these are few.
GENERIC_QUESTIONS = (
    "怎么退货", "发票什么时候开", "快递几天能到", "会员有什么优惠", "忘记密码怎么办",
    "支持货到付款吗", "商品有色差怎么办", "如何修改收货地址", "可以用花呗分期吗", "保修期是多久",
    "怎么联系人工客服", "优惠券怎么用不了", "你们几点上班", "这个药饭前吃还是饭后吃", "信用卡额度怎么提升",
    "路由器连不上网", "航班延误可以改签吗", "孩子发烧要去医院吗", "怎样注销账号", "尺码偏大还是偏小",
    "今天天气怎么样", "请问怎么申请贷款", "软件闪退怎么解决", "电影票能退吗",
)  # fmt: skip
GENERIC_WEIGHT = 30
SAME_SIMILARITY, SAME_MAX = 0.97, 4


def measure(generic: Vectors, sample: Vectors) -> Background:
    """From the vectors of `GENERIC_QUESTIONS` and of a sample of the company's own entries, [n, dimension] each."""
    mean, deviation = _spread(generic)
    sample = _thinned(sample)
    if len(sample) > 1:
        own_mean, own_deviation = _spread(sample)
        share = len(sample) / (len(sample) + GENERIC_WEIGHT)
        mean, deviation = (share * own_mean + (1 - share) * mean, share * own_deviation + (1 - share) * deviation)
    return Background(mean, max(deviation, 1e-3))


def _thinned(sample: Vectors) -> Vectors:
    """The sample with a few of those that are nearly the same: the rows of a price list ask one question of very many
    products, and would make unrelated questions look alike.
    """
    near = sample @ sample.T >= SAME_SIMILARITY
    kept: list[int] = []
    like_kept = np.zeros(len(sample), dtype=np.int64)
    for at in range(len(sample)):
        if like_kept[at] < SAME_MAX:
            kept.append(at)
            like_kept += near[at]
    return sample[kept]


def _spread(vectors: Vectors) -> tuple[float, float]:
    """Mean and standard deviation of the similarity between different rows."""
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return float(pairs.mean()), float(pairs.std())
