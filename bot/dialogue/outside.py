"""Questions that have nothing to do with any shop: weather, verses, homework, the news. Asked only where nothing was
found, so that no company's own subject is ever declined.
"""

import re
from collections.abc import Iterable

from knowledge.text import simplify

_OUTSIDE = re.compile(
    "天气|下雨|下雪吗|气温|台风|空气质量|(?:写|作|做|编|来|讲|说|背|唱|念|画)(?:一|个|首|篇|段|点|张|幅)*(?:诗|"
    "词|歌|作文|文章|小说|故事|笑话|段子|情书|论文|代码|"
    "程序|脚本|文案|对联|绕口令|画)|代码怎么写|用(?:python|java|c\\+\\+)|"
    "翻译(?:成|一下|这|下面)|股票|基金|大盘|股市|彩票|双色球|比特币|房价|油价|汇率|"
    "星座|算命|运势|解梦|塔罗|八字|"
    "总统|主席|首相|总理是|国家领导|政治|台独|选举|战争|打仗|世界杯|奥运|球赛|比分|冠军是|nba|欧冠|英超|"
    "皇帝|朝代|唐朝|宋朝|明朝|清朝|秦始皇|李白|杜甫|鲁迅|三国|红楼梦|历史上|首都是|哪个国家|"
    "电影|电视剧|综艺|明星|歌手|演员|小说推荐|好听的歌|游戏攻略|王者荣耀|"
    "微积分|方程|几何|求导|数学题|作业题|物理题|化学题|等于几|等于多少(?!元|块)|平方根|圆周率|"
    "陪我聊|陪我玩|你爱我|我爱你|你喜欢我|做我女朋友|做我男朋友|你几岁|你多大了|你吃饭了|你有感情|"
    "感冒吃什么|发烧怎么办|头疼|头痛|肚子疼|吃什么药|什么病|怎么减肥|高考|考研|"
    r"\b(?:weather|forecast|poem|joke|story|song|lyrics|essay|homework|python|javascript|stock price|bitcoin|"
    r"lottery|horoscope|president|"
    r"prime minister|election|capital of|movie|football|world cup|recipe for|meaning of life)\b"
)


def outside(text: str, known: Iterable[str] = ()) -> bool:
    """Whether the message is about something customer service does not deal with, nor any of the `known` questions."""
    found = _OUTSIDE.search(simplify(text).casefold())
    return found is not None and not any(found.group() in simplify(one).casefold() for one in known)
