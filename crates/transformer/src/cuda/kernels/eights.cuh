// Numbers of buffers eight at a time, and sums in short runs.
//
// What is read lies along memory and comes in two steps, first as it is and then as floats, so that
// many loads are under way before the first is waited for.

struct Eight {
    float at[8];
};

// Eight numbers as they lie in memory.
template <class Number> struct Raw;
template <> struct Raw<float> {
    float4 low, high;
};
template <> struct Raw<bf16> {
    uint4 all;
};

// How many of `count` things there are from this one on.
DEVICE u32 left_of(u32 count, u32 at) { return at < count ? count - at : 0; }

DEVICE bool is_vector(const void *at) { return (u64)at % 16 == 0; }

// The numbers from `from` on, of which so many are there; zeros beyond.
DEVICE Raw<float> load_raw(const float *from, u64 there) {
    if (there >= 8 && is_vector(from)) return {((const float4 *)from)[0], ((const float4 *)from)[1]};
    float n[8];
#pragma unroll
    for (u32 e = 0; e < 8; e++) n[e] = e < there ? from[e] : 0.0f;
    return {{n[0], n[1], n[2], n[3]}, {n[4], n[5], n[6], n[7]}};
}
DEVICE Raw<bf16> load_raw(const bf16 *from, u64 there) {
    if (there >= 8 && is_vector(from)) return {*(const uint4 *)from};
    u32 n[8];
#pragma unroll
    for (u32 e = 0; e < 8; e++) n[e] = e < there ? from[e].bits : 0;
    return {{n[0] | n[1] << 16, n[2] | n[3] << 16, n[4] | n[5] << 16, n[6] | n[7] << 16}};
}

DEVICE float low_half(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float high_half(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

DEVICE Eight floats_of(const Raw<float> &raw) {
    const float4 &low = raw.low, &high = raw.high;
    return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}
DEVICE Eight floats_of(const Raw<bf16> &raw) {
    const uint4 &all = raw.all;
    return {{low_half(all.x), high_half(all.x), low_half(all.y), high_half(all.y),
             low_half(all.z), high_half(all.z), low_half(all.w), high_half(all.w)}};
}

// Calls `each(i)` for a lane's eights of a row of so many numbers, from its `from`-th on, by their first
// number: the lanes take one eight after the other.
template <class Each> DEVICE void each_eight(u32 from, u32 count, Each each) {
    for (u32 i = 8 * (lane() + WARP * from); i < count; i += 8 * WARP) each(i);
}

// Eight numbers of a row of so many from the i-th on, zeros beyond the last.
template <class Number> DEVICE Eight eight_of(const Number *row, u32 i, u32 count) {
    return floats_of(load_raw(row + i, count - i));
}

DEVICE uint4 packed(const Eight &eight) {
    const float(&e)[8] = eight.at;
    return {pair_of(e[0], e[1]), pair_of(e[2], e[3]), pair_of(e[4], e[5]), pair_of(e[6], e[7])};
}

// Writes eight numbers from `to` on, or as many as are there.
DEVICE void store_eight(float *to, const Eight &eight, u64 there) {
    const float(&e)[8] = eight.at;
    if (there >= 8 && is_vector(to)) {
        ((float4 *)to)[0] = {e[0], e[1], e[2], e[3]};
        ((float4 *)to)[1] = {e[4], e[5], e[6], e[7]};
        return;
    }
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        if (i < there) to[i] = e[i];
    }
}
DEVICE void store_eight(bf16 *to, const Eight &eight, u64 there) {
    if (there >= 8 && is_vector(to)) {
        *(uint4 *)to = packed(eight);
        return;
    }
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        if (i < there) store(to + i, eight.at[i]);
    }
}

// A factor of a product: `load(i, p)` gives what lies in memory from the element (i, p) on, of the
// outer and the inner dimension, `finish(raw, i, p)` what it is as floats.
template <class Load, class Finish> struct Source {
    Load load;
    Finish finish;
};

template <class Load, class Finish> DEVICE Source<Load, Finish> source(Load load, Finish finish) {
    return {load, finish};
}

// A factor that is what lies in memory.
struct AsItIs {
    template <class Number> DEVICE Eight operator()(const Raw<Number> &raw, u32, u32) const {
        return floats_of(raw);
    }
};
template <class Load> DEVICE Source<Load, AsItIs> source(Load load) { return {load, AsItIs{}}; }

// Sums beside each other in a row.
template <u32 COUNT> struct Run {
    static constexpr u32 LENGTH = COUNT;
    float at[COUNT];

    DEVICE void scale(float factor) {
#pragma unroll
        for (u32 e = 0; e < COUNT; e++) at[e] *= factor;
    }

    // Writes those of which so many are there.
    DEVICE void store_to(float *to, u32 there) const {
#pragma unroll
        for (u32 e = 0; e < COUNT; e++) {
            if (e < there) to[e] = at[e];
        }
    }
};
