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

// What the caller says of a launch; mirrored in cuda/host.rs.
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

namespace host {

const uint32_t THREADS_MAX = 1024;
const uint32_t WARP_LANES = 32;
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
    uint64_t handed[2];
    uint32_t turn;
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

template <class Value> static Value shuffle(Value value, uint32_t mask, uint32_t place) {
    Fibre &own = fibres[thread];
    uint32_t turn = own.turn++ % 2;
    memcpy(&own.handed[turn], &value, sizeof value);
    uint32_t other = thread ^ mask;
    wait(State::AtWarp, place);
    memcpy(&value, &fibres[other].handed[turn], sizeof value);
    return value;
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
