"""Conversation → text → tokens: the chat template and the loss mask, in one place for training and for serving.

What a person wrote never becomes a control token: names such as `<|im_end|>` inside a message are taken out before the
template is applied. The template itself is the model's own (`chat_template` of its folder).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from finetune.errors import FinetuneError

IGNORED = -100
"""The label of a position without loss, as `torch.nn.functional.cross_entropy` has it."""

Messages = Sequence[Mapping[str, Any]]


def render(tokenizer: Any, messages: Messages, add_generation_prompt: bool = False) -> str:
    """The conversation as the model reads it, with the opening of the assistant's turn where a reply is wanted.

    `messages` are `{"role": "system|user|assistant", "content": str}`; other keys are not looked at.
    """
    controls = _control_tokens(tokenizer)
    plain = [{"role": m["role"], "content": _without(str(m["content"]), controls)} for m in messages]
    # Models that think first (Qwen3) answer at once here; other templates do not know the switch.
    return str(
        tokenizer.apply_chat_template(
            plain, tokenize=False, add_generation_prompt=add_generation_prompt, enable_thinking=False
        )
    )


def encode_prompt(tokenizer: Any, messages: Messages) -> list[int]:
    """The token ids that generation starts from: `render(…, add_generation_prompt=True)`."""
    return _ids(tokenizer, render(tokenizer, messages, add_generation_prompt=True))


def encode_example(tokenizer: Any, messages: Messages, max_tokens: int) -> tuple[list[int], list[int]]:
    """Token ids and labels, both of the same length ≤ `max_tokens`; labels are IGNORED outside the assistant's replies.

    A reply's label runs from its first token to the token that ends it, so that the model learns to stop. A reply with
    `"weight": 0` is context only (the form of OpenAI's fine-tuning files). Each prompt is tokenised as serving does,
    and the reply after it: what serving feeds the model is token for token the beginning of what was trained. Where
    the whole is too long, the oldest turns after the system message go.

    Raises:
        FinetuneError: no reply to learn, a template that rewrites earlier turns, or a last turn that is too long.
    """
    kept = [m for m in messages if str(m["content"]).strip() or m["role"] != "assistant"]
    while kept and kept[-1]["role"] != "assistant":
        kept.pop()
    if not kept:
        raise FinetuneError(
            "no_reply", "这段对话没有客服回复，无法用于训练。", "The conversation has no reply to learn from."
        )
    while True:
        ids, labels = _encode(tokenizer, kept)
        if len(ids) <= max_tokens:
            return ids, labels
        oldest = next((i for i, m in enumerate(kept[:-2]) if m["role"] != "system"), None)
        if oldest is None:
            raise FinetuneError(
                "example_too_long",
                f"这条训练样例有 {len(ids)} 个 token，最多 {max_tokens} 个。",
                f"The training example has {len(ids)} tokens, at most {max_tokens} are allowed.",
            )
        del kept[oldest]


def _encode(tokenizer: Any, messages: Messages) -> tuple[list[int], list[int]]:
    ids: list[int] = []
    labels: list[int] = []
    text = ""
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = render(tokenizer, messages[:i], add_generation_prompt=True)
        whole = render(tokenizer, messages[: i + 1])
        if not (prompt.startswith(text) and whole.startswith(prompt)):
            raise FinetuneError(
                "chat_template_unsupported",
                "这个模型的对话模板会改写前面的内容，无法用于训练。",
                "The model's chat template rewrites earlier text, which training cannot follow.",
            )
        reply, rest = _split_at_end(tokenizer, whole[len(prompt) :])
        context, learned = _ids(tokenizer, prompt[len(text) :]), _ids(tokenizer, reply)
        ids += context + learned
        labels += [IGNORED] * len(context) + (learned if message.get("weight", 1) else [IGNORED] * len(learned))
        text = whole[: len(whole) - len(rest)]
    return ids, labels


def _split_at_end(tokenizer: Any, reply: str) -> tuple[str, str]:
    """The reply with its end token, and what the template puts behind it (a newline that generation never sees)."""
    end = tokenizer.eos_token or ""
    place = reply.rfind(end) if end else -1
    if place < 0:
        stripped = reply.rstrip()
        return stripped, reply[len(stripped) :]
    return reply[: place + len(end)], reply[place + len(end) :]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _control_tokens(tokenizer: Any) -> list[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return sorted({str(t) for t in added if t.special} | set(tokenizer.all_special_tokens), key=len, reverse=True)


def _without(content: str, controls: Sequence[str]) -> str:
    found = True
    while found:  # taking one out can join two halves to another
        found = False
        for token in controls:
            if token in content:
                content, found = content.replace(token, ""), True
    return content
