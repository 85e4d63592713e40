"""The peer of `encoder_training.py`, run by the peers' environment: sentence-transformers' trainer with peft's LoRA.

One JSON object a line on standard input, {"pairs": [[anchor, positive], …], "epochs", "batch", "bf16"}; answers
{"seconds", "loss"}. The same LoRA as the product's: rank 16, alpha 32, on every linear layer.
"""

import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

LINEAR = r".*layer\.\d+\..*(query|key|value|dense)"


def train(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from datasets import Dataset
    from peft import LoraConfig
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from sentence_transformers.models import Normalize, Pooling, Transformer

    words = Transformer(str(folder), max_seq_length=96)
    model = SentenceTransformer(modules=[words, Pooling(384, "mean"), Normalize()], device="cpu")
    model.add_adapter(LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, task_type="FEATURE_EXTRACTION"))
    rows = [["query: " + text for text in pair] for pair in asked["pairs"]]
    data = Dataset.from_dict({"anchor": [a for a, _ in rows], "positive": [b for _, b in rows]})
    with tempfile.TemporaryDirectory() as scratch:
        arguments = Arguments(
            output_dir=scratch,
            num_train_epochs=asked["epochs"],
            per_device_train_batch_size=asked["batch"],
            learning_rate=5e-4,
            warmup_steps=0.1,
            lr_scheduler_type="cosine",
            bf16=asked["bf16"],
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(model, scale=20.0)
        )
        started = time.perf_counter()
        outcome = trainer.train()
        return {"seconds": time.perf_counter() - started, "loss": outcome.training_loss}


def main(folder: Path) -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        with redirect_stdout(sys.stderr):  # the trainer tells its own figures there
            answer = train(folder, json.loads(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
