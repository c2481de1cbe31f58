// Sums of gradients, clipping and AdamW over the adapters of many tenants.
// CPU twin: round/reduce.rs and optimizer/adamw.rs of the trainer: the same arithmetic value by
// value. The gradient's norm is summed in f64 in an order that the adapter's length alone decides:
// parts of a fixed length first.

// Values of a gradient whose squares one block sums.
#define SQUARES 8192u

struct Sum {
    float *to; // [count]
    u32 count;
    u32 first_term; // of those in `terms`
    u32 term_count;
    u32 is_added; // to what is there, else it is overwritten
};

struct SumArgs {
    const Sum *sums;
    const u64 *terms;  // addresses of as many floats as their sums have, in the order of adding
    const Tile *tiles; // one a block: `subject` a sum, `row` its first value
};

struct Step {
    float *values;         // [count]
    const float *gradient; // [count]
    float *mean;           // [count]
    float *square;         // [count]
    double *squares;       // [ceil(count / SQUARES)], sums of the gradient's squares
    float *norm;           // [1], of the gradient
    const float *loss;     // [1], what the gradient is of
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
    const Tile *tiles; // one a block, but of gradient_norm: `subject` a step, `row` its first value
};

// Gradients of one adapter from several batches, or of several of its segments in one; one thread a
// value.
KERNEL(sum_gradients, SumArgs, THREADS) {
    Tile tile = a.tiles[blockIdx.x];
    Sum sum = a.sums[tile.subject];
    u32 i = tile.row + threadIdx.x;
    if (i >= sum.count) return;
    float value = sum.is_added ? sum.to[i] : 0.0f;
    const u64 *terms = a.terms + sum.first_term;
    for (u32 term = 0; term < sum.term_count; term++) {
        value = value + reinterpret_cast<const float *>(terms[term])[i];
    }
    sum.to[i] = value;
}

struct SumTree {
    double sums[THREADS];

    // The sum of what the block's threads have, for the first of them.
    DEVICE double sum(double own) {
        sums[threadIdx.x] = own;
        for (u32 half = THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) {
                sums[threadIdx.x] = sums[threadIdx.x] + sums[threadIdx.x + half];
            }
        }
        return sums[0];
    }
};

// squares = |gradient|^2, part by part. Thread t takes the values t, t + 256, ..., then a tree.
KERNEL(gradient_squares, StepArgs, THREADS) {
    SHARED(SumTree, tree);
    Tile tile = a.tiles[blockIdx.x];
    Step step = a.steps[tile.subject];
    u32 end = step.count - tile.row < SQUARES ? step.count : tile.row + SQUARES;
    double sum = 0.0;
    for (u32 i = tile.row + threadIdx.x; i < end; i += THREADS) {
        double slope = step.gradient[i];
        sum = sum + slope * slope;
    }
    sum = tree.sum(sum);
    if (threadIdx.x == 0) step.squares[tile.row / SQUARES] = sum;
}

// norm = |gradient|; one block a tenant, and its threads take parts as they take values above.
KERNEL(gradient_norm, StepArgs, THREADS) {
    SHARED(SumTree, tree);
    Step step = a.steps[blockIdx.x];
    u32 parts = (step.count + SQUARES - 1) / SQUARES;
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < parts; i += THREADS) sum = sum + step.squares[i];
    sum = tree.sum(sum);
    if (threadIdx.x == 0) *step.norm = (float)sqrt(sum);
}

DEVICE bool is_finite(float x) { return fabsf(x) < __uint_as_float(0x7f800000u); }

// Clips by the norm, and steps; one thread a value. With a loss or norm that is not finite the
// adapter stays as it is.
KERNEL(adamw_step, StepArgs, THREADS) {
    Tile tile = a.tiles[blockIdx.x];
    Step step = a.steps[tile.subject];
    u32 i = tile.row + threadIdx.x;
    if (i >= step.count) return;
    float norm = *step.norm;
    if (!is_finite(norm) || !is_finite(*step.loss)) return;
    float factor = step.norm_max / (norm + 1e-6f);
    float slope = step.gradient[i];
    if (factor < 1.0f) slope = slope * factor;
    float mean = step.mean[i], square = step.square[i], value = step.values[i];
    mean = mean + step.mean_part * (slope - mean);
    square = square * step.square_kept + step.square_part * slope * slope;
    value = value * step.kept;
    value = value - step.size * (mean / (sqrtf(square) / step.root + step.epsilon));
    step.mean[i] = mean;
    step.square[i] = square;
    step.values[i] = value;
}
