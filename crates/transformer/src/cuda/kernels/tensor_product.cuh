// One tile of a matrix product by tensor cores, for the kernels of low-rank pairs on rows of bf16: in
// the place of product.cuh's `multiply_eights`.
//
// Factors are rounded to bf16 on their way through shared memory, TENSOR_STEP of the inner dimension
// at a time; the next step is on its way while this one is multiplied. Each of the block's warps sums
// up its own blocks of 16 by 16, from first to last.

#define TENSOR_STEP 64u

// A tile of a factor: lines along memory, along the inner dimension or across it.
template <u32 OUTER> struct Factor {
    // One vector longer than needed, so that the rows of a block lie in different banks.
    static constexpr u32 PITCH_INNER = TENSOR_STEP + 8;
    static constexpr u32 PITCH_OUTER = OUTER + 8;
    static constexpr u32 INNER = OUTER * PITCH_INNER, ACROSS = TENSOR_STEP * PITCH_OUTER;
    static constexpr u32 VECTORS = OUTER * TENSOR_STEP / 8;
    // Vectors of a thread.
    static constexpr u32 OWN = (VECTORS + THREADS - 1) / THREADS;
    bf16 at[INNER > ACROSS ? INNER : ACROSS];

    // Calls `each(own, outer, p, place)` for the thread's vectors of a step of which so many numbers
    // are there, up to a whole number of blocks: where they are in the factor and in the tile.
    template <Along ALONG, class Each> DEVICE static void each_vector(u32 there, Each each) {
        const bool is_inner = ALONG == Along::Inner;
        const u32 vectors = (is_inner ? TENSOR_STEP : OUTER) / 8;
        u32 wanted = (there + SIXTEEN - 1) / SIXTEEN * SIXTEEN;
#pragma unroll
        for (u32 own = 0; own < OWN; own++) {
            u32 i = threadIdx.x + own * THREADS;
            u32 line = i / vectors, place = i % vectors * 8;
            u32 outer = is_inner ? line : place, p = is_inner ? place : line;
            if (i >= VECTORS || p >= wanted) continue;
            each(own, outer, p, line * (is_inner ? PITCH_INNER : PITCH_OUTER) + place);
        }
    }

    // Begins to load a step.
    template <Along ALONG, class From, class Loaded>
    DEVICE static void fetch(Loaded (&raw)[OWN], u32 first, u32 there, const From &from) {
        each_vector<ALONG>(there, [&](u32 own, u32 outer, u32 p, u32) {
            raw[own] = p < there ? from.load(outer, first + p) : Loaded{};
        });
    }

    // Puts it where products read it.
    template <Along ALONG, class From, class Loaded>
    DEVICE void put(const Loaded (&raw)[OWN], u32 first, u32 there, const From &from) {
        each_vector<ALONG>(there, [&](u32 own, u32 outer, u32 p, u32 place) {
            Eight eight = {};
            if (p < there) eight = from.finish(raw[own], outer, first + p);
            *(uint4 *)&at[place] = packed(eight);
        });
    }

    // The block that begins there, as a left factor.
    template <Along ALONG> DEVICE Block left(u32 outer, u32 p) const {
        if (ALONG == Along::Inner) return load_block(&at[outer * PITCH_INNER + p], PITCH_INNER);
        Block block = load_block_across(&at[p * PITCH_OUTER + outer], PITCH_OUTER);
        // Its quarters came row by row of what lies across.
        u32 quarter = block.at[1];
        block.at[1] = block.at[2];
        block.at[2] = quarter;
        return block;
    }

    // Adds the product with the block that begins there, as a right factor.
    template <Along ALONG>
    DEVICE void add_right(BlockSums &sums, const Block &left, u32 outer, u32 p) const {
        if (ALONG == Along::Inner) {
            add_by_rows(sums, left, load_block(&at[outer * PITCH_INNER + p], PITCH_INNER));
        } else {
            add_by_columns(sums, left, load_block_across(&at[p * PITCH_OUTER + outer], PITCH_OUTER));
        }
    }
};

template <u32 ROWS, u32 COLUMNS> struct TensorTiles {
    Factor<ROWS> left;
    Factor<COLUMNS> right;
};

