"""Every text the bot says by itself, with what it stands for: the company may replace each in its own words.

`{company}`, `{assistant}` and `{hours}` are filled in; other braces stay as they are.
"""

from types import MappingProxyType

Pair = tuple[str, str]

TEXTS: MappingProxyType[str, Pair] = MappingProxyType(
    {
        # small talk
        "greeting": (
            "您好，我是{company}的{assistant}，请问有什么可以帮您？",
            "Hello, this is {assistant} of {company}. How can I help you?",
        ),
        "thanks": ("不客气，还有问题随时问我。", "You are welcome. Ask me any time."),
        "bye": (
            "好的，祝您生活愉快，有需要随时找我。",
            "All right. Have a good day, and come back any time.",
        ),
        "identity": (
            "我是{company}的智能客服{assistant}，不是真人。您可以直接问我问题；需要人工帮助时，请说「转人工」。",
            "I am {assistant}, the automatic assistant of {company}. Just ask, or say “human agent” for a person.",
        ),
        "acknowledgement": (
            "好的，还有其他问题请直接告诉我。",
            "All right. If there is anything else, just ask.",
        ),
        "cancel": (
            "好的，已取消。还有其他问题请直接告诉我。",
            "All right, cancelled. If there is anything else, just ask.",
        ),
        # asking back
        "clarify_one": ("您想问的是下面这个问题吗？", "Is this what you would like to know?"),
        "clarify": ("您想问的是下面哪一个？", "Which of these would you like to know?"),
        # handing over: each is followed by how to reach a person, and outside the hours by `closed`
        "person": ("好的，这就告诉您怎么找到人工客服。", "Of course, here is how to reach a person."),
        "complaint": (
            "非常抱歉给您带来了不好的体验。您的投诉由专人处理，请说一下事情经过，有单号的请一起发来。",
            "I am very sorry. A person will look into your complaint: please say what happened, with any order number.",
        ),
        "anger": (
            "很抱歉给您带来了不好的感受。请告诉我具体遇到了什么问题，我马上帮您看；也可以直接找人工处理。",
            "I am sorry that this has upset you. Tell me what went wrong and I will look at once, or talk to a person.",
        ),
        "failed": (
            "抱歉，连着两次都没能帮上您，这个问题还是请人工来处理。",
            "I am sorry that I could not help you twice in a row; a person had better look at this.",
        ),
        "unsolved": (
            "抱歉，刚才的办法没能解决您的问题。请告诉我卡在哪一步、看到了什么提示，或者直接找人工处理。",
            "I am sorry that this did not help. Tell me where it gets stuck and what you see, or talk to a person.",
        ),
        "topic": (
            "这个问题需要由专人为您处理。",
            "This is for a person of ours to see to.",
        ),
        "rule": (
            "这件事由人工客服为您办理。",
            "A person of ours will see to this.",
        ),
        "no_answer": ("抱歉，这个问题我没有找到准确的答案。", "I am sorry, I have found no reliable answer to this."),
        "not_among": (
            "抱歉没有猜对。请换一种说法，说得具体一些，我再帮您找。",
            "Sorry for the wrong guess. Please put it another way, with a little more detail.",
        ),
        "action": (
            "抱歉，这项查询暂时没有成功，请稍后再试。",
            "Sorry, this did not work just now. Please try again later.",
        ),
        "closed": ("现在是休息时间，人工客服的服务时间：{hours}。", "We are closed now. Our hours: {hours}."),
        # while one is called: said after that, where the company's staff answer at the desk
        "waiting": (
            "已经通知人工客服，接入后会直接在这里回复您，请稍候。等待时可以继续问我；不想等了，请说「不用人工了」。",
            "Our staff have been called and will reply right here. Meanwhile go on asking me, or say “no agent”.",
        ),
        "offer_person": (
            "需要人工客服来看的话，请说「转人工」。",
            "If you would like a person to look at it, say “human agent”.",
        ),
        "still_waiting": (
            "人工客服还没有接入，您说的话都会转给他们，请再稍等一下。",
            "Nobody has joined yet; what you write is kept for our staff. Please wait a little longer.",
        ),
        "message_left": (
            "您的话已经留给人工客服，他们看到后会在这里回复您。",
            "Your words are kept for our staff; they will reply right here when they see them.",
        ),
        "joined": ("人工客服已接入，请直接说您的问题。", "A colleague has joined you; please go on."),
        "called_off": (
            "好的，不再等人工了，我继续为您服务。请问还有什么可以帮您？",
            "All right, no more waiting. What else can I do for you?",
        ),
        # declining
        "refused": (
            "抱歉，您的消息里有不便处理的内容。请换一种说法，我很乐意继续帮您。",
            "Sorry, I cannot deal with what is in your message. Please put it another way and I will gladly help.",
        ),
        "outside": (
            "抱歉，这个问题不在我能解答的范围内。和{company}有关的问题，请随时问我。",
            "Sorry, this is outside what I can help with. I answer questions about {company}; please ask me any time.",
        ),
        "empty": ("请输入您的问题。", "Please type your question."),
    }
)
# What a warm voice says instead (the others stay).
WARM: MappingProxyType[str, Pair] = MappingProxyType(
    {
        "greeting": (
            "您好呀，我是{company}的{assistant}，有什么可以帮您的吗？",
            "Hi there, I'm {assistant} of {company}. What can I do for you?",
        ),
        "thanks": ("不客气呀，能帮上您就好，有问题随时来找我～", "My pleasure! I'm here whenever you need me."),
        "bye": ("好嘞，祝您每天都开心，有需要随时来找我～", "Take care, and come back any time!"),
        "acknowledgement": ("好嘞，还有别的问题随时告诉我～", "Great! If there is anything else, just ask."),
        "cancel": (
            "好的，已经取消啦，还有别的问题随时告诉我～",
            "All right, that is cancelled. Anything else? Just ask.",
        ),
        "clarify_one": ("您是想问下面这个问题吗？", "Is this what you'd like to know?"),
        "clarify": ("您想问的是下面哪一个呢？", "Which of these would you like to know?"),
        "person": ("好的，这就告诉您怎么找到人工客服～", "Sure, let me get you to a person."),
        "no_answer": (
            "不好意思，这个问题我还没有找到准确的答案。",
            "I'm sorry, I haven't found a reliable answer to this.",
        ),
        "outside": (
            "不好意思，这个问题我帮不上忙。和{company}有关的问题，随时问我哦～",
            "Sorry, I can't help with this one. Anything about {company}, just ask!",
        ),
    }
)
TONES = ("polite", "warm")
