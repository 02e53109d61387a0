// x / rms(x) * weight over the whole width: the queries of a cross-attention.
#if PLUGIN
#include "heads.cuh"
#else
#include "rows.cuh"
#endif

__device__ inline void rms_normalise(float (&held)[HELD][8], int thread, const float* weight, float eps) {
    const float scale = rsqrtf(mean_of_squares(held) + eps);
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + thread;
        if (!inside(piece)) continue;
        float w[8];
        load8(weight + piece * 8, w);
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] *= scale * w[i];
    }
}

#if PLUGIN
// x [rows, WIDTH] plus bias [WIDTH] to out [rows / tokens, heads, tokens, HEAD], times `factor`, the scale of the softmax.
PLUGIN_ENTRY(rms_norm)(
    const __nv_bfloat16* x, const __nv_bfloat16* bias, const float* weight, int tokens, int rows, int eps, int factor,
    __nv_bfloat16* out) {
    const Place at = place(rows);
    if (!at.active) return;
    float held[HELD][8];
    load_row(x + (long long)at.row * WIDTH, at.thread, held);
    add_bias(held, at.thread, bias);
    rms_normalise(held, at.thread, weight, float_of(eps));
    store_heads(out, tokens, at, held, float_of(factor));
}
#else
// x: rows of WIDTH values, `stride` apart; out [rows, WIDTH].
extern "C" __global__ void __launch_bounds__(BLOCK) rms_norm(
    const __nv_bfloat16* x, long long stride, const float* weight, int rows, float eps, __nv_bfloat16* out) {
    const Place at = place(rows);
    if (!at.active) return;
    float held[HELD][8];
    load_row(x + (long long)at.row * stride, at.thread, held);
    rms_normalise(held, at.thread, weight, eps);
    store_row(out + (long long)at.row * WIDTH, at, held);
}
#endif
