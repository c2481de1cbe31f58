// Clipping and AdamW over the adapters of many tenants.
// CPU twin: optimizer/adamw.rs of the trainer: the same arithmetic value by value. The gradient's
// norm is summed in f64 in an order that the adapter's length alone decides.

struct Step {
    float *values;         // [count]
    const float *gradient; // [count]
    float *mean;           // [count]
    float *square;         // [count]
    float *norm;           // [1], of the gradient
    u32 count;
    float norm_max;    // infinity for no limit
    float size;        // the learning rate over the mean's correction
    float root;        // the root of the square's correction
    float kept;        // what decay leaves
    float mean_part;   // 1 - beta1
    float square_kept; // beta2
    float square_part; // 1 - beta2
    float epsilon;
};

struct StepArgs {
    const Step *steps; // one a tenant
    const Tile *tiles; // one a block of adamw_step: `subject` a step, `row` its first value
};

struct NormTree {
    double sums[THREADS];
};

// norm = |gradient|; one block a tenant. Thread t takes the values t, t + 256, ..., then a tree.
KERNEL(gradient_norm, StepArgs, THREADS) {
    SHARED(NormTree, tree);
    Step step = a.steps[blockIdx.x];
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < step.count; i += THREADS) {
        double slope = step.gradient[i];
        sum = sum + slope * slope;
    }
    tree.sums[threadIdx.x] = sum;
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            tree.sums[threadIdx.x] = tree.sums[threadIdx.x] + tree.sums[threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) *step.norm = (float)sqrt(tree.sums[0]);
}

// Clips by the norm, and steps; one thread a value.
KERNEL(adamw_step, StepArgs, THREADS) {
    Tile tile = a.tiles[blockIdx.x];
    Step step = a.steps[tile.subject];
    u32 i = tile.row + threadIdx.x;
    if (i >= step.count) return;
    float norm = *step.norm;
    float factor = step.norm_max / (norm + 1e-6f);
    bool is_finite = fabsf(norm) < __uint_as_float(0x7f800000u);
    float slope = step.gradient[i];
    if (is_finite && factor < 1.0f) slope = slope * factor;
    float mean = step.mean[i], square = step.square[i], value = step.values[i];
    mean = mean + step.mean_part * (slope - mean);
    square = square * step.square_kept + step.square_part * slope * slope;
    value = value * step.kept;
    value = value - step.size * (mean / (sqrtf(square) / step.root + step.epsilon));
    step.mean[i] = mean;
    step.square[i] = square;
    step.values[i] = value;
}
