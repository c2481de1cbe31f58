// GELU with the exact normal distribution, and its derivative; one thread a value.
// CPU twin: cpu/gelu.rs, the same polynomial and the same order.

struct GeluArgs {
    const real *x; // [count]
    real *y;       // [count]
    u32 count;
};

struct GeluBackwardArgs {
    const real *x; // [count]
    real *dy;      // [count], becomes the gradient by x
    u32 count;
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
    u64 at = thread_of_launch();
    if (at < a.count) {
        float x = load(a.x + at);
        store(a.y + at, x * normal(x).cdf);
    }
}

KERNEL(gelu_backward, GeluBackwardArgs, THREADS) {
    u64 at = thread_of_launch();
    if (at < a.count) {
        float x = load(a.x + at);
        Normal here = normal(x);
        store(a.dy + at, load(a.dy + at) * fmaf(x, here.density, here.cdf));
    }
}
