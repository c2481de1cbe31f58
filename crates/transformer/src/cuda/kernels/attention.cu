// Attention of each text over itself on packed rows, and its gradient.
// CPU twin: cpu/attention.rs.
//
// A block takes one head and a few rows of one text; the other side of the scores comes through
// shared memory, SLICE rows at a time, so nothing of the size of the scores is ever kept. A row
// belongs to SHARE neighbouring threads, each of which holds PART features of it in registers, the
// last ones zero where heads are narrower. Softmax runs along with the slices (the weights are
// rescaled when a larger score comes); a row meets the others from the text's first to its last, in
// chunks that begin at the text's first, whatever block it falls in. Backward computes the weights
// again: once for the gradients by queries, which also leaves each row's softmax behind, and once
// for those by keys and values. Nothing is summed by two threads.

#define ATTENTION_THREADS 64u
#define PART 32u
#define SLICE 32u
// Scores that are computed before the weights are rescaled.
#define CHUNK 8u
// A part and one vector more, so that the parts of a row lie in different banks.
#define PART_VECTORS (PART / 4u + 1u)

// Rows of one head in shared memory.
template <u32 SHARE> struct Slice {
    float4 row[SLICE][SHARE * PART_VECTORS];
};

template <u32 SHARE> struct Slices {
    Slice<SHARE> first;
    Slice<SHARE> second;
    Softmax softmax[SLICE];
};

// Where the block works.
struct Place {
    u32 begin;  // first row of the text
    u32 tokens; // of the text
    u32 row;    // of this thread, within the text
    u32 part;   // of the row
    u32 hidden;
    u32 column; // of the head's first feature
};

template <u32 SHARE>
DEVICE Place place_of(const u32 *offsets, const Tile *tiles, u32 heads, u32 width) {
    Tile tile = tiles[blockIdx.x];
    Place place;
    place.begin = offsets[tile.subject];
    place.tokens = offsets[tile.subject + 1] - place.begin;
    place.row = tile.row + threadIdx.x / SHARE;
    place.part = threadIdx.x % SHARE;
    place.hidden = heads * width;
    place.column = blockIdx.y * width;
    return place;
}

// Four features from `d` of a row of `width` features, zeros beyond.
DEVICE float4 load_four(const real *row, u32 d, u32 width) {
    float4 four = {0.0f, 0.0f, 0.0f, 0.0f};
    if (d < width) {
        four.x = load(row + d);
        four.y = load(row + d + 1);
        four.z = load(row + d + 2);
        four.w = load(row + d + 3);
    }
    return four;
}

// Rows from `from` on, `stride` values apart, of which the first `rows` are there.
template <u32 SHARE>
DEVICE void fetch(Slice<SHARE> &to, const real *from, u64 stride, u32 rows, u32 width) {
    const u32 vectors = SHARE * PART / 4;
    for (u32 at = threadIdx.x; at < SLICE * vectors; at += ATTENTION_THREADS) {
        u32 j = at / vectors, vector = at % vectors;
        u32 place = vector / (PART / 4) * PART_VECTORS + vector % (PART / 4);
        to.row[j][place] = load_four(from + j * stride, 4 * vector, j < rows ? width : 0);
    }
}

// The thread's part of a row.
struct Part {
    float4 at[PART / 4];

    DEVICE void clear() {
#pragma unroll
        for (u32 d = 0; d < PART / 4; d++) at[d] = {0.0f, 0.0f, 0.0f, 0.0f};
    }

    DEVICE void load_row(const real *row, u32 part, u32 width) {
#pragma unroll
        for (u32 d = 0; d < PART / 4; d++) at[d] = load_four(row, part * PART + 4 * d, width);
    }

    DEVICE void store_row(real *row, u32 part, u32 width) const {
#pragma unroll
        for (u32 d = 0; d < PART / 4; d++) {
            u32 feature = part * PART + 4 * d;
            if (feature >= width) break;
            store(row + feature, at[d].x);
            store(row + feature + 1, at[d].y);
            store(row + feature + 2, at[d].z);
            store(row + feature + 3, at[d].w);
        }
    }

