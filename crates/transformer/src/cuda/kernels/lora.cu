// Low-rank pairs of all segments of a batch on one group of linear layers, with ragged ranks:
// y += scale * (dropout(x) A^T) B^T, and gradients.
// CPU twin: cpu/lora.rs, which gives the same bits in float. On rows of bf16 tensor cores multiply, and
// factors are rounded to bf16.
//
// A table lists the pairs and another what each block does, so ranks and rows are as ragged as they
// are, without padding. Forward takes two launches (lora_low, lora_up), backward three
// (lora_low_slopes, lora_pair_slopes, lora_input_slopes). Each sum runs over the pair's own columns or
// rows from first to last; on rows of bf16, gradients of a pair with many rows are summed slab by slab,
// by several blocks, and the slabs' sums are added in the next launch. Dropout is a function of step,
// site, text, token and feature.

// Rows or columns of a tile: along the rank, and along all else.
#define RANKS 16u
#define WIDE 64u

struct LoraPair {
    const float *a;  // [rank, inputs]
    const float *b;  // [outputs, rank]
    float *d_a;      // [rank, inputs]
    float *d_b;      // [outputs, rank]
    float *low;      // [rows, rank]: scale * dropout(x) A^T
    float *d_low;    // [rows, rank]: scale * dy B
    float *partial;  // [slabs, rank * (inputs + outputs)]: d_a and d_b by slabs; null for one slab
    u8 *masks;       // [rows, ceil(inputs / 8)]: a bit a feature, set where it is kept; or null
    u64 dropout_key; // of tenant and step
    u64 site;        // the layer and module, as the CPU twin counts them
    u32 first_row;   // of the segment in the batch
    u32 rows;
    u32 rank;
    u32 inputs;
    u32 outputs;
    u32 slab_rows;     // of which a block of lora_pair_slopes sums the slopes
    u32 column;        // the pair's first in a row of y
    u32 dropped_below; // features whose draws are below are dropped; 0 for no dropout
    float kept;        // the factor on features that are not dropped
    float scale;
};

struct LoraArgs {
    const LoraPair *pairs;
    const Tile *tiles;    // one a block
    const real *x;        // [tokens, inputs]
    real *y;              // [tokens, y_width]
    const real *dy;       // [tokens, y_width]
    real *dx;             // [tokens, inputs]
    const u32 *texts;     // [tokens], the text of each row
    const u32 *offsets;   // [texts + 1]
    const u64 *text_keys; // [texts], of dropout
    u32 y_width;
};

// Tiles that lie along the rank, across it, and along neither.
typedef PairTilesOf<WIDE, RANKS> TallTiles;
typedef PairTilesOf<RANKS, WIDE> FlatTiles;
typedef PairTilesOf<WIDE, WIDE> WideTiles;
struct LowTiles {
    TallTiles product;
    u64 row_keys[WIDE];
};

// What the mask of a row begins from; feature i draws from it plus i.
DEVICE u64 row_key(const LoraArgs &a, const LoraPair &pair, u32 row) {
    u32 text = a.texts[pair.first_row + row];
    u32 token = pair.first_row + row - a.offsets[text];
    return mix(pair.dropout_key, pair.site, a.text_keys[text]) + (u64)token * pair.inputs;
}

// Which of the eight features from this one on are kept: a bit each.
DEVICE u32 draw_mask(const LoraPair &pair, u64 row_key, u32 feature) {
    u32 mask = 0;
#pragma unroll
    for (u32 e = 0; e < 8; e++) {
        u32 draw = (u32)(scramble(row_key + feature + e) >> 32);
        mask |= (u32)(draw >= pair.dropped_below) << e;
    }
    return mask;
}

// Where the mask of a row's eight features is kept.
DEVICE u8 *mask_at(const LoraPair &pair, u32 row, u32 feature) {
    return pair.masks + (u64)row * ((pair.inputs + 7) / 8) + feature / 8;
}

