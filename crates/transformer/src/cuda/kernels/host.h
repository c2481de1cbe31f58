// Runs kernels on the processor, for tests: what a CUDA compiler would supply, for g++.
//
// The blocks of a launch run one after another. The threads of a block are fibres: each runs until
// it waits for its block or its warp, and goes on once all that it waits for wait with it. A seed
// permutes the order in which blocks and fibres run, so that a result which leans on an order, as
// with a barrier forgotten, changes with the seed. Shared memory holds no numbers when a block
// begins. Threads that wait for each other at different places are an error.

#define COTENANT_HOST
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifndef __x86_64__
#error "fibres switch by x86-64 instructions"
#endif

// What the caller says of a launch; mirrored in cuda/emulated/host.rs.
struct Geometry {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    uint32_t argument_bytes;
    uint64_t seed;
};

struct Dimensions {
    uint32_t x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

namespace host {

const uint32_t THREADS_MAX = 1024;
const uint32_t WARP_LANES = 32;
const uint32_t COPIES_MAX = 64;
const size_t STACK_BYTES = 64 << 10;
const uint32_t SHARED_BYTES_MAX = 99 << 10;
const uint32_t GUARD_BYTES = 64;
// Bytes of shared memory that nobody wrote; floats of it are not numbers.
const int POISON = 0xff;

enum class State { Ready, AtBlock, AtWarp, Done };

struct Fibre {
    void *stack_pointer;
    char *stack;
    State state;
    // Where it waits: a number for each place in the source.
    uint32_t place;
    // What it hands to its warp; twice, since a neighbour may read while it hands over the next.
    uint64_t handed[2][4];
    // How often it has waited for its warp.
    uint32_t turn;
    // Copies that it began and did not wait for: they are done when it does.
    struct {
        void *to;
        const void *from;
    } copies[COPIES_MAX];
    uint32_t copy_count;
};

static Dimensions grid, block, block_at;
static Fibre fibres[THREADS_MAX];
static uint32_t thread;
static void *scheduler;
alignas(16) static char shared[SHARED_BYTES_MAX + GUARD_BYTES];
static uint32_t shared_bytes;
static void (*body)(const void *);
static const void *arguments;
static char message[256];

// Saves the registers that a function must keep, changes stacks, and restores those of the other.
extern "C" void cotenant_switch(void **from, void *to);
asm(R"(
.text
.type cotenant_switch, @function
cotenant_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
.size cotenant_switch, .-cotenant_switch
)");

static void wait(State state, uint32_t place) {
    Fibre &fibre = fibres[thread];
    fibre.state = state;
    fibre.place = place;
    cotenant_switch(&fibre.stack_pointer, scheduler);
}

static void run_thread() {
    body(arguments);
    wait(State::Done, 0);
    abort();
}

// Lays out a stack as `cotenant_switch` leaves one, which returns into `run_thread`.
static void prepare(Fibre &fibre) {
    if (!fibre.stack) fibre.stack = (char *)aligned_alloc(64, STACK_BYTES);
    void **top = (void **)(fibre.stack + STACK_BYTES);
    *--top = nullptr;
    *--top = (void *)run_thread;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fibre.stack_pointer = top;
    fibre.state = State::Ready;
    fibre.turn = 0;
    fibre.copy_count = 0;
}

static uint64_t scramble(uint64_t key) {
    key = (key + 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
    return key ^ (key >> 29);
}

// The place of `at` in an order of `count` that the seed chooses: steps of a number without a
// divisor in common.
static uint32_t permuted(uint32_t at, uint32_t count, uint64_t seed) {
    uint32_t step = (uint32_t)(scramble(seed) % count) | 1;
    auto divisor = [](uint32_t a, uint32_t b) {
        while (b) { uint32_t rest = a % b; a = b; b = rest; }
        return a;
    };
    while (divisor(step, count) != 1) step += 2;
    return (uint32_t)(((uint64_t)at * step + scramble(seed + 1) % count) % count);
}

// Wakes the fibres from `first` up to `end` if all of them wait in this state at one place.
static bool wake(uint32_t first, uint32_t end, State state) {
    for (uint32_t i = first; i < end; i++) {
        if (fibres[i].state != state || fibres[i].place != fibres[first].place) return false;
    }
    for (uint32_t i = first; i < end; i++) fibres[i].state = State::Ready;
    return true;
}

// Runs one block to its end; false if its threads wait for what never comes.
static bool run_block(uint32_t threads, uint64_t seed) {
    memset(shared, POISON, sizeof shared);
    for (uint32_t i = 0; i < threads; i++) prepare(fibres[i]);
    for (uint64_t round = 0;; round++) {
        for (uint32_t i = 0; i < threads; i++) {
            thread = permuted(i, threads, seed + 2 * round);
            Fibre &fibre = fibres[thread];
            if (fibre.state == State::Ready) cotenant_switch(&scheduler, fibre.stack_pointer);
        }
        bool is_woken = false, is_done = true;
        for (uint32_t first = 0; first < threads; first += WARP_LANES) {
            uint32_t end = first + WARP_LANES < threads ? first + WARP_LANES : threads;
            is_woken |= wake(first, end, State::AtWarp);
        }
        is_woken = is_woken || wake(0, threads, State::AtBlock);
        for (uint32_t i = 0; i < threads; i++) is_done &= fibres[i].state == State::Done;
        if (is_done) return true;
        if (!is_woken) return false;
    }
}

template <class... Words> static const char *fail(const char *format, Words... words) {
    snprintf(message, sizeof message, format, words...);
    return message;
}

static bool shared_is_kept() {
    for (uint32_t i = shared_bytes; i < sizeof shared; i++) {
        if (shared[i] != (char)POISON) return false;
    }
    return true;
}

static bool copies_are_left(uint32_t threads) {
    for (uint32_t i = 0; i < threads; i++) {
        if (fibres[i].copy_count != 0) return true;
    }
    return false;
}

// Runs a launch; null, or what is wrong with it.
static const char *launch(const char *name, void (*kernel)(const void *), uint32_t threads,
                          uint32_t argument_bytes, const Geometry *g, const void *values) {
    if (g->argument_bytes != argument_bytes)
        return fail("%s takes %u bytes of arguments, not %u", name, argument_bytes, g->argument_bytes);
    if (g->block[0] != threads || g->block[1] != 1 || g->block[2] != 1)
        return fail("%s has blocks of %u threads, not %u", name, threads, g->block[0]);
    if (g->shared_bytes > SHARED_BYTES_MAX)
        return fail("%s asks for %u bytes of shared memory", name, g->shared_bytes);
    grid = {g->grid[0], g->grid[1], g->grid[2]};
    block = {threads, 1, 1};
    body = kernel;
    arguments = values;
    shared_bytes = g->shared_bytes;
    message[0] = 0;
    uint32_t blocks = grid.x * grid.y * grid.z;
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t at = permuted(i, blocks, g->seed);
        block_at = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
        if (!run_block(threads, g->seed + 16 * at))
            return fail("%s: threads of block (%u, %u, %u) wait at different places", name,
                        block_at.x, block_at.y, block_at.z);
        if (message[0]) return message;
        if (copies_are_left(threads)) return fail("%s: a thread ends before its copies", name);
        if (!shared_is_kept())
            return fail("%s writes beyond its %u bytes of shared memory", name, shared_bytes);
    }
    return nullptr;
}

// The shared memory of the block as a struct, whose size the caller must have asked for.
template <class Type> static Type &take_shared(const char *kernel) {
    if (sizeof(Type) != shared_bytes)
        fail("%s: a block shares %zu bytes, not %u", kernel, sizeof(Type), shared_bytes);
    return *(Type *)shared;
}

// Hands a value to the warp, and waits until all lanes have; says where they handed it.
template <class Value> static uint32_t hand_over(const Value &value, uint32_t place) {
    static_assert(sizeof value <= sizeof fibres->handed[0], "too much to hand over");
    Fibre &own = fibres[thread];
    uint32_t turn = own.turn++;
    memcpy(own.handed[turn % 2], &value, sizeof value);
    wait(State::AtWarp, place + (turn << 12));
    return turn % 2;
}

// What a lane of the warp handed over.
template <class Value> static Value handed_by(uint32_t lane, uint32_t turn) {
    Value value;
    memcpy(&value, fibres[thread / WARP_LANES * WARP_LANES + lane].handed[turn], sizeof value);
    return value;
}

template <class Value> static Value shuffle(Value value, uint32_t mask, uint32_t place) {
    uint32_t turn = hand_over(value, place);
    return handed_by<Value>(thread % WARP_LANES ^ mask, turn);
}

static float widened(uint32_t bits) {
    bits <<= 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Half `at` of a pair of bf16.
static float half_of(uint32_t pair, uint32_t at) { return widened(at ? pair >> 16 : pair & 0xffff); }

struct Factors {
    uint32_t left[4], right[2];
};

// `mma.m16n8k16` of bf16: each lane computes its four sums from what all have of the factors.
static void tensor_product(float (&sums)[4], const Factors &own, uint32_t place) {
    uint32_t turn = hand_over(own, place);
    uint32_t lane = thread % WARP_LANES;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = sums[i];
        for (uint32_t p = 0; p < 16; p++) {
            uint32_t pair = p % 8 / 2, upper = p / 8;
            Factors left = handed_by<Factors>(row % 8 * 4 + pair, turn);
            Factors right = handed_by<Factors>(column * 4 + pair, turn);
            sum += (double)half_of(left.left[row / 8 + 2 * upper], p % 2) *
                   half_of(right.right[upper], p % 2);
        }
        sums[i] = (float)sum;
    }
}

// `ldmatrix.x4`: lanes give the addresses of rows of eight, eight lanes a matrix, and get two numbers
// of each matrix, beside each other in a row or, across, in a column.
static void load_matrices(uint32_t (&to)[4], const void *row, bool is_across, uint32_t place) {
    if ((uintptr_t)row % 16 != 0) fail("a row of a matrix begins at no multiple of 16 bytes");
    if ((const char *)row < shared || (const char *)row + 16 > shared + shared_bytes)
        fail("a row of a matrix lies outside of shared memory");
    uint32_t turn = hand_over((const uint16_t *)row, place);
    uint32_t lane = thread % WARP_LANES;
    for (uint32_t matrix = 0; matrix < 4; matrix++) {
        uint32_t numbers[2];
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t row = is_across ? lane % 4 * 2 + i : lane / 4;
            uint32_t column = is_across ? lane / 4 : lane % 4 * 2 + i;
            numbers[i] = handed_by<const uint16_t *>(matrix * 8 + row, turn)[column];
        }
        to[matrix] = numbers[0] | numbers[1] << 16;
    }
}

// `cp.async` of 16 bytes, of zeros from nowhere.
static void copy_vector(void *to, const void *from) {
    Fibre &own = fibres[thread];
    if ((uintptr_t)to % 16 != 0 || (uintptr_t)from % 16 != 0)
        fail("a copy begins at no multiple of 16 bytes");
    if (own.copy_count == COPIES_MAX) {
        fail("a thread waits for none of %u copies", COPIES_MAX);
        return;
    }
    own.copies[own.copy_count++] = {to, from};
}

static void await_copies() {
    Fibre &own = fibres[thread];
    for (uint32_t i = 0; i < own.copy_count; i++) {
        if (own.copies[i].from) memcpy(own.copies[i].to, own.copies[i].from, 16);
        else memset(own.copies[i].to, 0, 16);
    }
    own.copy_count = 0;
}

static uint32_t rounded(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

struct ThreadIndex {
    struct Component {
        operator uint32_t() const { return thread; }
    } x;
};
static ThreadIndex thread_index;

}  // namespace host

#define DEVICE inline
#define blockIdx host::block_at
#define blockDim host::block
#define threadIdx host::thread_index
#define __syncthreads() host::wait(host::State::AtBlock, __LINE__)
#define __shfl_xor_sync(lanes, value, mask) host::shuffle(value, mask, __LINE__)
#define SHARED(Type, name) Type &name = host::take_shared<Type>(__func__)
#define KERNEL(name, Arguments, threads)                                                     \
    static void name##_body(const Arguments &a);                                             \
    extern "C" const char *name(const Geometry *geometry, const void *arguments) {           \
        auto body = [](const void *a) { name##_body(*(const Arguments *)a); };               \
        return host::launch(#name, body, threads, sizeof(Arguments), geometry, arguments);   \
    }                                                                                        \
    static void name##_body(const Arguments &a)

static inline float __uint_as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// As tensor.cuh has them for cards; `place` is where they are called.
template <class Block>
static inline void tensor_product(float (&sums)[4], const Block &left, uint32_t low, uint32_t high,
                                  uint32_t place = __builtin_LINE()) {
    const uint32_t(&at)[4] = left.at;
    host::tensor_product(sums, {{at[0], at[1], at[2], at[3]}, {low, high}}, place);
}
template <class Block, class Number>
static inline void load_matrices(Block &to, const Number *row, uint32_t place = __builtin_LINE()) {
    host::load_matrices(to.at, row, false, place);
}
template <class Block, class Number>
static inline void load_matrices_across(Block &to, const Number *row,
                                        uint32_t place = __builtin_LINE()) {
    host::load_matrices(to.at, row, true, place);
}
template <class Number>
static inline void copy_vector(Number *to, const Number *from, bool is_there) {
    host::copy_vector(to, is_there ? from : nullptr);
}
static inline void await_copies() { host::await_copies(); }
static inline uint16_t half_of(float value) { return host::rounded(value); }
static inline uint32_t pair_of(float first, float second) {
    return host::rounded(first) | host::rounded(second) << 16;
}
// What is too small to be a normal number is 0.
static inline float power_of_two(float x) {
    float power = std::exp2(x);
    return power < 1.17549435e-38f ? 0.0f : power;
}
