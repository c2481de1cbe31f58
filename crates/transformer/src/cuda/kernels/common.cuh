// What every kernel begins with. The text is pasted in front of each file before it is compiled, at
// run time and by NVRTC, which has no headers to include.
//
// Buffers of rows hold `real`: float, or bf16 where REAL_BF16 is defined. Arithmetic is in float
// throughout, without contraction (`--fmad=false`): what is fused is written as `fmaf`, so that the
// order of operations, and with it the bits, is the one that stands here.
//
// A kernel is declared by KERNEL(name, Arguments, threads): one struct by value, called `a` in the
// body, and exactly so many threads a block. Its shared memory is one struct, by SHARED(Type, name).
// No kernel adds floats atomically, and none reads what another block of its launch writes.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef COTENANT_HOST
#define DEVICE __device__ __forceinline__
#define KERNEL(name, Arguments, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const Arguments a)
#define SHARED(Type, name)              \
    extern __shared__ float4 pool_[];   \
    Type &name = *reinterpret_cast<Type *>(pool_)
#endif

// Lanes of a warp.
#define WARP 32u
// Threads of a block, but for attention.
#define THREADS 256u

#define NEGATIVE_INFINITY __uint_as_float(0xff800000u)
#define LOG2_E 1.44269504f

// One block's share of a launch, from a table that the host lays out: what `subject` and `kind`
// mean is the kernel's to say; `row` and `column` are where its tile of the output begins.
struct Tile {
    u32 subject;
    u32 kind;
    u32 row;
    u32 column;
};

// The upper half of a float.
struct bf16 {
    u16 bits;
};

#ifdef REAL_BF16
typedef bf16 real;
#else
typedef float real;
#endif

DEVICE float load(const float *from) { return *from; }
DEVICE float load(const bf16 *from) { return __uint_as_float((u32)from->bits << 16); }

#ifndef COTENANT_HOST
// A float as bf16, to the nearest, ties to even; a value that is not a number stays one.
DEVICE u16 half_of(float value) {
    u16 half;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

// Two of them, the first in the lower half.
DEVICE u32 pair_of(float first, float second) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}
#endif

DEVICE void store(float *to, float value) { *to = value; }
DEVICE void store(bf16 *to, float value) { to->bits = half_of(value); }

// What a value is after it was stored as a real.
DEVICE float as_real(float value) {
    real stored;
    store(&stored, value);
    return load(&stored);
}

// The thread's number among all threads of the launch.
DEVICE u64 thread_of_launch() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

DEVICE u32 lane() { return threadIdx.x % WARP; }

// The row of a kernel whose warps take one row each.
DEVICE u64 row_of_warp() { return thread_of_launch() / WARP; }

// The sum over a warp, the same bits in every lane: a tree whose two sides only change places.
template <class Number> DEVICE Number warp_sum(Number value) {
    for (u32 mask = WARP / 2; mask > 0; mask /= 2) {
        value = value + __shfl_xor_sync(0xffffffffu, value, mask);
    }
    return value;
}

DEVICE float warp_max(float value) {
    for (u32 mask = WARP / 2; mask > 0; mask /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, value, mask);
        value = other > value ? other : value;
    }
    return value;
}

// e^x as cpu/lanes.rs has it, to the bit: about one unit in the last place, 0 below -87.3.
// Range reduction by ln 2 in two parts and the degree-5 minimax polynomial of Cephes `expf`.
DEVICE float exponential(float x) {
    const float round = 12582912.0f;
    x = x < 88.0f ? x : 88.0f;
    float clamped = x > -87.3f ? x : -87.3f;
    float shifted = fmaf(clamped, LOG2_E, round);
    float n = shifted - round;
    float r = fmaf(n, -0.6933594f, clamped);
    r = fmaf(n, 2.1219444e-4f, r);
    float p = 1.9875691e-4f;
    p = fmaf(p, r, 1.3981999e-3f);
    p = fmaf(p, r, 8.333452e-3f);
    p = fmaf(p, r, 4.1665796e-2f);
    p = fmaf(p, r, 0.16666666f);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r * r, r) + 1.0f;
    float scaled = __uint_as_float(__float_as_uint(p) + (__float_as_uint(shifted) << 23));
    return x > -87.3f ? scaled : 0.0f;
}

// One round of SplitMix64, as `random::scramble`.
DEVICE u64 scramble(u64 key) {
    u64 z = key + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// `random::mix` of three keys.
DEVICE u64 mix(u64 first, u64 second, u64 third) {
    u64 state = scramble(0x9e3779b97f4a7c15ull ^ scramble(first));
    state = scramble(state ^ scramble(second));
    return scramble(state ^ scramble(third));
}
