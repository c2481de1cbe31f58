// Low-rank pairs of all segments of a batch on one group of linear layers, with ragged ranks:
// y += scale * (dropout(x) A^T) B^T, and gradients.
// CPU twin: cpu/lora.rs, which gives the same bits in float.
//
// A table lists the pairs and another what each block does, so ranks and rows are as ragged as they
// are, without padding. Forward takes two launches (lora_low, lora_up), backward three
// (lora_low_slopes, lora_pair_slopes, lora_input_slopes). Each sum runs over the pair's own columns or rows
// from first to last. Dropout is a function of step, site, text, token and feature.

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
    u32 column;         // the pair's first in a row of y
    u32 rate_per_mille; // of dropout; 0 for none
    float kept;         // the factor on features that are not dropped
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
typedef ProductTiles<WIDE, RANKS> TallTiles;
typedef ProductTiles<RANKS, WIDE> FlatTiles;
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
    u64 draw = scramble(row_key + feature) >> 32;
    return draw * 1000 < (u64)pair.rate_per_mille << 32 ? 0.0f : pair.kept;
}

DEVICE float dropped(const LoraArgs &a, const LoraPair &pair, u32 row, u64 key, u32 feature) {
    float x = load(a.x + (u64)(pair.first_row + row) * pair.inputs + feature);
    return pair.rate_per_mille == 0 ? x : x * mask_of(pair, key, feature);
}

// low, for WIDE rows and RANKS ranks.
DEVICE void low_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, LowTiles &tiles) {
    if (pair.rate_per_mille != 0) {
        u32 i = threadIdx.x;
        if (i < WIDE && tile.row + i < pair.rows) {
            tiles.row_keys[i] = row_key(a, pair, tile.row + i);
            if (tile.column == 0) pair.row_keys[tile.row + i] = tiles.row_keys[i];
        }
    }
    // `multiply` waits for all threads before it loads.
    auto left = [&](u32 i, u32 p) {
        u32 row = tile.row + i;
        return row < pair.rows ? dropped(a, pair, row, tiles.row_keys[i], p) : 0.0f;
    };
    auto right = [&](u32 j, u32 p) {
        u32 r = tile.column + j;
        return r < pair.rank ? pair.a[(u64)r * pair.inputs + p] : 0.0f;
    };
    multiply<WIDE, RANKS, Along::Inner, Along::Inner>(tiles.product, pair.inputs, left, right)
        .each([&](u32 i, u32 j, float sum) {
            if (tile.row + i < pair.rows && tile.column + j < pair.rank) {
                pair.low[(u64)(tile.row + i) * pair.rank + tile.column + j] = sum * pair.scale;
            }
        });
}

// d_low, for WIDE rows and RANKS ranks.
DEVICE void d_low_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, LowTiles &tiles) {
    auto left = [&](u32 i, u32 p) {
        u64 row = pair.first_row + tile.row + i;
        return tile.row + i < pair.rows ? load(a.dy + row * a.y_width + pair.column + p) : 0.0f;
    };
    auto right = [&](u32 j, u32 p) {
        u32 r = tile.column + j;
        return r < pair.rank ? pair.b[(u64)p * pair.rank + r] : 0.0f;
    };
    multiply<WIDE, RANKS, Along::Inner, Along::Outer>(tiles.product, pair.outputs, left, right)
        .each([&](u32 i, u32 j, float sum) {
            if (tile.row + i < pair.rows && tile.column + j < pair.rank) {
                pair.d_low[(u64)(tile.row + i) * pair.rank + tile.column + j] = sum * pair.scale;
            }
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
    typedef ProductTiles<WIDE, WIDE> Tiles;
    SHARED(Tiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    LoraPair pair = a.pairs[tile.subject];
    auto left = [&](u32 i, u32 p) {
        u32 row = tile.row + i;
        return row < pair.rows ? pair.low[(u64)row * pair.rank + p] : 0.0f;
    };
    auto right = [&](u32 j, u32 p) {
        u32 output = tile.column + j;
        return output < pair.outputs ? pair.b[(u64)output * pair.rank + p] : 0.0f;
    };
    multiply<WIDE, WIDE, Along::Inner, Along::Inner>(tiles, pair.rank, left, right)
        .each([&](u32 i, u32 j, float sum) {
            if (tile.row + i >= pair.rows || tile.column + j >= pair.outputs) return;
            u64 row = pair.first_row + tile.row + i;
            real *y = a.y + row * a.y_width + pair.column + tile.column + j;
            store(y, load(y) + sum);
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
    auto left = [&](u32 i, u32 p) {
        u32 r = tile.row + i;
        return r < pair.rank ? pair.d_low[(u64)p * pair.rank + r] : 0.0f;
    };
    auto right = [&](u32 j, u32 p) {
        u32 input = tile.column + j;
        u64 key = pair.rate_per_mille == 0 ? 0 : pair.row_keys[p];
        return input < pair.inputs ? dropped(a, pair, p, key, input) : 0.0f;
    };
    multiply<RANKS, WIDE, Along::Outer, Along::Outer>(tiles, pair.rows, left, right)
        .each([&](u32 i, u32 j, float sum) {
            if (tile.row + i < pair.rank && tile.column + j < pair.inputs) {
                pair.d_a[(u64)(tile.row + i) * pair.inputs + tile.column + j] = sum;
            }
        });
}

// d_b = dy^T low, for WIDE outputs and RANKS ranks.
DEVICE void d_b_tile(const LoraArgs &a, const LoraPair &pair, Tile tile, TallTiles &tiles) {
    auto left = [&](u32 i, u32 p) {
        u64 row = pair.first_row + p;
        u32 output = tile.row + i;
        return output < pair.outputs ? load(a.dy + row * a.y_width + pair.column + output) : 0.0f;
    };
    auto right = [&](u32 j, u32 p) {
        u32 r = tile.column + j;
        return r < pair.rank ? pair.low[(u64)p * pair.rank + r] : 0.0f;
    };
    multiply<WIDE, RANKS, Along::Outer, Along::Outer>(tiles, pair.rows, left, right)
        .each([&](u32 i, u32 j, float sum) {
            if (tile.row + i < pair.outputs && tile.column + j < pair.rank) {
                pair.d_b[(u64)(tile.row + i) * pair.rank + tile.column + j] = sum;
            }
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
    typedef ProductTiles<WIDE, WIDE> Tiles;
    SHARED(Tiles, tiles);
    Tile tile = a.tiles[blockIdx.x];
    for (u32 at = tile.subject; at < tile.subject + tile.kind; at++) {
        LoraPair pair = a.pairs[at];
        auto left = [&](u32 i, u32 p) {
            u32 row = tile.row + i;
            return row < pair.rows ? pair.d_low[(u64)row * pair.rank + p] : 0.0f;
        };
        auto right = [&](u32 j, u32 p) {
            u32 input = tile.column + j;
            return input < pair.inputs ? pair.a[(u64)p * pair.inputs + input] : 0.0f;
        };
        multiply<WIDE, WIDE, Along::Inner, Along::Outer>(tiles, pair.rank, left, right)
            .each([&](u32 i, u32 j, float sum) {
                u32 row = tile.row + i, input = tile.column + j;
                if (row >= pair.rows || input >= pair.inputs) return;
                real *dx = a.dx + (u64)(pair.first_row + row) * pair.inputs + input;
                bool is_whole = pair.rate_per_mille == 0;
                float factor = is_whole ? 1.0f : mask_of(pair, pair.row_keys[row], input);
                store(dx, load(dx) + (is_whole ? sum : sum * factor));
            });
    }
}
