"""The peer of `langchain_faiss.py`, run by its own environment: a question at a time, or all of them, over FAISS.

One JSON order a line on standard input, one JSON answer a line: {"index": [[id, text]…]} → {"seconds"};
{"ask": query} → {"ranked", "milliseconds"}; {"rank": [query…]} → {"ranked": [[id…]…]}. The clock runs in here, so that
handing orders over costs it nothing.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

K = 10
BATCH = 64


def main(folder: Path, dtype: str, threads: int) -> None:
    import torch
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy
    from langchain_huggingface import HuggingFaceEmbeddings

    torch.set_num_threads(threads)
    encode = {"normalize_embeddings": True, "prompt": "query: ", "batch_size": BATCH}
    embeddings = HuggingFaceEmbeddings(
        model_name=str(folder),
        model_kwargs={"device": "cpu", "model_kwargs": {"dtype": dtype}},
        encode_kwargs=encode,
        query_encode_kwargs=encode,
    )
    print(json.dumps({"ready": True}), flush=True)
    store: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        started = time.perf_counter()
        if "index" in order:
            ids, texts = zip(*order["index"], strict=True)
            # The inner product of unit vectors, exact, which is faster than its default, the squared distance.
            store = FAISS.from_texts(
                list(texts),
                embeddings,
                metadatas=[{"id": id_} for id_ in ids],
                distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
            )
            answer: dict[str, Any] = {"seconds": time.perf_counter() - started}
        elif "ask" in order:
            found = store.similarity_search_with_score(order["ask"], K)
            milliseconds = (time.perf_counter() - started) * 1000
            answer = {"ranked": [one.metadata["id"] for one, _ in found], "milliseconds": milliseconds}
        else:
            vectors = embeddings.embed_documents(order["rank"])
            found = (store.similarity_search_with_score_by_vector(vector, K) for vector in vectors)
            answer = {"ranked": [[one.metadata["id"] for one, _ in hits] for hits in found]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
