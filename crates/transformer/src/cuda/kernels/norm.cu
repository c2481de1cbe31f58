// Layer norm over a row's features, what it starts from, and its derivative; one warp a row.
// CPU twins: cpu/norm.rs, and Tables::embed in cpu/tables.rs.
//
// Lane l takes the features l, l + 32, ..., and the lanes' sums meet in one tree, so a row's bits
// depend on its width alone. Normalised rows are rounded to what the tape holds before gain and bias
// are applied, so that `norm_again` gives the bits of `add_norm`, whether there was a tape or not.

struct EmbedArgs {
    const real *words;     // [vocabulary, hidden]
    const real *positions; // [positions, hidden]
    const real *kinds;     // [1 or 2, hidden]
    const float *gain;     // [hidden]
    const float *bias;     // [hidden]
    const u32 *tokens;     // [rows]
    const u32 *texts;      // [rows], the text of each row
    const u32 *offsets;    // [texts + 1], the first row of each text
    const u32 *firsts;     // [texts], tokens of kind 0
    real *x;               // [rows, hidden]
    u32 rows;
    u32 hidden;
    u32 position_offset;
    float eps;
};

struct AddNormArgs {
    const real *x;     // [rows, hidden]
    const real *delta; // [rows, hidden]
    const float *gain; // [hidden]
    const float *bias; // [hidden]
    real *normalised;  // [rows, hidden], or null where no tape is kept
    float *scales;     // [rows], or null
    real *y;           // [rows, hidden]
    u32 rows;
    u32 hidden;
    float eps;
};

struct NormAgainArgs {
    const real *normalised; // [rows, hidden]
    const float *gain;      // [hidden]
    const float *bias;      // [hidden]
    real *y;                // [rows, hidden]
    u32 rows;
    u32 hidden;
};

struct NormBackwardArgs {
    const real *normalised; // [rows, hidden]
    const float *scales;    // [rows]
    const float *gain;      // [hidden]
    real *dy;               // [rows, hidden], becomes the gradient by the norm's input
    u32 rows;
    u32 hidden;
};

// Brings the row of values `value(i)` to mean 0 and variance 1, hands each to `keep(i, v)` as the
// tape holds it, and returns the reciprocal deviation.
template <class Value, class Keep>
DEVICE float normalise(u32 hidden, float eps, Value value, Keep keep) {
    float sum = 0.0f;
    for (u32 i = lane(); i < hidden; i += WARP) sum = sum + value(i);
    float mean = warp_sum(sum) / (float)hidden;
    float squares = 0.0f;
    for (u32 i = lane(); i < hidden; i += WARP) {
        float apart = value(i) - mean;
        squares = squares + apart * apart;
    }
    float scale = 1.0f / sqrtf(warp_sum(squares) / (float)hidden + eps);
    for (u32 i = lane(); i < hidden; i += WARP) keep(i, as_real((value(i) - mean) * scale));
    return scale;
}

// x = norm(words + kinds + positions)
KERNEL(embed, EmbedArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    u32 text = a.texts[row];
    u32 position = (u32)row - a.offsets[text];
    const real *word = a.words + (u64)a.tokens[row] * a.hidden;
    const real *kind = a.kinds + (position < a.firsts[text] ? 0 : a.hidden);
    const real *place = a.positions + (u64)(position + a.position_offset) * a.hidden;
    real *x = a.x + row * a.hidden;
    normalise(
        a.hidden, a.eps, [&](u32 i) { return load(word + i) + load(kind + i) + load(place + i); },
        [&](u32 i, float v) { store(x + i, fmaf(v, a.gain[i], a.bias[i])); });
}

// y = norm(x + delta)
KERNEL(add_norm, AddNormArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    u64 first = row * a.hidden;
    float scale = normalise(
        a.hidden, a.eps, [&](u32 i) { return load(a.x + first + i) + load(a.delta + first + i); },
        [&](u32 i, float v) {
            if (a.normalised) store(a.normalised + first + i, v);
            store(a.y + first + i, fmaf(v, a.gain[i], a.bias[i]));
        });
    if (a.scales && lane() == 0) a.scales[row] = scale;
}

// y = normalised * gain + bias; one thread a value.
KERNEL(norm_again, NormAgainArgs, THREADS) {
    u64 at = thread_of_launch();
    if (at >= (u64)a.rows * a.hidden) return;
    u32 i = at % a.hidden;
    store(a.y + at, fmaf(load(a.normalised + at), a.gain[i], a.bias[i]));
}

// d = dy * gain;  dy = (d - mean(d) - normalised * mean(d * normalised)) * scale
KERNEL(norm_backward, NormBackwardArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    const real *normalised = a.normalised + row * a.hidden;
    real *dy = a.dy + row * a.hidden;
    float sum = 0.0f, products = 0.0f;
    for (u32 i = lane(); i < a.hidden; i += WARP) {
        float d = load(dy + i) * a.gain[i];
        sum = sum + d;
        products = fmaf(d, load(normalised + i), products);
    }
    float mean = warp_sum(sum) / (float)a.hidden;
    float along = warp_sum(products) / (float)a.hidden;
    for (u32 i = lane(); i < a.hidden; i += WARP) {
        float d = load(dy + i) * a.gain[i];
        store(dy + i, (d - mean - load(normalised + i) * along) * a.scales[row]);
    }
}