// The factor of a feature: 0, or what keeps the mean.
DEVICE float factor_of(const LoraPair &pair, u32 mask, u32 e) {
    return mask >> e & 1 ? pair.kept : 0.0f;
}

// Eight features of x from this one on, zeros beyond the last; before dropout.
DEVICE Raw<real> inputs_of(const LoraArgs &a, const LoraPair &pair, u32 row, u32 feature) {
    const real *x = a.x + (u64)(pair.first_row + row) * pair.inputs + feature;
    return load_raw(x, left_of(pair.inputs, feature));
}

// The same after it.
DEVICE Eight dropped(const LoraPair &pair, const Raw<real> &raw, u32 mask) {
    Eight eight = floats_of(raw);
#pragma unroll
    for (u32 e = 0; e < 8; e++) eight.at[e] = eight.at[e] * factor_of(pair, mask, e);
    return eight;
}

// Eight features of dy, by the row and the feature among the pair's own.
DEVICE Raw<real> slopes_of(const LoraArgs &a, const LoraPair &pair, u32 row, u32 feature) {
    u64 at = (u64)(pair.first_row + row) * a.y_width + pair.column + feature;
    return load_raw(a.dy + at, left_of(pair.outputs, feature));
}

// Eight of a row of a matrix of floats.
DEVICE Raw<float> row_of(const float *matrix, u32 row, u32 column, u32 columns) {
    return load_raw(matrix + (u64)row * columns + column, left_of(columns, column));
}

// Writes a run of a tile of a matrix of floats.
template <class Sums>
DEVICE void store_tile(float *matrix, Tile tile, u32 i, u32 j, const Sums &sums, u32 rows,
                       u32 columns) {
    u32 row = tile.row + i, column = tile.column + j;
    if (row >= rows) return;
    sums.store_to(matrix + (u64)row * columns + column, left_of(columns, column));
}

// low, for WIDE rows and RANKS ranks. What is drawn is kept for the kernels that follow, where they
// want it.
DEVICE void low_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, LowTiles &tiles) {
    if (pair.dropped_below != 0) {
        u32 i = threadIdx.x;
        if (i < WIDE && tile.row + i < pair.rows) {
            tiles.row_keys[i] = row_key(a, pair, tile.row + i);
        }
    }
    // `multiply_eights` waits for all threads before it finishes what it loads.
    auto x = source(
        [&](u32 i, u32 p) {
            u32 row = tile.row + i;
            return row < pair.rows ? inputs_of(a, pair, row, p) : Raw<real>{};
        },
        [&](const Raw<real> &raw, u32 i, u32 p) {
            u32 row = tile.row + i;
            if (pair.dropped_below == 0 || row >= pair.rows) return floats_of(raw);
            u32 mask = draw_mask(pair, tiles.row_keys[i], p);
            if (pair.masks && tile.column == 0) *mask_at(pair, row, p) = mask;
            return dropped(pair, raw, mask);
        });
    auto down = source([&](u32 j, u32 p) {
        u32 r = tile.column + j;
        return r < pair.rank ? row_of(pair.a, r, p, pair.inputs) : Raw<float>{};
    });
    multiply_eights<Along::Inner, Along::Inner>(tiles.product, pair.inputs, x, down)
        .each_run([&](u32 i, u32 j, PairRun &sums) {
            sums.scale(pair.scale);
            store_tile(pair.low, tile, i, j, sums, pair.rows, pair.rank);
        });
}

// d_low, for WIDE rows and RANKS ranks.
DEVICE void d_low_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, LowTiles &tiles) {
    auto dy = source([&](u32 i, u32 p) {
        u32 row = tile.row + i;
        return row < pair.rows ? slopes_of(a, pair, row, p) : Raw<real>{};
    });
    auto up = source([&](u32 j, u32 p) { return row_of(pair.b, p, tile.column + j, pair.rank); });
    multiply_eights<Along::Inner, Along::Outer>(tiles.product, pair.outputs, dy, up)
        .each_run([&](u32 i, u32 j, PairRun &sums) {
            sums.scale(pair.scale);
            store_tile(pair.d_low, tile, i, j, sums, pair.rows, pair.rank);
        });
}

