// What the kernels of attention are told: those of attention.cu and of tensor_attention.cu.

struct AttentionArgs {
    const real *qkv;    // [tokens, 3 * heads * width]
    real *context;      // [tokens, heads * width]
    const u32 *offsets; // [texts + 1]
    const Tile *tiles;  // one a block: `subject` a text, `row` its first row of the block
    u32 heads;
    u32 width;
    float scale; // of scores
};

struct AttentionBackwardArgs {
    const real *qkv;       // [tokens, 3 * heads * width]
    const real *d_context; // [tokens, heads * width]
    real *d_qkv;           // [tokens, 3 * heads * width]
    float *softmax;        // [tokens, heads, 3], a `Softmax` each: written by queries, read by keys
    const u32 *offsets;    // [texts + 1]
    const Tile *tiles;     // as above
    u32 heads;
    u32 width;
    float scale; // of scores
};

// What turns a row's scores into weights and their gradients.
struct Softmax {
    float highest; // score
    float inverse; // of the sum of exponentials
    float mean;    // of the weights' gradients, by weight
};
