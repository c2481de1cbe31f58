// Attention of each text over itself and its gradient by tensor cores, on rows of bf16.
// CPU twin: cpu/attention.rs; the same on any rows without tensor cores: attention.cu.
//
// A block takes one head and 32 rows of one text, 16 a warp; the other side of the scores comes
// through shared memory, 64 rows at a time, and is met 32 at a time, from the text's first row on.
// Weights are rounded to bf16 where they are a factor of a product, and nowhere else. As in
// attention.cu, softmax runs along, backward computes the weights again, and nothing is summed by
// two threads but what all lanes of a row have.
//
// After FlashAttention-2 (Dao, 2023, arXiv:2307.08691), but for the gradients: two kernels, each of
// which owns what it sums, where that adds floats atomically.

#define TENSOR_THREADS 64u
// Rows of a text's other side that a block keeps.
#define ROWS 64u
// Blocks of scores that are computed before the weights are rescaled, and their columns.
#define BLOCKS 2u
#define COLUMNS (BLOCKS * SIXTEEN)

// Rows of one head in shared memory; longer than they are by one vector, so that the rows of a block
// lie in different banks.
template <u32 WIDTH> struct HeadRows {
    real at[ROWS][WIDTH + VECTOR_REALS];

    DEVICE const real *place(u32 row, u32 feature) const { return &at[row][feature]; }

    // Begins to copy rows from `from` on, `stride` values apart, of which `rows` are there, and of
    // each so many features; zeros beyond, up to a whole number of chunks.
    DEVICE void fetch(const real *from, u64 stride, u32 rows, u32 width) {
        const u32 vectors = WIDTH / VECTOR_REALS;
        u32 there = rows < ROWS ? rows : ROWS;
        u32 wanted = (there + COLUMNS - 1) / COLUMNS * COLUMNS;
        for (u32 i = threadIdx.x; i < wanted * vectors; i += TENSOR_THREADS) {
            u32 row = i / vectors, feature = i % vectors * VECTOR_REALS;
            bool is_there = row < there && feature < width;
            copy_vector(&at[row][feature], is_there ? from + row * stride + feature : from, is_there);
        }
    }
};

// Sixteen rows of a head as left factors.
template <u32 WIDTH> struct HeadBlocks {
    Block at[WIDTH / SIXTEEN];

    // Those from `first` on, `stride` values apart, of which `rows` are there, and of each so many
    // features; zeros beyond.
    DEVICE void load_rows(const real *first, u64 stride, u32 rows, u32 width) {
#pragma unroll
        for (u32 k = 0; k < WIDTH / SIXTEEN; k++) {
#pragma unroll
            for (u32 quarter = 0; quarter < 4; quarter++) {
                u32 row = block_row() + 8 * (quarter % 2);
                u32 feature = k * SIXTEEN + block_column(quarter / 2, 0);
                bool is_there = row < rows && feature < width;
                const real *pair = first + row * stride + feature;
                at[k].at[quarter] = is_there ? *(const u32 *)pair : 0;
            }
        }
    }
};

// Scores of sixteen rows with as many columns as are met at a time.
struct Scores {
    BlockSums at[BLOCKS];

    // Products of rows with those of the other side that begin at `row`.
    template <u32 WIDTH>
    DEVICE void multiply(const HeadBlocks<WIDTH> &left, const HeadRows<WIDTH> &right, u32 row) {
#pragma unroll
        for (u32 b = 0; b < BLOCKS; b++) {
            at[b].clear();
#pragma unroll
            for (u32 k = 0; k < WIDTH / SIXTEEN; k++) {
                const real *first = right.place(row + b * SIXTEEN, k * SIXTEEN);
                add_by_rows(at[b], left.at[k], load_block(first, WIDTH + VECTOR_REALS));
            }
        }
    }

    // Calls `each(score, r, column)` for all that the lane has: `r` says which of its two rows.
    template <class Each> DEVICE void each(Each each) {
        each_with(*this, [&](float &score, float, u32 r, u32 column) { each(score, r, column); });
    }

    // The same, with what others have at its place: `each(score, other, r, column)`.
    template <class Each> DEVICE void each_with(Scores &others, Each each) {
#pragma unroll
        for (u32 b = 0; b < BLOCKS; b++) {
#pragma unroll
            for (u32 i = 0; i < 8; i++) {
                u32 column = b * SIXTEEN + block_column(i / 4, i % 4);
                each(at[b].at[i / 4][i % 4], others.at[b].at[i / 4][i % 4], i % 4 / 2, column);
            }
        }
    }
};

