/* The stand-in's libcublas and libcublasLt: every product is a launch in its handle's stream, after a look at its
   operands. Built without cuBLAS' headers for half precision, which need more of CUDA than torch brings. */
#include "null_gpu.h"

#include <stdlib.h>
#include <string.h>

typedef struct { unsigned short x; } __half, __nv_bfloat16;
#include <cublasLt.h>
#include <cublas_v2.h>

struct handle {
    cudaStream_t stream;
    cublasPointerMode_t pointers;
    cublasMath_t math;
};

API cublasStatus_t cublasCreate_v2(cublasHandle_t *out) {
    *out = calloc(1, sizeof(struct handle));
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    return ((struct handle *)handle)->stream = stream, CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes) {
    (void)handle;
    if (bytes && null_find(workspace, NULL, NULL) != ON_DEVICE) null_misuse("a workspace of cuBLAS that is not on the device");
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
    return ((struct handle *)handle)->pointers = mode, CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t *mode) {
    return *mode = ((struct handle *)handle)->pointers, CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
    return ((struct handle *)handle)->math = mode, CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t *mode) {
    return *mode = ((struct handle *)handle)->math, CUBLAS_STATUS_SUCCESS;
}

static bool on_device(const char *what, const void *address) {
    if (null_find(address, NULL, NULL) == ON_DEVICE) return true;
    null_misuse("%s at %p is not on the device", what, address);
    return false;
}

static cublasStatus_t multiplied(cudaStream_t stream, const void *a, const void *b, const void *c) {
    bool good = on_device("an operand of a product", a) & on_device("an operand of a product", b) & on_device("a product", c);
    if (!good) return CUBLAS_STATUS_INVALID_VALUE;
    return null_enqueue(stream, PRODUCT, "a product") ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

#define STREAM ((struct handle *)handle)->stream

API cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                                const void *alpha, const void *a, cudaDataType at, int lda, const void *b, cudaDataType bt,
                                int ldb, const void *beta, void *c, cudaDataType ct, int ldc, cublasComputeType_t type,
                                cublasGemmAlgo_t algorithm) {
    (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)at, (void)lda, (void)bt, (void)ldb, (void)beta;
    (void)ct, (void)ldc, (void)type, (void)algorithm;
    return multiplied(STREAM, a, b, c);
}

API cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                              int k, const void *alpha, const void *a, cudaDataType at, int lda,
                                              long long as, const void *b, cudaDataType bt, int ldb, long long bs,
                                              const void *beta, void *c, cudaDataType ct, int ldc, long long cs, int count,
                                              cublasComputeType_t type, cublasGemmAlgo_t algorithm) {
    (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)at, (void)lda, (void)as, (void)bt, (void)ldb, (void)bs;
    (void)beta, (void)ct, (void)ldc, (void)cs, (void)count, (void)type, (void)algorithm;
    return multiplied(STREAM, a, b, c);
}

#define GEMM(name, type) \
    API cublasStatus_t name(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, \
                            const type *alpha, const type *a, int lda, const type *b, int ldb, const type *beta, type *c, \
                            int ldc) { \
        (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)lda, (void)ldb, (void)beta, (void)ldc; \
        return multiplied(STREAM, a, b, c); \
    }
GEMM(cublasSgemm_v2, float)
GEMM(cublasDgemm_v2, double)

#define BATCHED(name, type) \
    API cublasStatus_t name(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, \
                            const type *alpha, const type *a, int lda, long long as, const type *b, int ldb, long long bs, \
                            const type *beta, type *c, int ldc, long long cs, int count) { \
        (void)ta, (void)tb, (void)m, (void)n, (void)k, (void)alpha, (void)lda, (void)as, (void)ldb, (void)bs, (void)beta; \
        (void)ldc, (void)cs, (void)count; \
        return multiplied(STREAM, a, b, c); \
    }
BATCHED(cublasSgemmStridedBatched, float)
BATCHED(cublasDgemmStridedBatched, double)

#define GEMV(name, type) \
    API cublasStatus_t name(cublasHandle_t handle, cublasOperation_t t, int m, int n, const type *alpha, const type *a, \
                            int lda, const type *x, int ix, const type *beta, type *y, int iy) { \
        (void)t, (void)m, (void)n, (void)alpha, (void)lda, (void)ix, (void)beta, (void)iy; \
        return multiplied(STREAM, a, x, y); \
    }
