#!/usr/bin/env python3
"""Times faiss, hnswlib and usearch on what `crates/index/examples/dense_speed.rs` is timed on.

make  FOLDER EMBEDDINGS.npy... --base N [--new N] [--queries N] [--replaced-one-of N]
      writes base.fvecs, new.fvecs and queries.fvecs, and the true neighbours, truth-before.ivecs and truth-after.ivecs,
      where after is when a fifth of the vectors, or another part, has been replaced. The first rows of the embeddings are the queries, real and never
      in the base. Where more vectors are wanted than there are, each is two real ones mixed (the second, the likest of
      eight drawn ones, with weight 0.1 to 0.5) with noise of length 0.2, made of unit length again.
time  FOLDER LIBRARY...
      prints a JSON line for each library, effort and stage: building, searching, searching while a fifth of the vectors
      is replaced (a hundred removals, as many insertions, ten searches), and searching after that. Libraries: hnswlib, usearch-f32,
      usearch-f16, usearch-bf16, usearch-i8, and faiss:FACTORY such as faiss:HNSW16_SQ8. faiss cannot remove from HNSW.

Everything is cosine, as the dot product of unit vectors, k 10. Searches run on one thread; times are CPU seconds.
"""

import argparse
import contextlib
import json
import os
import resource
import time

import numpy

K = 10
STEP = 20_000
REPLACED_ONE_OF = 5
SEARCHED_ONE_OF = 10
# A context that each piece of heavy work runs in; whoever shares a machine may put a lock here.
turn = contextlib.nullcontext


def read_rows(path):
    flat = numpy.fromfile(path, numpy.float32)
    dimensions = int(flat[:1].view(numpy.uint32)[0])
    return numpy.ascontiguousarray(flat.reshape(-1, dimensions + 1)[:, 1:])


