// tanh-GELU of x + bias; bf16 or e4m3.
#include "rows.cuh"

// tanh-GELU is x * sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3): x / (1 + 2^(x (a + b x^2))) with a = -2 sqrt(2 / pi)
// log2(e) and b = 0.044715 a. Two of the slow functions a value, and six quick instructions.
__device__ inline float gelu(float x) {
    return __fdividef(x, 1.0f + exp2f(x * fmaf(x * x, -0.1029432396f, -2.302208198f)));
}

// x [rows, WIDTH]; bias [WIDTH] bf16, read with BIAS 1.
__device__ inline void activated_rows(
    const __nv_bfloat16* x, const __nv_bfloat16* bias, int rows, const Output& out) {
    const Place at = place(rows);
    if (!at.active) return;
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
