// Products by tensor cores: what a warp multiplies in blocks of 16 by 16, bf16 with sums in float.
//
// A block's numbers are spread over the lanes of a warp as `mma.m16n8k16` wants them (PTX ISA,
// "Matrix Fragments for mma.m16n8k16 with floating point type"). The sums of a left and a right
// factor lie as a left factor does, so that what is computed of them is one at once.
// How a card sums within one block is its own; which numbers meet in a block is decided here, and by
// nothing but their places, so that the same numbers give the same bits.

#define SIXTEEN 16u

// Numbers of sixteen bytes.
#define VECTOR_REALS 8u

// A factor of a product: 16 by 16.
struct Block {
    u32 at[4];
};

// Sums of products: 16 rows, and 8 columns in each of two halves.
struct BlockSums {
    float at[2][4];

    DEVICE void clear() {
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
#pragma unroll
            for (u32 i = 0; i < 4; i++) at[half][i] = 0.0f;
        }
    }
};

// The rows of a block of which a lane has sums are this one and the eighth after it: sum `i` is in
// the one or the other by `i / 2`.
DEVICE u32 block_row() { return lane() / 4; }

// The column of the lane's sum `i` of a half.
DEVICE u32 block_column(u32 half, u32 i) { return 8 * half + 2 * (lane() % 4) + i % 2; }

#ifndef COTENANT_HOST
DEVICE void tensor_product(float (&sums)[4], const Block &left, u32 low, u32 high) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(left.at[0]), "r"(left.at[1]), "r"(left.at[2]), "r"(left.at[3]), "r"(low),
                   "r"(high));
}

DEVICE void load_matrices(Block &to, const bf16 *row) {
    u32 address = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.at[0]), "=r"(to.at[1]), "=r"(to.at[2]), "=r"(to.at[3])
                 : "r"(address)
                 : "memory");
}

DEVICE void load_matrices_across(Block &to, const bf16 *row) {
    u32 address = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.at[0]), "=r"(to.at[1]), "=r"(to.at[2]), "=r"(to.at[3])
                 : "r"(address)
                 : "memory");
}

// Begins to copy 16 bytes to shared memory, or zeros in their place.
DEVICE void copy_vector(bf16 *to, const bf16 *from, bool is_there) {
    u32 address = (u32)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(address), "l"(from), "r"(is_there ? 16 : 0)
                 : "memory");
}

// Waits for the thread's copies.
DEVICE void await_copies() { asm volatile("cp.async.wait_all;" : : : "memory"); }

// 2^x, within two units in the last place.
DEVICE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

// The lane's part of the block in shared memory that begins at `first`, whose rows are `pitch`
// numbers apart and begin at multiples of 16 bytes.
DEVICE const bf16 *lanes_row(const bf16 *first, u32 pitch) {
    return first + lane() % SIXTEEN * pitch + lane() / SIXTEEN * 8;
}

// A factor whose rows lie in memory as they are multiplied: a left one, or a right one for
// `add_by_rows`.
DEVICE Block load_block(const bf16 *first, u32 pitch) {
    Block block;
    load_matrices(block, lanes_row(first, pitch));
    return block;
}

// A right factor for `add_by_columns`.
DEVICE Block load_block_across(const bf16 *first, u32 pitch) {
    Block block;
    load_matrices_across(block, lanes_row(first, pitch));
    return block;
}

// sums[i][j] += sum over p of left[i][p] * right[j][p]
DEVICE void add_by_rows(BlockSums &sums, const Block &left, const Block &right) {
    tensor_product(sums.at[0], left, right.at[0], right.at[2]);
    tensor_product(sums.at[1], left, right.at[1], right.at[3]);
}

// sums[i][j] += sum over p of left[i][p] * right[p][j]
DEVICE void add_by_columns(BlockSums &sums, const Block &left, const Block &right) {
    tensor_product(sums.at[0], left, right.at[0], right.at[1]);
    tensor_product(sums.at[1], left, right.at[2], right.at[3]);
}

// Sums as a left factor.
DEVICE Block as_factor(const BlockSums &sums) {
    Block block;
    block.at[0] = pair_of(sums.at[0][0], sums.at[0][1]);
    block.at[1] = pair_of(sums.at[0][2], sums.at[0][3]);
    block.at[2] = pair_of(sums.at[1][0], sums.at[1][1]);
    block.at[3] = pair_of(sums.at[1][2], sums.at[1][3]);
    return block;
}
