// Layer norm over a row's features, what it starts from, and its derivative; one warp a row.
// CPU twins: cpu/norm.rs, and Tables::embed in cpu/tables.rs.
//
// Lane l takes the eight features from 8 l on, those 256 further, and so on, and the lanes' sums meet
// in one tree, so a row's bits depend on its width alone. Normalised rows are rounded to what the tape
// holds before gain and bias are applied, so that `norm_again` gives the bits of `add_norm`, whether
// there was a tape or not.

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

// What a lane has of a row whose eights are `value(i)`: the first ones, which of rows of up to 1024
// features are all, are read once.
template <class Value> struct LaneRow {
    static constexpr u32 HELD = 4;
    u32 hidden;
    Value value;
    Eight held[HELD];

    DEVICE LaneRow(u32 hidden, Value value) : hidden(hidden), value(value) {
#pragma unroll
        for (u32 k = 0; k < HELD; k++) {
            u32 i = 8 * (lane() + WARP * k);
            held[k] = i < hidden ? value(i) : Eight{};
        }
    }

    // Calls `act(i, eight)` for all of them, in their order.
    template <class Act> DEVICE void each(Act act) const {
#pragma unroll
        for (u32 k = 0; k < HELD; k++) {
            u32 i = 8 * (lane() + WARP * k);
            if (i < hidden) act(i, held[k]);
        }
        each_eight(HELD, hidden, [&](u32 i) { act(i, value(i)); });
    }
};

// Brings the row of values, eight of which are `value(i)`, to mean 0 and variance 1, hands them to
// `keep(i, eight)` as the tape holds them, and returns the reciprocal deviation.
template <class Value, class Keep>
DEVICE float normalise(u32 hidden, float eps, Value value, Keep keep) {
    LaneRow<Value> row(hidden, value);
    float sum = 0.0f;
    row.each([&](u32, const Eight &eight) {
#pragma unroll
        for (u32 e = 0; e < 8; e++) sum = sum + eight.at[e];
    });
    float mean = warp_sum(sum) / (float)hidden;
    float squares = 0.0f;
    row.each([&](u32 i, const Eight &eight) {
#pragma unroll
        for (u32 e = 0; e < 8; e++) {
            float apart = i + e < hidden ? eight.at[e] - mean : 0.0f;
            squares = squares + apart * apart;
        }
    });
    float scale = 1.0f / sqrtf(warp_sum(squares) / (float)hidden + eps);
    row.each([&](u32 i, Eight eight) {
#pragma unroll
        for (u32 e = 0; e < 8; e++) eight.at[e] = as_real((eight.at[e] - mean) * scale);
        keep(i, eight);
    });
    return scale;
}

// What a norm gives of normalised features: them times gain, plus bias.
DEVICE Eight gained(const Eight &eight, const float *gain, const float *bias, u32 i, u32 count) {
    Eight y, gains = eight_of(gain, i, count), biases = eight_of(bias, i, count);
#pragma unroll
    for (u32 e = 0; e < 8; e++) y.at[e] = fmaf(eight.at[e], gains.at[e], biases.at[e]);
    return y;
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
        a.hidden, a.eps,
        [&](u32 i) {
            Raw<real> words = load_raw(word + i, a.hidden - i);
            Raw<real> kinds = load_raw(kind + i, a.hidden - i);
            Raw<real> places = load_raw(place + i, a.hidden - i);
            Eight sum = floats_of(words), kind = floats_of(kinds), place = floats_of(places);
#pragma unroll
            for (u32 e = 0; e < 8; e++) sum.at[e] = sum.at[e] + kind.at[e] + place.at[e];
            return sum;
        },
        [&](u32 i, const Eight &eight) {
            store_eight(x + i, gained(eight, a.gain, a.bias, i, a.hidden), a.hidden - i);
        });
}

// y = norm(x + delta)
KERNEL(add_norm, AddNormArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    u64 first = row * a.hidden;
    float scale = normalise(
        a.hidden, a.eps,
        [&](u32 i) {
            Raw<real> xs = load_raw(a.x + first + i, a.hidden - i);
            Raw<real> deltas = load_raw(a.delta + first + i, a.hidden - i);
            Eight sum = floats_of(xs), delta = floats_of(deltas);
#pragma unroll
            for (u32 e = 0; e < 8; e++) sum.at[e] = sum.at[e] + delta.at[e];
            return sum;
        },
        [&](u32 i, const Eight &eight) {
            Eight y = gained(eight, a.gain, a.bias, i, a.hidden);
            if (a.normalised) store_eight(a.normalised + first + i, eight, a.hidden - i);
            store_eight(a.y + first + i, y, a.hidden - i);
        });
    if (a.scales && lane() == 0) a.scales[row] = scale;
}

// y = normalised * gain + bias
KERNEL(norm_again, NormAgainArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    u64 first = row * a.hidden;
    each_eight(0, a.hidden, [&](u32 i) {
        Eight eight = eight_of(a.normalised + first, i, a.hidden);
        store_eight(a.y + first + i, gained(eight, a.gain, a.bias, i, a.hidden), a.hidden - i);
    });
}

// d = dy * gain;  dy = (d - mean(d) - normalised * mean(d * normalised)) * scale
KERNEL(norm_backward, NormBackwardArgs, THREADS) {
    u64 row = row_of_warp();
    if (row >= a.rows) return;
    const real *normalised = a.normalised + row * a.hidden;
    real *dy = a.dy + row * a.hidden;
    float scale = a.scales[row], sum = 0.0f, products = 0.0f;
    // Eight of d, and of what was normalised.
    auto read = [&](u32 i, Eight &d, Eight &before) {
        Raw<real> slopes = load_raw(dy + i, a.hidden - i);
        Raw<real> rows = load_raw(normalised + i, a.hidden - i);
        d = floats_of(slopes);
        before = floats_of(rows);
        Eight gains = eight_of(a.gain, i, a.hidden);
#pragma unroll
        for (u32 e = 0; e < 8; e++) d.at[e] = d.at[e] * gains.at[e];
    };
    each_eight(0, a.hidden, [&](u32 i) {
        Eight d, before;
        read(i, d, before);
#pragma unroll
        for (u32 e = 0; e < 8; e++) {
            sum = sum + d.at[e];
            products = fmaf(d.at[e], before.at[e], products);
        }
    });
    float mean = warp_sum(sum) / (float)a.hidden;
    float along = warp_sum(products) / (float)a.hidden;
    each_eight(0, a.hidden, [&](u32 i) {
        Eight d, before;
        read(i, d, before);
#pragma unroll
        for (u32 e = 0; e < 8; e++) {
            d.at[e] = (d.at[e] - mean - before.at[e] * along) * scale;
        }
        store_eight(dy + i, d, a.hidden - i);
    });
}
