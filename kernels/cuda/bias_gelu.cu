// tanh-GELU of x + bias; bf16 or e4m3.
#include "rows.cuh"

// x tanh-GELU as x * sigmoid(2u), which needs one exponential and no branch.
__device__ inline float gelu(float x) {
    const float u = 0.7978845608028654f * fmaf(0.044715f * x * x, x, x);
    return __fdividef(x, 1.0f + __expf(-2.0f * u));
}

// x [rows, WIDTH]; bias [WIDTH] bf16, read with BIAS 1.
__device__ inline void activated_rows(
    const __nv_bfloat16* x, const __nv_bfloat16* bias, int rows, const Output& out) {
    const Place at = place(rows);
    float held[HELD][8];
    load_row(x + (long long)at.row * WIDTH, at.thread, held);
#if BIAS
    add_bias(held, at.thread, bias);
#endif
#pragma unroll
    for (int j = 0; j < HELD; ++j)
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] = gelu(held[j][i]);
    store_output(out, at, held);
}

#if PLUGIN
PLUGIN_ENTRY(bias_gelu)(const __nv_bfloat16* x, const __nv_bfloat16* bias, int rows, int factor, void* out) {
    activated_rows(x, bias, rows, {out, nullptr, float_of(factor)});
}
#else
extern "C" __global__ void __launch_bounds__(BLOCK) bias_gelu(
    const __nv_bfloat16* x, const __nv_bfloat16* bias, int rows, void* out, float* out_scales) {
    activated_rows(x, bias, rows, {out, out_scales, 0});
}
#endif