def write_rows(path, rows):
    with open(path, "wb") as out:
        for part in numpy.array_split(rows, max(1, len(rows) // STEP)):
            framed = numpy.empty((len(part), part.shape[1] + 1), numpy.float32)
            framed[:, 1:] = part if part.dtype == numpy.float32 else part.astype(numpy.uint32).view(numpy.float32)
            framed[:, 0] = numpy.array([part.shape[1]], numpy.uint32).view(numpy.float32)[0]
            framed.tofile(out)


def mixed(real, count, seed):
    """`count` vectors, each two real ones mixed with noise."""
    random = numpy.random.default_rng(seed)
    out = numpy.empty((count, real.shape[1]), numpy.float32)
    for start in range(0, count, STEP):
        size = min(STEP, count - start)
        first = real[random.integers(len(real), size=size)]
        drawn = real[random.integers(len(real), size=(size, 8))]
        likest = numpy.einsum("ijk,ik->ij", drawn, first).argmax(axis=1)
        second = drawn[numpy.arange(size), likest]
        weight = random.uniform(0.1, 0.5, (size, 1)).astype(numpy.float32)
        noise = random.standard_normal((size, real.shape[1]), numpy.float32)
        noise *= 0.2 / numpy.linalg.norm(noise, axis=1, keepdims=True)
        rows = (1 - weight) * first + weight * second + noise
        out[start : start + size] = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
    return out


def make(args):
    real = numpy.concatenate([numpy.load(path).astype(numpy.float32) for path in args.embeddings])
    real /= numpy.linalg.norm(real, axis=1, keepdims=True)
    queries, real = real[: args.queries], real[args.queries :]
    wanted = args.base + args.new
    rows = real[:wanted] if wanted <= len(real) else mixed(real, wanted, args.seed)
    write_rows(f"{args.folder}/queries.fvecs", queries)
    write_rows(f"{args.folder}/base.fvecs", rows[: args.base])
    write_rows(f"{args.folder}/new.fvecs", rows[args.base :])
    living = numpy.arange(args.base)
    write_rows(f"{args.folder}/truth-before.ivecs", exact(rows, living, queries))
    living = list(living)
    for at in range(replaced(args.base, args.new, args.replaced_one_of)):
        replace(living, at, args.base)
    write_rows(f"{args.folder}/truth-after.ivecs", exact(rows, numpy.array(living), queries))


def replaced(base, new, one_of=REPLACED_ONE_OF):
    return min(base // one_of, new)


def replace(living, at, base):
    """What `dense_speed` replaces in its step `at`: returns which slot goes."""
    place = at * 7919 % len(living)
    gone, living[place] = living[place], base + at
    return gone


class Hnswlib:
    def __init__(self, dimensions, capacity, args, _):
        import hnswlib

        self.index = hnswlib.Index("ip", dimensions)
        self.index.init_index(capacity, M=args.links, ef_construction=args.construction, allow_replace_deleted=True)

    def build(self, rows, first, threads):
        self.index.add_items(rows, numpy.arange(first, first + len(rows)), num_threads=threads)

    def effort(self, effort):
        self.index.set_ef(effort)

    def search(self, queries):
        return self.index.knn_query(queries, K, num_threads=1)[0]

    def remove(self, slot):
        self.index.mark_deleted(slot)

    def insert(self, row, slot):
        self.index.add_items(row, [slot], num_threads=1, replace_deleted=True)


class Usearch:
    def __init__(self, dimensions, capacity, args, kind):
        from usearch.index import Index

        self.index = Index(
            ndim=dimensions, metric="ip", dtype=kind, connectivity=args.links, expansion_add=args.construction
        )

    def build(self, rows, first, threads):
        self.index.add(numpy.arange(first, first + len(rows)), rows, threads=threads)

    def effort(self, effort):
        self.index.expansion_search = effort

    def search(self, queries):
        return numpy.atleast_2d(self.index.search(queries, K, threads=1).keys)

    def remove(self, slot):
        self.index.remove(slot)

    def insert(self, row, slot):
        self.index.add(slot, row, threads=1)


class Faiss:
    remove = None

    def __init__(self, dimensions, capacity, args, kind):
        import faiss

        self.faiss = faiss
        self.index = faiss.index_factory(dimensions, kind, faiss.METRIC_INNER_PRODUCT)
        self.inner = faiss.downcast_index(self.index)
        if hasattr(self.inner, "hnsw"):
            self.inner.hnsw.efConstruction = args.construction

    def build(self, rows, first, threads):
        self.faiss.omp_set_num_threads(threads)
        if not self.index.is_trained:
            self.index.train(rows)
        self.index.add(rows)
        self.faiss.omp_set_num_threads(1)

    def effort(self, effort):
        if hasattr(self.inner, "hnsw"):
            self.inner.hnsw.efSearch = effort
        else:
            self.faiss.extract_index_ivf(self.index).nprobe = effort

    def search(self, queries):
        return self.index.search(queries, K)[1]


def library(name, dimensions, capacity, args):
    kind = name.partition("-")[2] or name.partition(":")[2]
    classes = {"hnswlib": Hnswlib, "usearch": Usearch, "faiss": Faiss}
    return classes[name.replace(":", "-").split("-")[0]](dimensions, capacity, args, kind)


def exact(rows, slots, queries):
    """The true neighbours among the rows of these slots, as slots."""
    best = []
    for part in numpy.array_split(queries, max(1, len(queries) // 1000)):
        scores = numpy.full((len(part), 0), 0, numpy.float32)
        names = numpy.full((len(part), 0), 0, numpy.int64)
        for start in range(0, len(slots), 5 * STEP):
            some = slots[start : start + 5 * STEP]
            block = part @ rows[some].T
            top = numpy.argpartition(-block, K, axis=1)[:, :K]
            scores = numpy.hstack([scores, numpy.take_along_axis(block, top, 1)])
            names = numpy.hstack([names, some[top]])
        order = numpy.argsort(-scores, axis=1)[:, :K]
        best.append(numpy.take_along_axis(names, order, 1))
    return numpy.concatenate(best)


def say(**what):
    print(json.dumps(what), flush=True)


def search_all(index, name, stage, queries, truth, efforts):
    for effort in efforts:
        index.effort(effort)
        with turn():
            start = time.process_time()
            found = index.search(queries)
            seconds = time.process_time() - start
        hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist()))
        recall = hits / truth.size
        say(library=name, stage=stage, effort=effort, recall=round(recall, 4), queries_per_second=round(len(queries) / seconds))


def churn(index, name, base, new, queries, args):
    """The replacements of `dense_speed`, in its order."""
    living = list(range(len(base)))
    count = replaced(len(base), len(new))
    times = dict.fromkeys(["removing", "inserting", "searching"], 0.0)
    index.effort(args.efforts[0])
    for block in range(0, count, STEP):
        with turn():
            for first in range(block, min(block + STEP, count), 100):
                steps = range(first, min(first + 100, count))
                marks = [0.0]
                gone = [replace(living, at, len(base)) for at in steps]
                marks[0] = time.process_time()
                for slot in gone:
                    index.remove(slot)
                marks.append(time.process_time())
                for at in steps:
                    index.insert(new[at], len(base) + at)
                marks.append(time.process_time())
                index.search(queries[[at // SEARCHED_ONE_OF % len(queries) for at in steps[::SEARCHED_ONE_OF]]])
                marks.append(time.process_time())
                for key, begin, end in zip(times, marks, marks[1:]):
                    times[key] += end - begin
    say(
        library=name, stage="during", effort=args.efforts[0], replaced=count,
        queries_per_second=round(count / SEARCHED_ONE_OF / times["searching"]),
        removal_us=round(1e6 * times["removing"] / count, 1), insertion_us=round(1e6 * times["inserting"] / count, 1),
    )


def time_all(args):
    base, new, queries = (read_rows(f"{args.folder}/{name}.fvecs") for name in ("base", "new", "queries"))
    before, after = (read_rows(f"{args.folder}/truth-{name}.ivecs").view(numpy.uint32) for name in ("before", "after"))
    for name in args.libraries:
        memory = memory_bytes()
        index = library(name, base.shape[1], len(base) + 1000, args)
        seconds = 0.0
        for start in range(0, len(base), STEP):
            with turn():
                begin = time.process_time()
                index.build(base[start : start + STEP], start, args.build_threads)
                seconds += time.process_time() - begin
        bytes_each = round((memory_bytes() - memory) / len(base))
        say(library=name, stage="build", vectors=len(base), seconds=round(seconds, 1), bytes_per_vector=bytes_each)
        search_all(index, name, "before", queries, before, args.efforts)
        if index.remove is not None:
            churn(index, name, base, new, queries, args)
            search_all(index, name, "after", queries, after, args.efforts)


def memory_bytes():
    with open("/proc/self/statm") as text:
        return int(text.read().split()[1]) * resource.getpagesize()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("folder")
    command.add_argument("embeddings", nargs="+")
    command.add_argument("--base", type=int, required=True)
    command.add_argument("--new", type=int, default=0)
    command.add_argument("--queries", type=int, default=1000)
    command.add_argument("--replaced-one-of", type=int, default=REPLACED_ONE_OF)
    command.add_argument("--seed", type=int, default=7)
    command.set_defaults(run=make)
    command = commands.add_parser("time")
    command.add_argument("folder")
    command.add_argument("libraries", nargs="+")
    command.add_argument("--links", type=int, default=16)
    command.add_argument("--construction", type=int, default=128)
    command.add_argument("--efforts", type=lambda text: [int(each) for each in text.split(",")], default=[64])
    command.add_argument("--build-threads", type=int, default=1)
    command.set_defaults(run=time_all)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
