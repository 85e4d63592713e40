"""The peer of `generator_training.py`, run by the peers' environment: TRL's SFTTrainer with peft's LoRA.

One JSON object a line on standard input, {"examples": [[token ids, labels], …], "batch", "rank", "alpha", "rate",
"tuned"}; answers {"seconds", "cpu_seconds", "loss"} of one pass. `tuned` false: TRL's defaults (float32 weights under
bfloat16 autocast, gradient checkpointing); true: bfloat16 weights, nothing computed twice, batches by length.
"""

import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def train(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_dict(
        {"input_ids": [ids for ids, _ in asked["examples"]], "labels": [labels for _, labels in asked["examples"]]}
    )
    tuned = {
        "gradient_checkpointing": False,
        "train_sampling_strategy": "group_by_length",
        "model_init_kwargs": {"dtype": "bfloat16"},
    }
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            output_dir=scratch,
            num_train_epochs=1,
            per_device_train_batch_size=asked["batch"],
            learning_rate=asked["rate"],
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
            **(tuned if asked["tuned"] else {}),
        )
        lora = LoraConfig(
            r=asked["rank"], lora_alpha=asked["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        )
        trainer = SFTTrainer(model=str(folder), args=arguments, train_dataset=data, peft_config=lora)
        started, worked = time.perf_counter(), time.process_time()
        outcome = trainer.train()
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - worked,
            "loss": outcome.training_loss,
        }


def main(folder: Path) -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        with redirect_stdout(sys.stderr):  # the trainer tells its own figures there
            answer = train(folder, json.loads(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