// Sums of rows of a head, for sixteen rows.
template <u32 WIDTH> struct HeadSums {
    BlockSums at[WIDTH / SIXTEEN];

    DEVICE void clear() {
#pragma unroll
        for (u32 k = 0; k < WIDTH / SIXTEEN; k++) at[k].clear();
    }

    // Scales the lane's two rows.
    DEVICE void scale(const float (&factor)[2]) {
#pragma unroll
        for (u32 k = 0; k < WIDTH / SIXTEEN; k++) {
#pragma unroll
            for (u32 i = 0; i < 8; i++) at[k].at[i / 4][i % 4] *= factor[i % 4 / 2];
        }
    }

    // Adds weights times the rows that they belong to, which begin at `row`.
    DEVICE void add(const Scores &weights, const HeadRows<WIDTH> &rows, u32 row) {
#pragma unroll
        for (u32 b = 0; b < BLOCKS; b++) {
            Block left = as_factor(weights.at[b]);
#pragma unroll
            for (u32 k = 0; k < WIDTH / SIXTEEN; k++) {
                const real *first = rows.place(row + b * SIXTEEN, k * SIXTEEN);
                add_by_columns(at[k], left, load_block_across(first, WIDTH + VECTOR_REALS));
            }
        }
    }

    // Writes those of the lane's rows that are there, `stride` values apart.
    DEVICE void store_rows(real *first, u64 stride, u32 rows, u32 width) const {
#pragma unroll
        for (u32 r = 0; r < 2; r++) {
            u32 row = block_row() + 8 * r;
            if (row >= rows) continue;
#pragma unroll
            for (u32 k = 0; k < WIDTH / SIXTEEN; k++) {
#pragma unroll
                for (u32 half = 0; half < 2; half++) {
                    u32 feature = k * SIXTEEN + block_column(half, 0);
                    if (feature >= width) continue;
                    const float *pair = &at[k].at[half][2 * r];
                    *(u32 *)(first + row * stride + feature) = pair_of(pair[0], pair[1]);
                }
            }
        }
    }
};

// Where a warp works.
struct WarpPlace {
    u32 begin;  // first row of the text
    u32 tokens; // of the text
    u32 row;    // the warp's first, within the text
    u32 rows;   // of the warp that are there
    u64 hidden;
    u32 column; // of the head's first feature
};

DEVICE WarpPlace warp_place(const u32 *offsets, const Tile *tiles, u32 heads, u32 width) {
    Tile tile = tiles[blockIdx.x];
    WarpPlace place;
    place.begin = offsets[tile.subject];
    place.tokens = offsets[tile.subject + 1] - place.begin;
    place.row = tile.row + threadIdx.x / WARP * SIXTEEN;
    u32 left = left_of(place.tokens, place.row);
    place.rows = left < SIXTEEN ? left : SIXTEEN;
    place.hidden = (u64)heads * width;
    place.column = blockIdx.y * width;
    return place;
}

// What a block keeps of the other side.
template <u32 WIDTH> struct HeadSlices {
    HeadRows<WIDTH> first;
    HeadRows<WIDTH> second;
    Softmax softmax[ROWS];

    // Begins to copy the keys and values from a row of the text on, whose queries begin at `head`.
    DEVICE void fetch_keys_and_values(const real *head, const WarpPlace &at, u32 row, u32 width) {
        u64 stride = 3 * at.hidden;
        const real *keys = head + at.hidden + row * stride;
        first.fetch(keys, stride, at.tokens - row, width);
        second.fetch(keys + at.hidden, stride, at.tokens - row, width);
    }
};

// The sum over the four lanes that share a row, the same bits in each; and the highest.
DEVICE float quad_sum(float value) {
    value = value + __shfl_xor_sync(0xffffffffu, value, 1);
    return value + __shfl_xor_sync(0xffffffffu, value, 2);
}
DEVICE float quad_max(float value) {
    float other = __shfl_xor_sync(0xffffffffu, value, 1);
    value = other > value ? other : value;
    other = __shfl_xor_sync(0xffffffffu, value, 2);
    return other > value ? other : value;
}

// Calls `each(j, count)` for chunks of the other side, after `fetch(first)` brought the slice that
// begins there; j counts from the slice's first row, of which `count` are there. Warps without rows
// help to fetch only.
template <class Fetch, class Each>
DEVICE void meet(const WarpPlace &at, Fetch fetch, Each each) {
    for (u32 first = 0; first < at.tokens; first += ROWS) {
        // The slice before was read.
        __syncthreads();
        fetch(first);
        await_copies();
        __syncthreads();
        if (at.rows == 0) continue;
        u32 rows = at.tokens - first < ROWS ? at.tokens - first : ROWS;
        for (u32 j = 0; j < rows; j += COLUMNS) each(j, rows);
    }
}

