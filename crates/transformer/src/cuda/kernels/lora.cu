// Low-rank pairs of all segments of a batch on one group of linear layers, with ragged ranks:
// y += scale * (dropout(x) A^T) B^T, and gradients.
// CPU twin: cpu/lora.rs, which gives the same bits in float. On rows of bf16 tensor cores multiply, and
// factors are rounded to bf16.
//
// A table lists the pairs and another what each block does, so ranks and rows are as ragged as they
// are, without padding. Forward takes two launches (lora_low, lora_up), backward three
// (lora_low_slopes, lora_pair_slopes, lora_input_slopes). Each sum runs over the pair's own columns or
// rows from first to last. Dropout is a function of step, site, text, token and feature.

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
    u64 *row_keys;   // [rows]: of each row's mask
    u64 dropout_key; // of tenant and step
    u64 site;        // the layer and module, as the CPU twin counts them
    u32 first_row;   // of the segment in the batch
    u32 rows;
    u32 rank;
    u32 inputs;
    u32 outputs;
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

// The factor of a feature: 0, or what keeps the mean.
DEVICE float mask_of(const LoraPair &pair, u64 row_key, u32 feature) {
    u32 draw = (u32)(scramble(row_key + feature) >> 32);
    return draw < pair.dropped_below ? 0.0f : pair.kept;
}

// Eight features of x from this one on, zeros beyond the last; before dropout.
DEVICE Raw<real> inputs_of(const LoraArgs &a, const LoraPair &pair, u32 row, u32 feature) {
    const real *x = a.x + (u64)(pair.first_row + row) * pair.inputs + feature;
    return load_raw(x, left_of(pair.inputs, feature));
}

// The same after it, for a row of this key.
DEVICE Eight dropped(const LoraPair &pair, const Raw<real> &raw, u64 key, u32 feature) {
    Eight eight = floats_of(raw);
    if (pair.dropped_below == 0) return eight;
#pragma unroll
    for (u32 e = 0; e < 8; e++) eight.at[e] = eight.at[e] * mask_of(pair, key, feature + e);
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

// low, for WIDE rows and RANKS ranks.
DEVICE void low_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, LowTiles &tiles) {
    if (pair.dropped_below != 0) {
        u32 i = threadIdx.x;
        if (i < WIDE && tile.row + i < pair.rows) {
            tiles.row_keys[i] = row_key(a, pair, tile.row + i);
            if (tile.column == 0) pair.row_keys[tile.row + i] = tiles.row_keys[i];
        }
    }
    // `multiply_eights` waits for all threads before it finishes what it loads.
    auto x = source(
        [&](u32 i, u32 p) {
            u32 row = tile.row + i;
            return row < pair.rows ? inputs_of(a, pair, row, p) : Raw<real>{};
        },
        [&](const Raw<real> &raw, u32 i, u32 p) {
            return tile.row + i < pair.rows ? dropped(pair, raw, tiles.row_keys[i], p) : Eight{};
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
    // Loaded before the sums are ready.
    PairSumsOf<WIDE, WIDE> sums;
    sums.each_run([&](u32 i, u32 j, PairRun &run) {
        load_run(run, y + (u64)i * a.y_width + j, i < rows ? left_of(outputs, j) : 0);
    });
    auto low = source([&](u32 i, u32 p) {
        return i < rows ? row_of(pair.low, tile.row + i, p, pair.rank) : Raw<float>{};
    });
    auto up = source([&](u32 j, u32 p) {
        return j < outputs ? row_of(pair.b, tile.column + j, p, pair.rank) : Raw<float>{};
    });
    sums.add(multiply_eights<Along::Inner, Along::Inner>(tiles, pair.rank, low, up));
    sums.each_run([&](u32 i, u32 j, PairRun &run) {
        store_run(y + (u64)i * a.y_width + j, run, i < rows ? left_of(outputs, j) : 0);
    });
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

// d_a = d_low^T dropout(x), for RANKS ranks and WIDE inputs.
DEVICE void d_a_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, FlatTiles &tiles) {
    auto d_low =
        source([&](u32 i, u32 p) { return row_of(pair.d_low, p, tile.row + i, pair.rank); });
    auto x = source(
        [&](u32 j, u32 p) { return inputs_of(a, pair, p, tile.column + j); },
        [&](const Raw<real> &raw, u32 j, u32 p) {
            u64 key = pair.dropped_below == 0 ? 0 : pair.row_keys[p];
            return dropped(pair, raw, key, tile.column + j);
        });
    multiply_eights<Along::Outer, Along::Outer>(tiles, pair.rows, d_low, x)
        .each_run([&](u32 i, u32 j, PairRun &sums) {
            store_tile(pair.d_a, tile, i, j, sums, pair.rank, pair.inputs);
        });
}

// d_b = dy^T low, for WIDE outputs and RANKS ranks.
DEVICE void d_b_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, TallTiles &tiles) {
    auto dy = source([&](u32 i, u32 p) { return slopes_of(a, pair, p, tile.row + i); });
    auto low = source([&](u32 j, u32 p) { return row_of(pair.low, p, tile.column + j, pair.rank); });
    multiply_eights<Along::Outer, Along::Outer>(tiles, pair.rows, dy, low)
        .each_run([&](u32 i, u32 j, PairRun &sums) {
            store_tile(pair.d_b, tile, i, j, sums, pair.outputs, pair.rank);
        });
}

// Tile: `subject` the pair; `kind` 0 for d_a, `row` a rank and `column` an input; `kind` 1 for d_b,
// `row` an output and `column` a rank.
KERNEL(lora_pair_slopes, LoraArgs, THREADS) {
    SHARED(PairTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    if (tile.kind == 0) {
        d_a_tile(a, pair, tile, tiles.a);
    } else {
        d_b_tile(a, pair, tile, tiles.b);
    }
}

// dx += mask * (d_low A), for the pairs of a segment one after another.  Tile: `subject` the first
// of them, `kind` how many, `row` of the segment, `column` an input.
KERNEL(lora_input_slopes, LoraArgs, THREADS) {
    SHARED(WideTiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    u32 rows = left_of(pair.rows, tile.row), inputs = left_of(pair.inputs, tile.column);
    real *dx = a.dx + (u64)(pair.first_row + tile.row) * pair.inputs + tile.column;
    u32 stride = pair.inputs;
    PairSumsOf<WIDE, WIDE> all;
    all.each_run([&](u32 i, u32 j, PairRun &run) {
        load_run(run, dx + (u64)i * stride + j, i < rows ? left_of(inputs, j) : 0);
    });
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
                u64 key = i < rows ? pair.row_keys[tile.row + i] : 0;
#pragma unroll
                for (u32 e = 0; e < PairRun::LENGTH; e++) {
                    run.at[e] = run.at[e] * mask_of(pair, key, tile.column + j + e);
                }
            });
        }
        all.add(sums);
    }
    all.each_run([&](u32 i, u32 j, PairRun &run) {
        store_run(dx + (u64)i * stride + j, run, i < rows ? left_of(inputs, j) : 0);
    });
}