// What a warp sums up: blocks beside each other.
template <u32 ROWS, u32 COLUMNS> struct TensorSums {
    static constexpr u32 RUN = 2;
    static constexpr u32 BESIDE = COLUMNS / SIXTEEN, ALL = ROWS / SIXTEEN * BESIDE;
    static constexpr u32 WARPS = THREADS / WARP;
    static constexpr u32 OWN = ALL > WARPS ? ALL / WARPS : 1, PAIRS = 4 * OWN;
    static_assert(BESIDE % OWN == 0, "a warp's blocks are in one row");
    BlockSums at[OWN];

    // The warp's first block; beyond all of them where there are fewer than warps.
    DEVICE static u32 first() { return threadIdx.x / WARP * OWN; }
    DEVICE static bool is_idle() { return first() >= ALL; }
    DEVICE static u32 row() { return first() / BESIDE * SIXTEEN; }
    DEVICE static u32 column() { return first() % BESIDE * SIXTEEN; }

    // Whether all pairs of such a tile are there or not there as one, at multiples of their size.
    DEVICE static bool are_pairs(const bf16 *tile, u64 pitch, u32 columns) {
        return pitch % 2 == 0 && columns % 2 == 0 && (u64)tile % 4 == 0;
    }

    // Calls `each(n, i, j)` for the lane's pairs of sums, by their number and the place of their first
    // in the tile.
    template <class Each> DEVICE static void each_pair(Each each) {
        if (is_idle()) return;
#pragma unroll
        for (u32 n = 0; n < PAIRS; n++) {
            u32 b = n / 4, half = n / 2 % 2, r = n % 2;
            each(n, row() + block_row() + 8 * r, column() + b * SIXTEEN + block_column(half, 0));
        }
    }
    DEVICE float *pair(u32 n) { return &at[n / 4].at[n / 2 % 2][2 * (n % 2)]; }

    // Hands runs of sums to `take(i, j, run)`, which may change them, by the place of their first in
    // the tile.
    template <class Take> DEVICE void each_run(Take take) {
        each_pair([&](u32 n, u32 i, u32 j) {
            float *sums = pair(n);
            Run<RUN> run = {{sums[0], sums[1]}};
            take(i, j, run);
            sums[0] = run.at[0];
            sums[1] = run.at[1];
        });
    }

    // The lane's pairs of a tile of rows, as they lie in memory.
    struct Held {
        u32 at[PAIRS];
    };

    // Begins to read a tile of which so many rows and columns are there, from a matrix whose rows are
    // `pitch` numbers apart.
    DEVICE static Held read(const bf16 *from, u64 pitch, u32 rows, u32 columns) {
        Held held = {};
        if (are_pairs(from, pitch, columns)) {
            each_pair([&](u32 n, u32 i, u32 j) {
                bool is_there = i < rows && j < columns;
                held.at[n] = is_there ? *(const u32 *)(from + i * pitch + j) : 0;
            });
        } else {
            each_pair([&](u32 n, u32 i, u32 j) {
                const bf16 *pair = from + i * pitch + j;
                u32 low = i < rows && j < columns ? pair[0].bits : 0;
                u32 high = i < rows && j + 1 < columns ? pair[1].bits : 0;
                held.at[n] = low | high << 16;
            });
        }
        return held;
    }

    // Writes a tile in the same way.
    DEVICE void write(bf16 *to, u64 pitch, u32 rows, u32 columns) {
        const bool is_paired = are_pairs(to, pitch, columns);
        each_pair([&](u32 n, u32 i, u32 j) {
            if (i >= rows || j >= columns) return;
            bf16 *place = to + i * pitch + j;
            const float *sums = pair(n);
            if (is_paired) {
                *(u32 *)place = pair_of(sums[0], sums[1]);
                return;
            }
            store(place, sums[0]);
            if (j + 1 < columns) store(place + 1, sums[1]);
        });
    }

    DEVICE void add(const Held &held) {
        each_pair([&](u32 n, u32, u32) {
            float *sums = pair(n);
            sums[0] = sums[0] + low_half(held.at[n]);
            sums[1] = sums[1] + high_half(held.at[n]);
        });
    }

    DEVICE void add(const TensorSums &others) {
#pragma unroll
        for (u32 b = 0; b < OWN; b++) {
#pragma unroll
            for (u32 i = 0; i < 8; i++) {
                at[b].at[i / 4][i % 4] = at[b].at[i / 4][i % 4] + others.at[b].at[i / 4][i % 4];
            }
        }
    }
};

// See product.cuh.
template <Along LEFT, Along RIGHT, u32 ROWS, u32 COLUMNS, class Left, class Right>
DEVICE TensorSums<ROWS, COLUMNS> multiply_eights(TensorTiles<ROWS, COLUMNS> &tiles, u32 inner,
                                                 const Left &left, const Right &right) {
    typedef TensorSums<ROWS, COLUMNS> Own;
    Own sums;
#pragma unroll
    for (u32 b = 0; b < Own::OWN; b++) sums.at[b].clear();
    decltype(left.load(0u, 0u)) left_raw[Factor<ROWS>::OWN];
    decltype(right.load(0u, 0u)) right_raw[Factor<COLUMNS>::OWN];
    auto fetch = [&](u32 first) {
        u32 there = inner - first < TENSOR_STEP ? inner - first : TENSOR_STEP;
        Factor<ROWS>::template fetch<LEFT>(left_raw, first, there, left);
        Factor<COLUMNS>::template fetch<RIGHT>(right_raw, first, there, right);
        return there;
    };
    u32 there = fetch(0);
    for (u32 first = 0; first < inner; first += TENSOR_STEP) {
        // The step before was read, and what the kernel wrote to finish loads with is there.
        __syncthreads();
        tiles.left.template put<LEFT>(left_raw, first, there, left);
        tiles.right.template put<RIGHT>(right_raw, first, there, right);
        __syncthreads();
        u32 now = there;
        if (first + TENSOR_STEP < inner) there = fetch(first + TENSOR_STEP);
        if (Own::is_idle()) continue;
        for (u32 p = 0; p < now; p += SIXTEEN) {
            Block block = tiles.left.template left<LEFT>(Own::row(), p);
#pragma unroll
            for (u32 b = 0; b < Own::OWN; b++) {
                u32 column = Own::column() + b * SIXTEEN;
                tiles.right.template add_right<RIGHT>(sums.at[b], block, column, p);
            }
        }
    }
    return sums;
}

// What multiplies low-rank pairs.
#ifdef REAL_BF16
template <u32 ROWS, u32 COLUMNS> using PairTilesOf = TensorTiles<ROWS, COLUMNS>;
template <u32 ROWS, u32 COLUMNS> using PairSumsOf = TensorSums<ROWS, COLUMNS>;
typedef Run<2> PairRun;
#else
template <u32 ROWS, u32 COLUMNS> using PairTilesOf = ProductTiles<ROWS, COLUMNS>;
template <u32 ROWS, u32 COLUMNS> using PairSumsOf = Sums<ROWS, COLUMNS>;
typedef Run<1> PairRun;
#endif
