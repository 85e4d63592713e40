"""The model card of an exported adapter, in the Hugging Face form: YAML front matter, then Markdown.

https://huggingface.co/docs/hub/model-cards
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetune.catalogue import find_spec

if TYPE_CHECKING:
    from finetune.registry import Manifest

_TASKS = {
    "encoder": ("sentence-similarity", "feature-extraction", "检索（向量）模型", "encoder for retrieval"),
    "generator": ("text-generation", "text-generation", "生成模型", "generator"),
}
_LIBRARY = "peft"


def model_card(manifest: "Manifest") -> str:
    """`README.md` of the exported folder: what it is, on which base, from which data, measured how; no examples."""
    spec = find_spec(manifest.base_model)
    base = spec.hub if spec else manifest.base_model
    task, loaded_as, zh, en = _TASKS.get(manifest.kind, _TASKS["encoder"])
    front = [
        "---",
        f"base_model: {json.dumps(base)}",
        f"library_name: {_LIBRARY}",
        f"pipeline_tag: {task}",
        "language:",
        "- zh",
        "tags:",
        "- lora",
        "- kefu",
        f"- base_model:adapter:{base}",
        "---",
    ]
    model = "AutoModel" if manifest.kind == "encoder" else "AutoModelForCausalLM"
    facts = [
        ("基础模型 Base model", f"{manifest.base_model}（SHA-256 `{manifest.base_checksum}`）"),
        ("训练样例 Examples", str(manifest.examples)),
        ("数据哈希 Data", f"`{manifest.data_hash}`"),
        ("参数 Options", f"`{json.dumps(manifest.config, ensure_ascii=False, sort_keys=True)}`"),
        ("上一版 Parent", manifest.parent or "–"),
        ("Kefu", manifest.code_version or "–"),
        ("训练时间 Trained at", manifest.created_at),
        ("签名 Signed by", f"`{manifest.signature.get('key', '–')}`"),
    ]
    lines = [
        *front,
        "",
        f"# {manifest.name}",
        "",
        f"Kefu（客服）训练的 LoRA 适配器：{zh}，{loaded_as}。A LoRA adapter trained with Kefu: {en}.",
        "",
        *[f"* {name}: {value}" for name, value in facts],
        "",
        "## 比较 Comparison",
        "",
        manifest.verdict.get("zh", ""),
        "",
        manifest.verdict.get("en", ""),
        "",
        *_table(manifest.metrics),
        "## 用法 Use",
        "",
        "```python",
        "from peft import PeftModel",
        f"from transformers import {model}",
        "",
        f'model = PeftModel.from_pretrained({model}.from_pretrained("{base}"), ".")',
        "```",
        "",
        "另一处 Kefu 用 `kefu adapters import` 导入：先在那里的题目上测试，再签名。",
        "Another Kefu imports it with `kefu adapters import`, which measures it there before it is signed.",
        "",
    ]
    return "\n".join(lines)


def _table(metrics: Mapping[str, Any]) -> list[str]:
    before, after = metrics.get("before") or {}, metrics.get("after") or {}
    rows = [f"| {name} | {before.get(name, '–')} | {value} |" for name, value in after.items()]
    return ["| | 之前 before | 之后 after |", "| --- | --- | --- |", *rows, ""] if rows else []
