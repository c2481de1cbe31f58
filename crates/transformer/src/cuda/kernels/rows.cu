// Copies between formats, one thread eight values, and sums of rows in a given order, one a value.

struct WidenArgs {
    const real *from; // [count]
    float *to;        // [count]
    u64 count;
};

struct NarrowArgs {
    const float *from; // [count]
    real *to;          // [count]
    u64 count;
};

struct SumRowsArgs {
    const float *from;  // rows of `width`
    const u32 *starts;  // [rows + 1], where each sum's terms begin in `sources`
    const u32 *sources; // rows of `from`, in the order in which they are summed
    float *to;          // [rows, width], overwritten; 0 where there are no terms
    u32 rows;
    u32 width;
};

template <class From, class To>
DEVICE void copy_eight(const From *from, To *to, u64 at, u64 count) {
    if (at < count) store_eight(to + at, floats_of(load_raw(from + at, count - at)), count - at);
}

KERNEL(widen, WidenArgs, THREADS) {
    copy_eight(a.from, a.to, thread_of_launch() * 8, a.count);
}

KERNEL(narrow, NarrowArgs, THREADS) {
    copy_eight(a.from, a.to, thread_of_launch() * 8, a.count);
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