    // The product with a row in shared memory, over the part; in four chains.
    DEVICE float dot(const float4 *row) const {
        float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (u32 d = 0; d < PART / 4; d++) {
            float4 other = row[d];
            sum.x = fmaf(at[d].x, other.x, sum.x);
            sum.y = fmaf(at[d].y, other.y, sum.y);
            sum.z = fmaf(at[d].z, other.z, sum.z);
            sum.w = fmaf(at[d].w, other.w, sum.w);
        }
        return (sum.x + sum.y) + (sum.z + sum.w);
    }

    DEVICE void add(float factor, const float4 *row) {
#pragma unroll
        for (u32 d = 0; d < PART / 4; d++) {
            float4 other = row[d];
            at[d].x = fmaf(factor, other.x, at[d].x);
            at[d].y = fmaf(factor, other.y, at[d].y);
            at[d].z = fmaf(factor, other.z, at[d].z);
            at[d].w = fmaf(factor, other.w, at[d].w);
        }
    }

    DEVICE void scale(float factor) {
#pragma unroll
        for (u32 d = 0; d < PART / 4; d++) {
            at[d].x *= factor;
            at[d].y *= factor;
            at[d].z *= factor;
            at[d].w *= factor;
        }
    }
};

// The sum over the threads of one row, the same bits in each.
template <u32 SHARE> DEVICE float row_sum(float value) {
#pragma unroll
    for (u32 mask = 1; mask < SHARE; mask *= 2) {
        value = value + __shfl_xor_sync(0xffffffffu, value, mask);
    }
    return value;
}

// Calls `each(j)` for the rows of a text slice by slice, after `fetch_slice(first)` brought the
// slice that begins there; j counts from the slice's first row, in chunks of CHUNK, and `each` gets
// the chunk's first row and how many of it are there.
template <class Fetch, class Each> DEVICE void slices(u32 tokens, Fetch fetch_slice, Each each) {
    for (u32 first = 0; first < tokens; first += SLICE) {
        // The slice before was read.
        __syncthreads();
        fetch_slice(first);
        __syncthreads();
        u32 rows = tokens - first < SLICE ? tokens - first : SLICE;
        for (u32 j = 0; j < rows; j += CHUNK) each(j, rows - j < CHUNK ? rows - j : CHUNK);
    }
}

// Scores of a chunk of keys, -infinity beyond what is there; returns the highest of them and of
// what was the highest before.
template <u32 SHARE>
DEVICE float scores(const Part &query, const Slice<SHARE> &keys, u32 part, u32 j, u32 count,
                    float highest, float (&to)[CHUNK]) {
#pragma unroll
    for (u32 c = 0; c < CHUNK; c++) {
        to[c] = NEGATIVE_INFINITY;
        if (c < count) to[c] = row_sum<SHARE>(query.dot(keys.row[j + c] + part * PART_VECTORS));
        highest = to[c] > highest ? to[c] : highest;
    }
    return highest;
}

// context = softmax(scale * q k^T) v
template <u32 SHARE> DEVICE void attend(const AttentionArgs &a, Slices<SHARE> &s) {
    Place at = place_of<SHARE>(a.offsets, a.tiles, a.heads, a.width);
    u64 stride = 3 * (u64)at.hidden;
    const real *head = a.qkv + at.begin * stride + at.column;
    bool is_there = at.row < at.tokens;
    Part query, sum;
    query.load_row(head + (is_there ? at.row * stride : 0), at.part, a.width);
    sum.clear();
    float highest = NEGATIVE_INFINITY, total = 0.0f;
    auto fetch_slice = [&](u32 first) {
        const real *rows = head + at.hidden + first * stride;
        fetch<SHARE>(s.first, rows, stride, at.tokens - first, a.width);
        fetch<SHARE>(s.second, rows + at.hidden, stride, at.tokens - first, a.width);
    };
    slices(at.tokens, fetch_slice, [&](u32 j, u32 count) {
        float score[CHUNK];
        float top = scores<SHARE>(query, s.first, at.part, j, count, highest, score);
        float shrink = exponential((highest - top) * a.scale);
        highest = top;
        total *= shrink;
        sum.scale(shrink);
#pragma unroll
        for (u32 c = 0; c < CHUNK; c++) {
            if (c >= count) break;
            float weight = exponential((score[c] - top) * a.scale);
            total = total + weight;
            sum.add(weight, s.second.row[j + c] + at.part * PART_VECTORS);
        }
    });
    if (!is_there) return;
    sum.scale(1.0f / total);
    sum.store_row(a.context + (u64)(at.begin + at.row) * at.hidden + at.column, at.part, a.width);
}

