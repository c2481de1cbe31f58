// GELU with the exact normal distribution, and its derivative; one thread eight values.
// CPU twin: cpu/gelu.rs, the same polynomial and the same order.

struct GeluArgs {
    const real *x; // [count]
    real *y;       // [count]
    u64 count;
};

struct GeluBackwardArgs {
    const real *x; // [count]
    real *dy;      // [count], becomes the gradient by x
    u64 count;
};

// The standard normal distribution at x. The upper tail is Abramowitz and Stegun 7.1.26, taken on
// the side where it is small.
struct Normal {
    float cdf;
    float density;
};

DEVICE Normal normal(float x) {
    float e = exponential(x * x * -0.5f);
    float t = 1.0f / fmaf(fabsf(x), 0.3275911f * 0.70710678f, 1.0f);
    float p = fmaf(1.0614054f, t, -1.453152f);
    p = fmaf(p, t, 1.4214137f);
    p = fmaf(p, t, -0.28449674f);
    p = fmaf(p, t, 0.2548296f);
    float tail = p * t * e * 0.5f;
    Normal normal;
    normal.cdf = x < 0.0f ? tail : 1.0f - tail;
    normal.density = e * 0.3989423f;
    return normal;
}

KERNEL(gelu_forward, GeluArgs, THREADS) {
    u64 at = thread_of_launch() * 8;
    if (at >= a.count) return;
    Eight x = floats_of(load_raw(a.x + at, a.count - at)), y;
#pragma unroll
    for (u32 i = 0; i < 8; i++) y.at[i] = x.at[i] * normal(x.at[i]).cdf;
    store_eight(a.y + at, y, a.count - at);
}

KERNEL(gelu_backward, GeluBackwardArgs, THREADS) {
    u64 at = thread_of_launch() * 8;
    if (at >= a.count) return;
    Raw<real> slopes = load_raw(a.dy + at, a.count - at);
    Eight x = floats_of(load_raw(a.x + at, a.count - at)), dy = floats_of(slopes);
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        Normal here = normal(x.at[i]);
        dy.at[i] = dy.at[i] * fmaf(x.at[i], here.density, here.cdf);
    }
    store_eight(a.dy + at, dy, a.count - at);
}