// Softmax of the lane's two rows, as far as their columns were met; exponents are powers of two of
// scores times `factor`.
struct Running {
    float factor;
    float highest[2];
    float total[2]; // of the lane's own columns
    float along[2]; // weights times what was given beside them, likewise

    DEVICE explicit Running(float scale) {
        factor = scale * LOG2_E;
#pragma unroll
        for (u32 r = 0; r < 2; r++) {
            highest[r] = NEGATIVE_INFINITY;
            total[r] = 0.0f;
            along[r] = 0.0f;
        }
    }

    // Scores from row j on become weights; `shrink` what the weights before are to be scaled by.
    DEVICE void weigh(Scores &scores, u32 j, u32 rows, float (&shrink)[2]) {
        float top[2] = {highest[0], highest[1]};
        scores.each([&](float &score, u32 r, u32 column) {
            if (j + column >= rows) score = NEGATIVE_INFINITY;
            top[r] = score > top[r] ? score : top[r];
        });
#pragma unroll
        for (u32 r = 0; r < 2; r++) {
            top[r] = quad_max(top[r]);
            shrink[r] = power_of_two((highest[r] - top[r]) * factor);
            highest[r] = top[r];
            total[r] *= shrink[r];
            along[r] *= shrink[r];
        }
        scores.each([&](float &score, u32 r, u32) {
            score = power_of_two((score - highest[r]) * factor);
            total[r] = total[r] + score;
        });
    }
};

// context = softmax(scale * q k^T) v
template <u32 WIDTH> DEVICE void tensor_attend(const AttentionArgs &a, HeadSlices<WIDTH> &s) {
    WarpPlace at = warp_place(a.offsets, a.tiles, a.heads, a.width);
    u64 stride = 3 * at.hidden;
    const real *head = a.qkv + at.begin * stride + at.column;
    HeadBlocks<WIDTH> query;
    query.load_rows(head + at.row * stride, stride, at.rows, a.width);
    HeadSums<WIDTH> sum;
    sum.clear();
    Running running(a.scale);
    auto fetch = [&](u32 first) { s.fetch_keys_and_values(head, at, first, a.width); };
    meet(at, fetch, [&](u32 j, u32 rows) {
        Scores weights;
        weights.multiply(query, s.first, j);
        float shrink[2];
        running.weigh(weights, j, rows, shrink);
        sum.scale(shrink);
        sum.add(weights, s.second, j);
    });
    if (at.rows == 0) return;
    float inverse[2];
#pragma unroll
    for (u32 r = 0; r < 2; r++) inverse[r] = 1.0f / quad_sum(running.total[r]);
    sum.scale(inverse);
    u64 first = at.begin + at.row;
    sum.store_rows(a.context + first * at.hidden + at.column, at.hidden, at.rows, a.width);
}

// The gradients by queries, and the rows' softmax.
template <u32 WIDTH>
DEVICE void tensor_query_slopes(const AttentionBackwardArgs &a, HeadSlices<WIDTH> &s) {
    WarpPlace at = warp_place(a.offsets, a.tiles, a.heads, a.width);
    u64 stride = 3 * at.hidden;
    const real *head = a.qkv + at.begin * stride + at.column;
    const real *slopes = a.d_context + at.begin * at.hidden + at.column;
    HeadBlocks<WIDTH> query, slope;
    query.load_rows(head + at.row * stride, stride, at.rows, a.width);
    slope.load_rows(slopes + at.row * at.hidden, at.hidden, at.rows, a.width);
    auto fetch = [&](u32 first) { s.fetch_keys_and_values(head, at, first, a.width); };

    Running running(a.scale);
    meet(at, fetch, [&](u32 j, u32 rows) {
        Scores weights, d_weights;
        weights.multiply(query, s.first, j);
        float shrink[2];
        running.weigh(weights, j, rows, shrink);
        d_weights.multiply(slope, s.second, j);
        weights.each_with(d_weights, [&](float weight, float d_weight, u32 r, u32) {
            running.along[r] = fmaf(weight, d_weight, running.along[r]);
        });
    });
    float inverse[2], mean[2];
    if (at.rows != 0) {
#pragma unroll
        for (u32 r = 0; r < 2; r++) {
            inverse[r] = 1.0f / quad_sum(running.total[r]);
            mean[r] = quad_sum(running.along[r]) * inverse[r];
        }
    }

    HeadSums<WIDTH> sum;
    sum.clear();
    // A text that is one slice is still there.
    auto fetch_again = [&](u32 first) {
        if (at.tokens > ROWS) fetch(first);
    };
    meet(at, fetch_again, [&](u32 j, u32 rows) {
        Scores weights, d_weights;
        weights.multiply(query, s.first, j);
        d_weights.multiply(slope, s.second, j);
        weights.each_with(d_weights, [&](float &score, float d_weight, u32 r, u32 column) {
            float weight = power_of_two((score - running.highest[r]) * running.factor) * inverse[r];
            float slope = weight * a.scale * (d_weight - mean[r]);
            score = j + column < rows ? slope : 0.0f;
        });
        sum.add(weights, s.first, j);
    });
    if (at.rows == 0) return;
    u64 first = at.begin + at.row;
    sum.store_rows(a.d_qkv + first * stride + at.column, stride, at.rows, a.width);
#pragma unroll
    for (u32 r = 0; r < 2; r++) {
        u32 row = block_row() + 8 * r;
        if (lane() % 4 != 0 || row >= at.rows) continue;
        Softmax softmax = {running.highest[r], inverse[r], mean[r]};
        ((Softmax *)a.softmax)[(first + row) * a.heads + blockIdx.y] = softmax;
    }
}

