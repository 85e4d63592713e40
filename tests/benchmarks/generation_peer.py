"""The peer of `generation.py`, run by its own environment: llama.cpp writes, greedily, from tokens it is given.

One JSON order a line on standard input, one JSON answer a line: {"prompt": [token…], "tokens_max", "end": [token…]} →
{"first": seconds, "seconds", "written": [token…]}. The beginning that the prompt shares with the one before is not
computed again: llama-cpp-python sees to that. The clock runs in here.
"""

import json
import sys
import time


def main(model: str, threads: int) -> None:
    from llama_cpp import Llama

    writer = Llama(
        model, n_ctx=4096, n_threads=threads, n_threads_batch=threads, n_batch=1024, n_ubatch=512, verbose=False
    )
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        started = time.perf_counter()
        first, written = 0.0, []
        for token in writer.generate(order["prompt"], temp=0.0, repeat_penalty=1.0):
            first = first or time.perf_counter() - started
            if token in order["end"]:
                break
            written.append(token)
            if len(written) == order["tokens_max"]:
                break
        print(json.dumps({"first": first, "seconds": time.perf_counter() - started, "written": written}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
