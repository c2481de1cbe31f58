// A frozen linear layer, forward and backward: one block a tile of 64 rows by 64 columns.
// CPU twin: cpu/panels.rs, which gives the same bits in float.
//
// Tiles are fixed and the inner dimension is never split, so that a row has the same bits in a batch
// of any size. Without tensor cores: for where cuBLASLt is missing or may not be used.

#define LINEAR_TILE 64u

struct LinearArgs {
    const real *x;      // [rows, inner]: forward [rows, inputs], backward [rows, outputs]
    const real *weight; // [outputs, inputs]
    const float *bias;  // [columns], or null
    real *y;            // [rows, columns]: forward [rows, outputs], backward [rows, inputs]
    u32 rows;
    u32 inner;
    u32 columns;
    u32 is_added; // to what y holds
};

// Writes a tile's sums where they belong.
DEVICE void finish_tile(const LinearArgs &a, u32 row, u32 column,
                        const Sums<LINEAR_TILE, LINEAR_TILE> &sums) {
    sums.each([&](u32 i, u32 j, float sum) {
        if (row + i >= a.rows || column + j >= a.columns) return;
        real *y = a.y + (u64)(row + i) * a.columns + column + j;
        if (a.bias) sum = sum + a.bias[column + j];
        store(y, a.is_added ? load(y) + sum : sum);
    });
}

// y = x * weight^T + bias
KERNEL(linear_forward, LinearArgs, THREADS) {
    typedef ProductTiles<LINEAR_TILE, LINEAR_TILE> Tiles;
    SHARED(Tiles, tiles);
    u32 row = blockIdx.x * LINEAR_TILE, column = blockIdx.y * LINEAR_TILE;
    auto x = [&](u32 i, u32 p) {
        return row + i < a.rows ? load(a.x + (u64)(row + i) * a.inner + p) : 0.0f;
    };
    auto weight = [&](u32 j, u32 p) {
        return column + j < a.columns ? load(a.weight + (u64)(column + j) * a.inner + p) : 0.0f;
    };
    finish_tile(a, row, column,
                multiply<LINEAR_TILE, LINEAR_TILE, Along::Inner, Along::Inner>(tiles, a.inner, x,
                                                                               weight));
}

// y = x * weight
KERNEL(linear_backward, LinearArgs, THREADS) {
    typedef ProductTiles<LINEAR_TILE, LINEAR_TILE> Tiles;
    SHARED(Tiles, tiles);
    u32 row = blockIdx.x * LINEAR_TILE, column = blockIdx.y * LINEAR_TILE;
    auto x = [&](u32 i, u32 p) {
        return row + i < a.rows ? load(a.x + (u64)(row + i) * a.inner + p) : 0.0f;
    };
    auto weight = [&](u32 j, u32 p) {
        return column + j < a.columns ? load(a.weight + (u64)p * a.columns + column + j) : 0.0f;
    };
    finish_tile(a, row, column,
                multiply<LINEAR_TILE, LINEAR_TILE, Along::Inner, Along::Outer>(tiles, a.inner, x,
                                                                               weight));
}