// The gradients by keys and values.
template <u32 WIDTH>
DEVICE void tensor_key_slopes(const AttentionBackwardArgs &a, HeadSlices<WIDTH> &s) {
    WarpPlace at = warp_place(a.offsets, a.tiles, a.heads, a.width);
    u64 stride = 3 * at.hidden;
    const real *head = a.qkv + at.begin * stride + at.column;
    const real *slopes = a.d_context + at.begin * at.hidden + at.column;
    const real *own = head + at.hidden + at.row * stride;
    HeadBlocks<WIDTH> key, value;
    key.load_rows(own, stride, at.rows, a.width);
    value.load_rows(own + at.hidden, stride, at.rows, a.width);
    HeadSums<WIDTH> d_key, d_value;
    d_key.clear();
    d_value.clear();
    auto fetch = [&](u32 first) {
        u32 rows = at.tokens - first;
        s.first.fetch(head + first * stride, stride, rows, a.width);
        s.second.fetch(slopes + first * at.hidden, at.hidden, rows, a.width);
        for (u32 i = threadIdx.x; i < ROWS && i < rows; i += TENSOR_THREADS) {
            u64 query = (u64)at.begin + first + i;
            s.softmax[i] = ((const Softmax *)a.softmax)[query * a.heads + blockIdx.y];
        }
    };
    float factor = a.scale * LOG2_E;
    meet(at, fetch, [&](u32 j, u32 rows) {
        Scores weights, d_scores;
        weights.multiply(key, s.first, j);
        d_scores.multiply(value, s.second, j);
        weights.each_with(d_scores, [&](float &weight, float &d_score, u32, u32 column) {
            bool is_there = j + column < rows;
            // Any that is there in the place of one that is not.
            Softmax softmax = s.softmax[is_there ? j + column : j];
            weight = power_of_two((weight - softmax.highest) * factor) * softmax.inverse;
            weight = is_there ? weight : 0.0f;
            d_score = is_there ? weight * a.scale * (d_score - softmax.mean) : 0.0f;
        });
        d_value.add(weights, s.second, j);
        d_key.add(d_scores, s.first, j);
    });
    if (at.rows == 0) return;
    u64 first = at.begin + at.row;
    real *to = a.d_qkv + first * stride + at.hidden + at.column;
    d_key.store_rows(to, stride, at.rows, a.width);
    d_value.store_rows(to + at.hidden, stride, at.rows, a.width);
}

// Heads of at most 32 features.
KERNEL(tensor_attention_32, AttentionArgs, TENSOR_THREADS) {
    SHARED(HeadSlices<32>, s);
    tensor_attend<32>(a, s);
}
KERNEL(tensor_attention_queries_32, AttentionBackwardArgs, TENSOR_THREADS) {
    SHARED(HeadSlices<32>, s);
    tensor_query_slopes<32>(a, s);
}
KERNEL(tensor_attention_keys_32, AttentionBackwardArgs, TENSOR_THREADS) {
    SHARED(HeadSlices<32>, s);
    tensor_key_slopes<32>(a, s);
}

// Heads of at most 64 features.
KERNEL(tensor_attention_64, AttentionArgs, TENSOR_THREADS) {
    SHARED(HeadSlices<64>, s);
    tensor_attend<64>(a, s);
}
KERNEL(tensor_attention_queries_64, AttentionBackwardArgs, TENSOR_THREADS) {
    SHARED(HeadSlices<64>, s);
    tensor_query_slopes<64>(a, s);
}
KERNEL(tensor_attention_keys_64, AttentionBackwardArgs, TENSOR_THREADS) {
    SHARED(HeadSlices<64>, s);
    tensor_key_slopes<64>(a, s);
}
