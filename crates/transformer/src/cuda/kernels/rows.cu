// Copies between formats, and sums of rows in a given order; one thread a value.

struct WidenArgs {
    const real *from; // [count]
    float *to;        // [count]
    u32 count;
};

struct NarrowArgs {
    const float *from; // [count]
    real *to;          // [count]
    u32 count;
};

struct SumRowsArgs {
    const float *from;  // rows of `width`
    const u32 *starts;  // [rows + 1], where each sum's terms begin in `sources`
    const u32 *sources; // rows of `from`, in the order in which they are summed
    float *to;          // [rows, width], overwritten; 0 where there are no terms
    u32 rows;
    u32 width;
};

KERNEL(widen, WidenArgs, THREADS) {
    u64 at = thread_of_launch();
    if (at < a.count) a.to[at] = load(a.from + at);
}

KERNEL(narrow, NarrowArgs, THREADS) {
    u64 at = thread_of_launch();
    if (at < a.count) store(a.to + at, a.from[at]);
}

// The gradient of a text that a loss reads in several places.
KERNEL(sum_rows, SumRowsArgs, THREADS) {
    u64 at = thread_of_launch();
    if (at >= (u64)a.rows * a.width) return;
    u32 row = at / a.width, i = at % a.width;
    float sum = 0.0f;
    for (u32 term = a.starts[row]; term < a.starts[row + 1]; term++) {
        sum = sum + a.from[(u64)a.sources[term] * a.width + i];
    }
    a.to[at] = sum;
}
