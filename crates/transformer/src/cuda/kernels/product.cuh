// One tile of a matrix product, for the kernels of linear layers, low-rank pairs and losses.
//
// A block of 256 threads, 16 by 16, computes ROWS by COLUMNS sums; a thread those at its place and
// every 16th from there. Factors come through shared memory, STEP of the inner dimension at a time.
// Each sum is one chain of fused multiply-adds from first to last, as in cpu/small.rs and
// cpu/panels.rs: its bits depend neither on the tile that it falls in nor on its neighbours.

#define SIDE 16u
#define STEP 16u

template <u32 ROWS, u32 COLUMNS> struct ProductTiles {
    // One more than needed, so that a warp which writes a column does not meet in one bank.
    float left[STEP][ROWS + 1];
    float right[STEP][COLUMNS + 1];
};

// What a thread sums up.
template <u32 ROWS, u32 COLUMNS> struct Sums {
    static constexpr u32 RUN = 1;
    float at[ROWS / SIDE][COLUMNS / SIDE];

    // Hands runs of sums to `take(i, j, run)`, which may change them, by the place of their first in
    // the tile.
    template <class Take> DEVICE void each_run(Take take) {
#pragma unroll
        for (u32 r = 0; r < ROWS / SIDE; r++) {
#pragma unroll
            for (u32 c = 0; c < COLUMNS / SIDE; c++) {
                Run<RUN> run = {{at[r][c]}};
                take(threadIdx.x / SIDE + SIDE * r, threadIdx.x % SIDE + SIDE * c, run);
                at[r][c] = run.at[0];
            }
        }
    }

    // What a thread has of a tile of rows.
    typedef Sums Held;

    // Reads a tile of which so many rows and columns are there, from a matrix whose rows are `pitch`
    // numbers apart; zeros beyond.
    DEVICE static Held read(const float *from, u64 pitch, u32 rows, u32 columns) {
        Held held;
        held.each_run([&](u32 i, u32 j, Run<RUN> &run) {
            run.at[0] = i < rows && j < columns ? from[i * pitch + j] : 0.0f;
        });
        return held;
    }

    // Writes a tile in the same way.
    DEVICE void write(float *to, u64 pitch, u32 rows, u32 columns) const {
        each([&](u32 i, u32 j, float sum) {
            if (i < rows && j < columns) to[i * pitch + j] = sum;
        });
    }

    DEVICE void add(const Sums &others) {
#pragma unroll
        for (u32 r = 0; r < ROWS / SIDE; r++) {
#pragma unroll
            for (u32 c = 0; c < COLUMNS / SIDE; c++) at[r][c] = at[r][c] + others.at[r][c];
        }
    }

    // Hands each sum to `take(i, j, sum)`, by its place in the tile.
    template <class Take> DEVICE void each(Take take) const {
#pragma unroll
        for (u32 r = 0; r < ROWS / SIDE; r++) {
#pragma unroll
            for (u32 c = 0; c < COLUMNS / SIDE; c++) {
                take(threadIdx.x / SIDE + SIDE * r, threadIdx.x % SIDE + SIDE * c, at[r][c]);
            }
        }
    }
};

// Which index of a factor's elements counts up along its memory: neighbouring threads load
// neighbouring elements.
enum class Along { Inner, Outer };

// What a thread loads of a step of one factor.
template <u32 OUTER, Along ALONG> struct Loads {
    static constexpr u32 OWN = OUTER * STEP / THREADS;
    static_assert(OWN * THREADS == OUTER * STEP, "each thread loads as many");
    float at[OWN];

    // Calls `each(own, i, p)` for the thread's elements of the step.
    template <class Each> DEVICE static void each_own(Each each) {
        const bool is_inner = ALONG == Along::Inner;
#pragma unroll
        for (u32 own = 0; own < OWN; own++) {
            u32 place = threadIdx.x + own * THREADS;
            each(own, is_inner ? place / STEP : place % OUTER,
                 is_inner ? place % STEP : place / OUTER);
        }
    }

    // Begins to load `value(outer, inner)`, zeros beyond the inner dimension.
    template <class Value> DEVICE void fetch(u32 first, u32 inner, Value value) {
        each_own([&](u32 own, u32 i, u32 p) {
            at[own] = first + p < inner ? value(i, first + p) : 0.0f;
        });
    }

    DEVICE void put(float (&to)[STEP][OUTER + 1]) const {
        each_own([&](u32 own, u32 i, u32 p) { to[p][i] = at[own]; });
    }
};