// low = scale * dropout(x) A^T.  Tile: `subject` the pair, `row` of the segment, `column` a rank.
KERNEL(lora_low, LoraArgs, THREADS) {
    SHARED(LowTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    low_tile(a, pair, tile, tiles);
}

// y += low B^T.  Tile: `subject` the pair, `row` of the segment, `column` an output.
KERNEL(lora_up, LoraArgs, THREADS) {
    SHARED(WideTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    u32 rows = left_of(pair.rows, tile.row), outputs = left_of(pair.outputs, tile.column);
    u64 first = (u64)(pair.first_row + tile.row) * a.y_width + pair.column + tile.column;
    real *y = a.y + first;
    // On its way while the sums are made.
    auto before = PairSumsOf<WIDE, WIDE>::read(y, a.y_width, rows, outputs);
    auto low = source([&](u32 i, u32 p) {
        return i < rows ? row_of(pair.low, tile.row + i, p, pair.rank) : Raw<float>{};
    });
    auto up = source([&](u32 j, u32 p) {
        return j < outputs ? row_of(pair.b, tile.column + j, p, pair.rank) : Raw<float>{};
    });
    auto sums = multiply_eights<Along::Inner, Along::Inner>(tiles, pair.rank, low, up);
    sums.add(before);
    sums.write(y, a.y_width, rows, outputs);
}

// low again, and d_low.  Tile: as in lora_low; `kind` 0 for low, 1 for d_low.
KERNEL(lora_low_slopes, LoraArgs, THREADS) {
    SHARED(LowTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    if (tile.kind == 0) {
        low_tile(a, pair, tile, tiles);
    } else {
        d_low_tile(a, pair, tile, tiles);
    }
}

union PairTiles {
    FlatTiles a;
    TallTiles b;
};

// Some rows of a pair, and where what is summed over them belongs.
struct Slab {
    u32 first;
    u32 rows;
    float *d_a;
    float *d_b;
};

DEVICE Slab slab_of(const LoraPair &pair, u32 number) {
    u32 first = number * pair.slab_rows, left = left_of(pair.rows, first);
    u32 rows = left < pair.slab_rows ? left : pair.slab_rows;
    if (!pair.partial) return {first, rows, pair.d_a, pair.d_b};
    float *d_a = pair.partial + (u64)number * pair.rank * (pair.inputs + pair.outputs);
    return {first, rows, d_a, d_a + (u64)pair.rank * pair.inputs};
}

// Eight features of x, and which are kept.
struct Masked {
    Raw<real> raw;
    u32 mask;
};

// d_a = d_low^T dropout(x), for RANKS ranks and WIDE inputs.
DEVICE void d_a_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, const Slab &slab,
                     FlatTiles &tiles) {
    auto d_low = source([&](u32 i, u32 p) {
        return row_of(pair.d_low, slab.first + p, tile.row + i, pair.rank);
    });
    auto x = source(
        [&](u32 j, u32 p) {
            u32 row = slab.first + p, feature = tile.column + j;
            bool is_masked = pair.dropped_below != 0 && feature < pair.inputs;
            u32 mask = is_masked ? *mask_at(pair, row, feature) : 0;
            return Masked{inputs_of(a, pair, row, feature), mask};
        },
        [&](const Masked &masked, u32, u32) {
            if (pair.dropped_below == 0) return floats_of(masked.raw);
            return dropped(pair, masked.raw, masked.mask);
        });
    multiply_eights<Along::Outer, Along::Outer>(tiles, slab.rows, d_low, x)
        .each_run([&](u32 i, u32 j, PairRun &sums) {
            store_tile(slab.d_a, tile, i, j, sums, pair.rank, pair.inputs);
        });
}

// d_b = dy^T low, for WIDE outputs and RANKS ranks.
DEVICE void d_b_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, const Slab &slab,
                     TallTiles &tiles) {
    auto dy =
        source([&](u32 i, u32 p) { return slopes_of(a, pair, slab.first + p, tile.row + i); });
    auto low = source([&](u32 j, u32 p) {
        return row_of(pair.low, slab.first + p, tile.column + j, pair.rank);
    });
    multiply_eights<Along::Outer, Along::Outer>(tiles, slab.rows, dy, low)
        .each_run([&](u32 i, u32 j, PairRun &sums) {
            store_tile(slab.d_b, tile, i, j, sums, pair.outputs, pair.rank);
        });
}

// Tile: `subject` the pair; `kind` twice the slab for d_a, `row` a rank and `column` an input; one more
// for d_b, `row` an output and `column` a rank.
KERNEL(lora_pair_slopes, LoraArgs, THREADS) {
    SHARED(PairTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    Slab slab = slab_of(pair, tile.kind / 2);
    if (tile.kind % 2 == 0) {
        d_a_tile(a, pair, tile, slab, tiles.a);
    } else {
        d_b_tile(a, pair, tile, slab, tiles.b);
    }
}

// d_a and d_b from those of the slabs, in their order; one thread a value.
DEVICE void sum_slabs(const LoraPair &pair, u32 first) {
    u32 values = pair.rank * (pair.inputs + pair.outputs), of_a = pair.rank * pair.inputs;
    u32 at = first + threadIdx.x;
    if (at >= values) return;
    float sum = pair.partial[at];
    u32 slabs = (pair.rows + pair.slab_rows - 1) / pair.slab_rows;
#pragma unroll 4
    for (u32 slab = 1; slab < slabs; slab++) sum = sum + pair.partial[(u64)slab * values + at];
    if (at < of_a) {
        pair.d_a[at] = sum;
    } else {
        pair.d_b[at - of_a] = sum;
    }
}

// dx += mask * (d_low A), for the pairs of a segment one after another.  Tile: `subject` the first
// of them, `kind` how many, `row` of the segment, `column` an input. Or, with `kind` 0, the sum of a
// pair's slabs, from its value `row` on.
KERNEL(lora_input_slopes, LoraArgs, THREADS) {
    SHARED(WideTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    if (tile.kind == 0) {
        sum_slabs(pair, tile.row);
        return;
    }
    u32 rows = left_of(pair.rows, tile.row), inputs = left_of(pair.inputs, tile.column);
    real *dx = a.dx + (u64)(pair.first_row + tile.row) * pair.inputs + tile.column;
    u32 width = pair.inputs;
    // On its way while the first sums are made.
    auto before = PairSumsOf<WIDE, WIDE>::read(dx, width, rows, inputs);
    PairSumsOf<WIDE, WIDE> all;
    for (u32 at = tile.subject; at < tile.subject + tile.kind; at++) {
        pair = a.pairs[at];
        auto d_low = source([&](u32 i, u32 p) {
            return i < rows ? row_of(pair.d_low, tile.row + i, p, pair.rank) : Raw<float>{};
        });
        auto down = source(
            [&](u32 j, u32 p) { return row_of(pair.a, p, tile.column + j, pair.inputs); });
        auto sums = multiply_eights<Along::Inner, Along::Outer>(tiles, pair.rank, d_low, down);
        if (pair.dropped_below != 0) {
            sums.each_run([&](u32 i, u32 j, PairRun &run) {
                bool is_there = i < rows && j < inputs;
                u32 mask = is_there ? *mask_at(pair, tile.row + i, tile.column + j) : 0;
#pragma unroll
                for (u32 e = 0; e < PairRun::LENGTH; e++) {
                    run.at[e] = run.at[e] * factor_of(pair, mask, j % 8 + e);
                }
            });
        }
        if (at == tile.subject) {
            sums.add(before);
            all = sums;
        } else {
            all.add(sums);
        }
    }
    all.write(dx, width, rows, inputs);
}