GEMV(cublasSgemv_v2, float)
GEMV(cublasDgemv_v2, double)

/* cuBLASLt: descriptors keep what they are told, one word for each attribute. */
struct described { uint64_t is[40]; };

static void *described(void) { return calloc(1, sizeof(struct described)); }
static cublasStatus_t told(void *descriptor, int which, const void *value, size_t bytes) {
    if (which < 0 || which >= 40 || bytes > 8) return CUBLAS_STATUS_INVALID_VALUE;
    ((struct described *)descriptor)->is[which] = 0;
    memcpy(&((struct described *)descriptor)->is[which], value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

API size_t cublasLtGetVersion(void) { return 130100; }

API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t type, cudaDataType_t scale) {
    (void)type, (void)scale;
    return *out = described(), CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return free(d), CUBLAS_STATUS_SUCCESS; }
API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t which,
                                                  const void *value, size_t bytes) {
    return told(d, (int)which, value, bytes);
}

API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    return *out = described(), CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return free(p), CUBLAS_STATUS_SUCCESS; }
API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t which,
                                                        const void *value, size_t bytes) {
    return told(p, (int)which, value, bytes);
}

API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows, uint64_t columns,
                                              int64_t step) {
    struct described *layout = described();
    layout->is[CUBLASLT_MATRIX_LAYOUT_TYPE] = type, layout->is[CUBLASLT_MATRIX_LAYOUT_ROWS] = rows;
    layout->is[CUBLASLT_MATRIX_LAYOUT_COLS] = columns, layout->is[CUBLASLT_MATRIX_LAYOUT_LD] = (uint64_t)step;
    return *out = (cublasLtMatrixLayout_t)layout, CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return free(l), CUBLAS_STATUS_SUCCESS; }
API cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t which,
                                                    const void *value, size_t bytes) {
    return told(l, (int)which, value, bytes);
}

/* What cuBLASLt asks of a product in float8: A transposed and B not, sides and steps in multiples of 16. */
static bool fits(const struct described *product, const struct described *a, const struct described *b) {
    if (a->is[CUBLASLT_MATRIX_LAYOUT_TYPE] != CUDA_R_8F_E4M3) return true;
    bool good = product->is[CUBLASLT_MATMUL_DESC_TRANSA] == CUBLAS_OP_T && product->is[CUBLASLT_MATMUL_DESC_TRANSB] == CUBLAS_OP_N;
    good = good && b->is[CUBLASLT_MATRIX_LAYOUT_TYPE] == CUDA_R_8F_E4M3;
    for (int i = CUBLASLT_MATRIX_LAYOUT_ROWS; i <= CUBLASLT_MATRIX_LAYOUT_LD; i += 2)
        good = good && a->is[i] % 16 == 0 && b->is[i] % 16 == 0;
    good = good && product->is[CUBLASLT_MATMUL_DESC_A_SCALE_POINTER] && product->is[CUBLASLT_MATMUL_DESC_B_SCALE_POINTER];
    if (!good) null_misuse("a product in float8 that cuBLASLt does not take");
    return good;
}

API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                                  cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                  cublasLtMatmulPreference_t wanted, int most,
                                                  cublasLtMatmulHeuristicResult_t found[], int *count) {
    (void)handle, (void)c, (void)d, (void)wanted, (void)most;
    *count = fits((struct described *)product, (struct described *)a, (struct described *)b);
    memset(found, 0, sizeof *found);
    found->state = *count ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    return found->state;
}

API cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product, const void *alpha, const void *a,
                                  cublasLtMatrixLayout_t al, const void *b, cublasLtMatrixLayout_t bl, const void *beta,
                                  const void *c, cublasLtMatrixLayout_t cl, void *d, cublasLtMatrixLayout_t dl,
                                  const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t bytes, cudaStream_t stream) {
    (void)handle, (void)alpha, (void)beta, (void)c, (void)cl, (void)dl, (void)algorithm, (void)workspace, (void)bytes;
    if (!fits((struct described *)product, (struct described *)al, (struct described *)bl)) return CUBLAS_STATUS_NOT_SUPPORTED;
    const void *bias = (const void *)((struct described *)product)->is[CUBLASLT_MATMUL_DESC_BIAS_POINTER];
    if (bias) on_device("a bias", bias);
    return multiplied(stream, a, b, d);
}
