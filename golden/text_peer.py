"""Times bm25s and tantivy on the passages and queries that the example text_speed wrote.

python text_peer.py FOLDER [bm25s] [bm25s-numba] [tantivy] [tantivy-ingest] prints one JSON line for each contender.
tantivy-ingest keeps ids and texts as well and commits each hundred documents, as the example ingest_speed
writes them; documents per second are of the clock.
One thread. CPU seconds are those of this process and all its threads. Needs bm25s, PyStemmer, numba
and tantivy.
"""

import json
import os
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

K1, B, K = 0.9, 0.4, 10


def cpu():
    return time.process_time()


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def report(contender, texts, queries, build, seconds, searched, best, size):
    print(
        json.dumps(
            {
                "contender": contender,
                "passages": len(texts),
                "k": K,
                "queries": len(queries),
                "build_cpu_s": round(build, 2),
                "bytes": size,
                "queries_per_cpu_s": round(searched / seconds, 1),
                "best_score_mean": best,
            }
        ),
        flush=True,
    )


def run(queries, search):
    """Searches all queries, whole rounds, for two seconds or more."""
    search(queries[0])
    start, before, rounds, best = time.time(), cpu(), 0, 0.0
    while rounds == 0 or time.time() - start < 2.0:
        for query in queries:
            best += search(query)
        rounds += 1
    searched = rounds * len(queries)
    return cpu() - before, searched, best / searched


def bm25s_peer(texts, queries, backend):
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    before = cpu()
    tokens = bm25s.tokenize(texts, stopwords=None, stemmer=stemmer, show_progress=False)
    index = bm25s.BM25(method="lucene", k1=K1, b=B, backend=backend)
    index.index(tokens, show_progress=False)
    build = cpu() - before
    del tokens

    def search(query):
        tokens = bm25s.tokenize([query], stopwords=None, stemmer=stemmer, show_progress=False)
        _, scores = index.retrieve(tokens, k=K, show_progress=False, n_threads=1)
        return float(scores[0, 0])

    size = sum(index.scores[name].nbytes for name in ("data", "indices", "indptr"))
    name = "bm25s" if backend == "numpy" else f"bm25s-{backend}"
    report(name, texts, queries, build, *run(queries, search), size)


def tantivy_peer(texts, queries):
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="en_stem", index_option="freq")
    schema = builder.build()
    with tempfile.TemporaryDirectory() as folder:
        before = cpu()
        index = tantivy.Index(schema, path=folder)
        writer = index.writer(heap_size=1_000_000_000, num_threads=1)
        for text in texts:
            writer.add_document(tantivy.Document(text=text))
        writer.commit()
        writer.wait_merging_threads()
        build = cpu() - before
        index.reload()
        searcher = index.searcher()
        words = [" ".join("".join(c if c.isalnum() else " " for c in q).split()) for q in queries]
        words = [query for query in words if query]
        # A lower-case query has no operators; the words are joined by OR.
        words = [query.lower() for query in words]

        def search(query):
            parsed = index.parse_query(query, ["text"])
            hits = searcher.search(parsed, K, count=False).hits
            return hits[0][0] if hits else 0.0

        size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
        name = f"tantivy ({searcher.num_segments} segments)"
        report(name, texts, queries, build, *run(words, search), size)


def tantivy_ingest(texts, batch=100):
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw")
    builder.add_text_field("text", stored=True, tokenizer_name="en_stem", index_option="freq")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        index = tantivy.Index(builder.build(), path=folder)
        writer = index.writer(heap_size=1_000_000_000, num_threads=1)
        times, start, before = [], time.time(), cpu()
        for first in range(0, len(texts), batch):
            begun = time.time()
            for at, text in enumerate(texts[first : first + batch], first):
                writer.add_document(tantivy.Document(id=f"document-{at}", text=text))
            writer.commit()
            times.append(time.time() - begun)
        seconds, used = time.time() - start, cpu() - before
        writer.wait_merging_threads()
    times.sort()
    line = {"contender": "tantivy-ingest", "documents": len(texts), "batch": batch}
    line["documents_per_s"] = round(len(texts) / seconds, 1)
    line["documents_per_cpu_s"] = round(len(texts) / used, 1)
    line["write_ms"] = {"p50": 1e3 * times[len(times) // 2], "p99": 1e3 * times[len(times) * 99 // 100], "most": 1e3 * times[-1]}
    print(json.dumps(line), flush=True)


def main():
    folder, contenders = sys.argv[1], sys.argv[2:] or ["bm25s", "bm25s-numba", "tantivy"]
    texts, queries = read(folder, "passages.txt"), read(folder, "queries.txt")
    for contender in contenders:
        if contender == "tantivy-ingest":
            tantivy_ingest(texts)
        elif contender == "tantivy":
            tantivy_peer(texts, queries)
        else:
            bm25s_peer(texts, queries, "numba" if contender.endswith("numba") else "numpy")


if __name__ == "__main__":
    main()
