// From token rows to one vector a text and back, and vectors of length 1.
// CPU twins: cpu/tables.rs (pool, pool_backward), and in encoder/ `scale_to_unit` and `unpool`.
//
// A text's rows are summed from first to last, so its bits depend on the text alone.

// What becomes of a text, in `modes`.
#define POOL_FIRST 1u // its first row, not the mean of all
#define POOL_AS_IS 2u // the row is a head's to read, and keeps its length

// A shorter vector is divided by this, and has no direction.
#define LENGTH_MIN 1e-12f

struct PoolArgs {
    const real *x;      // [tokens, hidden]
    const u32 *offsets; // [texts + 1]
    const u32 *modes;   // [texts]
    float *out;         // [texts, hidden]
    u32 texts;
    u32 hidden;
};

struct PoolBackwardArgs {
    const float *d_out; // [texts, hidden]
    const u32 *texts;   // [tokens], the text of each row
    const u32 *offsets; // [texts + 1]
    const u32 *modes;   // [texts]
    real *dx;           // [tokens, hidden]
    u32 rows;
    u32 hidden;
};

struct UnitArgs {
    float *rows;      // [texts, hidden], scaled in place
    float *lengths;   // [texts], what each was divided by
    const u32 *modes; // [texts]
    u32 texts;
    u32 hidden;
};

struct UnitBackwardArgs {
    const float *rows;    // [texts, hidden], of length 1
    const float *lengths; // [texts]
    const u32 *modes;     // [texts]
    float *slopes;        // [texts, hidden], in place
    u32 texts;
    u32 hidden;
};

// One thread a value of the output.
KERNEL(pool_forward, PoolArgs, THREADS) {
    u64 at = thread_of_launch();
    if (at >= (u64)a.texts * a.hidden) return;
    u32 text = at / a.hidden, i = at % a.hidden;
    u32 begin = a.offsets[text], end = a.offsets[text + 1];
    if (a.modes[text] & POOL_FIRST) {
        a.out[at] = load(a.x + (u64)begin * a.hidden + i);
        return;
    }
    float sum = 0.0f;
    for (u64 row = begin; row < end; row++) sum = sum + load(a.x + row * a.hidden + i);
    a.out[at] = sum * (1.0f / (float)(end - begin));
}

// One warp a row of dx.
KERNEL(pool_backward, PoolBackwardArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    u32 text = a.texts[row];
    u32 begin = a.offsets[text], end = a.offsets[text + 1];
    float part = 1.0f / (float)(end - begin);
    if (a.modes[text] & POOL_FIRST) part = row == begin ? 1.0f : 0.0f;
    const float *slopes = a.d_out + (u64)text * a.hidden;
    real *dx = a.dx + row * a.hidden;
    each_eight(0, a.hidden, [&](u32 i) {
        Eight eight = eight_of(slopes, i, a.hidden);
#pragma unroll
        for (u32 e = 0; e < 8; e++) eight.at[e] = part == 0.0f ? 0.0f : eight.at[e] * part;
        store_eight(dx + i, eight, a.hidden - i);
    });
}

// One warp a text.
KERNEL(unit_forward, UnitArgs, THREADS) {
    u64 text = row_of_warp();
    if (text >= a.texts) return;
    float *row = a.rows + text * a.hidden;
    float length = 1.0f;
    if (!(a.modes[text] & POOL_AS_IS)) {
        float squares = 0.0f;
        for (u32 i = lane(); i < a.hidden; i += WARP) squares = squares + row[i] * row[i];
        length = sqrtf(warp_sum(squares));
        length = length > LENGTH_MIN ? length : LENGTH_MIN;
        for (u32 i = lane(); i < a.hidden; i += WARP) row[i] = row[i] / length;
    }
    if (lane() == 0) a.lengths[text] = length;
}

// slope = (slope - row * (slope . row)) / length, and 0 where there was no direction; one warp a text.
KERNEL(unit_backward, UnitBackwardArgs, THREADS) {
    u64 text = row_of_warp();
    if (text >= a.texts || (a.modes[text] & POOL_AS_IS)) return;
    const float *row = a.rows + text * a.hidden;
    float *slope = a.slopes + text * a.hidden;
    float along = 0.0f;
    for (u32 i = lane(); i < a.hidden; i += WARP) along = along + slope[i] * row[i];
    along = warp_sum(along);
    float length = a.lengths[text];
    for (u32 i = lane(); i < a.hidden; i += WARP) {
        slope[i] = length <= LENGTH_MIN ? 0.0f : (slope[i] - row[i] * along) / length;
    }
}