// Brings a step of one factor, eight numbers at a time.
template <u32 OUTER, Along ALONG, class From>
DEVICE void fill_eights(float (&to)[STEP][OUTER + 1], u32 first, u32 inner, const From &from) {
    const bool is_inner = ALONG == Along::Inner;
    const u32 vectors = (is_inner ? STEP : OUTER) / 8;
    for (u32 at = threadIdx.x; at < OUTER * STEP / 8; at += THREADS) {
        u32 line = at / vectors, place = at % vectors * 8;
        u32 i = is_inner ? line : place, p = is_inner ? place : line;
        Eight eight = {};
        if (first + p < inner) eight = from.finish(from.load(i, first + p), i, first + p);
#pragma unroll
        for (u32 e = 0; e < 8; e++) {
            float &number = is_inner ? to[p + e][i] : to[p][i + e];
            number = eight.at[e];
        }
    }
}

// Sums of products of factors. `fetch(first)` begins to load a step that begins there, while the one
// before is multiplied, from no shared memory; `put(first)` brings it to the tiles.
template <u32 ROWS, u32 COLUMNS, class Fetch, class Put>
DEVICE Sums<ROWS, COLUMNS> multiply_filled(ProductTiles<ROWS, COLUMNS> &tiles, u32 inner,
                                           Fetch fetch, Put put) {
    Sums<ROWS, COLUMNS> sums;
    for (u32 r = 0; r < ROWS / SIDE; r++) {
        for (u32 c = 0; c < COLUMNS / SIDE; c++) sums.at[r][c] = 0.0f;
    }
    u32 y = threadIdx.x / SIDE, x = threadIdx.x % SIDE;
    fetch(0);
    for (u32 first = 0; first < inner; first += STEP) {
        // The step before was read, and what the kernel wrote for what is put is there.
        __syncthreads();
        put(first);
        __syncthreads();
        if (first + STEP < inner) fetch(first + STEP);
#pragma unroll
        for (u32 p = 0; p < STEP; p++) {
#pragma unroll
            for (u32 r = 0; r < ROWS / SIDE; r++) {
#pragma unroll
                for (u32 c = 0; c < COLUMNS / SIDE; c++) {
                    sums.at[r][c] = fmaf(tiles.left[p][y + SIDE * r],
                                         tiles.right[p][x + SIDE * c], sums.at[r][c]);
                }
            }
        }
    }
    return sums;
}

// sums[i][j] = sum over p < inner of left(i, p) * right(j, p), with i and j counted from the tile's
// corner. Beyond the matrices `left` and `right` give zero.
template <u32 ROWS, u32 COLUMNS, Along LEFT, Along RIGHT, class Left, class Right>
DEVICE Sums<ROWS, COLUMNS> multiply(ProductTiles<ROWS, COLUMNS> &tiles, u32 inner, Left left,
                                    Right right) {
    Loads<ROWS, LEFT> of_left;
    Loads<COLUMNS, RIGHT> of_right;
    return multiply_filled(
        tiles, inner,
        [&](u32 first) {
            of_left.fetch(first, inner, left);
            of_right.fetch(first, inner, right);
        },
        [&](u32) {
            of_left.put(tiles.left);
            of_right.put(tiles.right);
        });
}

// The same of sources, eight numbers at a time.
template <Along LEFT, Along RIGHT, u32 ROWS, u32 COLUMNS, class Left, class Right>
DEVICE Sums<ROWS, COLUMNS> multiply_eights(ProductTiles<ROWS, COLUMNS> &tiles, u32 inner,
                                           const Left &left, const Right &right) {
    return multiply_filled(
        tiles, inner, [](u32) {},
        [&](u32 first) {
            fill_eights<ROWS, LEFT>(tiles.left, first, inner, left);
            fill_eights<COLUMNS, RIGHT>(tiles.right, first, inner, right);
        });
}
