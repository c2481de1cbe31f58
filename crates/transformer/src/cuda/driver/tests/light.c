/* A cuBLASLt for tests, on a driver whose cards have memory of the host: it computes products as the
 * library defines them, by columns, in the plainest way. It offers five algorithms, of which only the
 * last may be taken, and refuses to compute by another. Names, numbers and layouts are the library's. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16BF = 14 };
enum { SAYS_NOTHING = 1, CUTS = 2, SUMS_PIECES = 3, NEEDS_MANY_ROWS = 4, PLAIN = 5 };
/* What no algorithm computes, and what fails when it is computed. */
enum { IMPOSSIBLE_INNER = 13, FAILING_INNER = 11 };

typedef struct { int type; uint64_t rows, columns; int64_t stride; } Layout;
typedef struct { int sums, is_transposed, epilogue; uint64_t bias; } Description;
typedef struct { uint64_t workspace_max; uint32_t reductions, alignment; } Preference;
typedef struct { uint64_t data[8]; } Algorithm;
typedef struct { Algorithm algorithm; size_t workspace; int state; float waves; int rest[4]; } Found;

int cublasLtCreate(void **handle) { *handle = malloc(1); return SUCCESS; }
size_t cublasLtGetVersion(void) { return 130000; }
int cublasLtDestroy(void *handle) { free(handle); return SUCCESS; }

int cublasLtMatrixLayoutCreate(Layout **to, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    *to = malloc(sizeof **to);
    **to = (Layout){type, rows, columns, stride};
    return SUCCESS;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) { free(layout); return SUCCESS; }

int cublasLtMatmulDescCreate(Description **to, int sums, int scale) {
    *to = malloc(sizeof **to);
    **to = (Description){sums, 0, 1, 0};
    return scale == R_32F ? SUCCESS : INVALID_VALUE;
}
int cublasLtMatmulDescDestroy(Description *description) { free(description); return SUCCESS; }
int cublasLtMatmulDescSetAttribute(Description *to, int name, const void *value, size_t bytes) {
    if (name == 3 && bytes == 4) memcpy(&to->is_transposed, value, bytes);
    else if (name == 7 && bytes == 4) memcpy(&to->epilogue, value, bytes);
    else if (name == 8 && bytes == 8) memcpy(&to->bias, value, bytes);
    else return INVALID_VALUE;
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(Preference **to) {
    *to = malloc(sizeof **to);
    **to = (Preference){0, 7, 256};
    return SUCCESS;
}
int cublasLtMatmulPreferenceDestroy(Preference *preference) { free(preference); return SUCCESS; }
int cublasLtMatmulPreferenceSetAttribute(Preference *to, int name, const void *value, size_t bytes) {
    if (name == 1 && bytes == 8) memcpy(&to->workspace_max, value, bytes);
    else if (name == 3 && bytes == 4) memcpy(&to->reductions, value, bytes);
    else if (name >= 5 && name <= 8 && bytes == 4) memcpy(&to->alignment, value, bytes);
    else return INVALID_VALUE;
    return SUCCESS;
}

static int fits(const Description *how, const Layout *a, const Layout *b, const Layout *d) {
    uint64_t inner = how->is_transposed ? a->rows : a->columns;
    uint64_t outputs = how->is_transposed ? a->columns : a->rows;
    int is_whole = a->stride == (int64_t)a->rows && b->stride == (int64_t)b->rows
        && d->stride == (int64_t)d->rows;
    return is_whole && inner == b->rows && outputs == d->rows && b->columns == d->columns
        && a->type == b->type;
}

/* What an algorithm needs: more for some numbers of rows than for those it is asked about first. */
static size_t workspace_for(const Layout *rows) { return rows->columns < 128 ? 4096 : 1024; }

int cublasLtMatmulAlgoGetHeuristic(void *handle, const Description *how, const Layout *a,
        const Layout *b, const Layout *c, const Layout *d, const Preference *preference, int wanted,
        Found *found, int *count) {
    *count = 0;
    if (!handle || c != d || wanted < PLAIN || !fits(how, a, b, d)) return INVALID_VALUE;
    if (preference->alignment > 16 || preference->reductions) return INVALID_VALUE;
    if (how->epilogue == 4 && !how->bias) return INVALID_VALUE;
    if (b->rows == IMPOSSIBLE_INNER) return NOT_SUPPORTED;
    /* That no pieces are to be summed must be said, and is not heeded. */
    for (int id = SAYS_NOTHING; id <= PLAIN; id++) {
        found[*count] = (Found){.algorithm = {{(uint64_t)id}}, .workspace = workspace_for(b),
                                .state = SUCCESS};
        (*count)++;
    }
    return SUCCESS;
}

int cublasLtMatmulAlgoConfigGetAttribute(const Algorithm *algorithm, int name, void *to, size_t bytes,
        size_t *written) {
    if (bytes != 4 || (name != 2 && name != 3) || algorithm->data[0] == SAYS_NOTHING)
        return INVALID_VALUE;
    uint32_t value = name == 2 ? (algorithm->data[0] == CUTS ? 4 : 1)
        : algorithm->data[0] == SUMS_PIECES;
    memcpy(to, &value, bytes);
    *written = bytes;
    return SUCCESS;
}

int cublasLtMatmulAlgoCheck(void *handle, const Description *how, const Layout *a, const Layout *b,
        const Layout *c, const Layout *d, const Algorithm *algorithm, Found *found) {
    (void)handle;
    if (c != d || !fits(how, a, b, d)) return INVALID_VALUE;
    if (algorithm->data[0] == NEEDS_MANY_ROWS && b->columns < 128) return NOT_SUPPORTED;
    *found = (Found){.algorithm = *algorithm, .workspace = workspace_for(b), .state = SUCCESS};
    return SUCCESS;
}

static float read(const Layout *at, const void *from, uint64_t place) {
    if (at->type == R_32F) return ((const float *)from)[place];
    uint32_t bits = (uint32_t)((const uint16_t *)from)[place] << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void write(const Layout *at, void *to, uint64_t place, float value) {
    if (at->type == R_32F) { ((float *)to)[place] = value; return; }
    uint32_t bits;
    memcpy(&bits, &value, 4);
    ((uint16_t *)to)[place] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int cublasLtMatmul(void *handle, const Description *how, const float *alpha, const void *a,
        const Layout *la, const void *b, const Layout *lb, const float *beta, const void *c,
        const Layout *lc, void *d, const Layout *ld, const Algorithm *algorithm, void *workspace,
        size_t bytes, void *stream) {
    if (!handle || !stream || c != d || lc != ld || !fits(how, la, lb, ld)) return INVALID_VALUE;
    if (algorithm->data[0] != PLAIN || !workspace || bytes < workspace_for(lb)) return EXECUTION_FAILED;
    if (lb->rows == FAILING_INNER) return EXECUTION_FAILED;
    for (uint64_t column = 0; column < ld->columns; column++) {
        for (uint64_t row = 0; row < ld->rows; row++) {
            float sum = 0;
            for (uint64_t k = 0; k < lb->rows; k++) {
                uint64_t place = how->is_transposed ? row * la->stride + k : k * la->stride + row;
                sum += read(la, a, place) * read(lb, b, column * lb->stride + k);
            }
            uint64_t place = column * ld->stride + row;
            float value = *alpha * sum;
            if (*beta != 0) value += *beta * read(ld, d, place);
            if (how->epilogue == 4) value += read(ld, (const void *)how->bias, row);
            write(ld, d, place, value);
        }
    }
    return SUCCESS;
}