// A row's softmax, and the mean of its weights' gradients.
template <u32 SHARE, class Fetch>
DEVICE Softmax softmax_of(const AttentionBackwardArgs &a, const Place &at, Slices<SHARE> &s,
                          const Part &query, const Part &slope, Fetch fetch_slice) {
    float highest = NEGATIVE_INFINITY, total = 0.0f, along = 0.0f;
    slices(at.tokens, fetch_slice, [&](u32 j, u32 count) {
        float score[CHUNK];
        float top = scores<SHARE>(query, s.first, at.part, j, count, highest, score);
        float shrink = exponential((highest - top) * a.scale);
        highest = top;
        total *= shrink;
        along *= shrink;
        for (u32 c = 0; c < count; c++) {
            float weight = exponential((score[c] - top) * a.scale);
            const float4 *value = s.second.row[j + c] + at.part * PART_VECTORS;
            total = total + weight;
            along = fmaf(weight, row_sum<SHARE>(slope.dot(value)), along);
        }
    });
    Softmax softmax;
    softmax.highest = highest;
    softmax.inverse = 1.0f / total;
    softmax.mean = along * softmax.inverse;
    return softmax;
}

DEVICE float weight_of(const Softmax &softmax, float score, float scale) {
    return exponential((score - softmax.highest) * scale) * softmax.inverse;
}

// The gradients by queries, one row of queries a thread group, and the rows' softmax.
template <u32 SHARE> DEVICE void query_slopes(const AttentionBackwardArgs &a, Slices<SHARE> &s) {
    Place at = place_of<SHARE>(a.offsets, a.tiles, a.heads, a.width);
    u64 stride = 3 * (u64)at.hidden;
    const real *head = a.qkv + at.begin * stride + at.column;
    bool is_there = at.row < at.tokens;
    u64 row = is_there ? at.begin + at.row : at.begin;
    Part query, slope, sum;
    query.load_row(a.qkv + row * stride + at.column, at.part, a.width);
    slope.load_row(a.d_context + row * at.hidden + at.column, at.part, a.width);
    sum.clear();
    auto fetch_slice = [&](u32 first) {
        const real *rows = head + at.hidden + first * stride;
        fetch<SHARE>(s.first, rows, stride, at.tokens - first, a.width);
        fetch<SHARE>(s.second, rows + at.hidden, stride, at.tokens - first, a.width);
    };
    Softmax softmax = softmax_of<SHARE>(a, at, s, query, slope, fetch_slice);
    slices(at.tokens, fetch_slice, [&](u32 j, u32 count) {
        for (u32 c = 0; c < count; c++) {
            const float4 *key = s.first.row[j + c] + at.part * PART_VECTORS;
            const float4 *value = s.second.row[j + c] + at.part * PART_VECTORS;
            float weight = weight_of(softmax, row_sum<SHARE>(query.dot(key)), a.scale);
            float d_weight = row_sum<SHARE>(slope.dot(value));
            sum.add(weight * a.scale * (d_weight - softmax.mean), key);
        }
    });
    if (!is_there) return;
    sum.store_row(a.d_qkv + row * stride + at.column, at.part, a.width);
    if (at.part == 0) ((Softmax *)a.softmax)[row * a.heads + blockIdx.y] = softmax;
}

// The gradients by keys and values, one row of both a thread group.
template <u32 SHARE> DEVICE void key_slopes(const AttentionBackwardArgs &a, Slices<SHARE> &s) {
    Place at = place_of<SHARE>(a.offsets, a.tiles, a.heads, a.width);
    u64 stride = 3 * (u64)at.hidden;
    bool is_there = at.row < at.tokens;
    u64 row = is_there ? at.begin + at.row : at.begin;
    const real *own = a.qkv + row * stride + at.hidden + at.column;
    Part key, value, d_key, d_value;
    key.load_row(own, at.part, a.width);
    value.load_row(own + at.hidden, at.part, a.width);
    d_key.clear();
    d_value.clear();
    auto fetch_slice = [&](u32 first) {
        u64 query = at.begin + first;
        u32 rows = at.tokens - first;
        fetch<SHARE>(s.first, a.qkv + query * stride + at.column, stride, rows, a.width);
        const real *slopes = a.d_context + query * at.hidden + at.column;
        fetch<SHARE>(s.second, slopes, at.hidden, rows, a.width);
        if (threadIdx.x < SLICE && threadIdx.x < rows) {
            u64 from = (query + threadIdx.x) * a.heads + blockIdx.y;
            s.softmax[threadIdx.x] = ((const Softmax *)a.softmax)[from];
        }
    };
    slices(at.tokens, fetch_slice, [&](u32 j, u32 count) {
        for (u32 c = 0; c < count; c++) {
            const float4 *query = s.first.row[j + c] + at.part * PART_VECTORS;
            const float4 *slope = s.second.row[j + c] + at.part * PART_VECTORS;
            Softmax softmax = s.softmax[j + c];
            float weight = weight_of(softmax, row_sum<SHARE>(key.dot(query)), a.scale);
            float d_weight = row_sum<SHARE>(value.dot(slope));
            d_value.add(weight, slope);
            d_key.add(weight * a.scale * (d_weight - softmax.mean), query);
        }
    });
    if (!is_there) return;
    real *to = a.d_qkv + row * stride + at.hidden + at.column;
    d_key.store_row(to, at.part, a.width);
    d_value.store_row(to + at.hidden, at.part, a.width);
}

// Heads of at most 32 features.
KERNEL(attention_32, AttentionArgs, ATTENTION_THREADS) {
    SHARED(Slices<1>, s);
    attend<1>(a, s);
}
KERNEL(attention_queries_32, AttentionBackwardArgs, ATTENTION_THREADS) {
    SHARED(Slices<1>, s);
    query_slopes<1>(a, s);
}
KERNEL(attention_keys_32, AttentionBackwardArgs, ATTENTION_THREADS) {
    SHARED(Slices<1>, s);
    key_slopes<1>(a, s);
}

// Heads of at most 64 features.
KERNEL(attention_64, AttentionArgs, ATTENTION_THREADS) {
    SHARED(Slices<2>, s);
    attend<2>(a, s);
}
KERNEL(attention_queries_64, AttentionBackwardArgs, ATTENTION_THREADS) {
    SHARED(Slices<2>, s);
    query_slopes<2>(a, s);
}
KERNEL(attention_keys_64, AttentionBackwardArgs, ATTENTION_THREADS) {
    SHARED(Slices<2>, s);
    key_slopes<2>(a, s);
}

// Heads of at most 128 features.
KERNEL(attention_128, AttentionArgs, ATTENTION_THREADS) {
    SHARED(Slices<4>, s);
    attend<4>(a, s);
}
KERNEL(attention_queries_128, AttentionBackwardArgs, ATTENTION_THREADS) {
    SHARED(Slices<4>, s);
    query_slopes<4>(a, s);
}
KERNEL(attention_keys_128, AttentionBackwardArgs, ATTENTION_THREADS) {
    SHARED(Slices<4>, s);
    key_slopes<4>(a, s);
}
