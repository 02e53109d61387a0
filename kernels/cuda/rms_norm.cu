// x / rms(x) * weight over the whole width: the queries of a cross-attention.
#include "rows.cuh"

// x: rows of WIDTH values, `stride` apart; out [rows, WIDTH].
extern "C" __global__ void __launch_bounds__(BLOCK) rms_norm(
    const __nv_bfloat16* x, long long stride, const float* weight, int rows, float eps, __nv_bfloat16* out) {
    const Place at = place(rows);
    if (!at.active) return;
    float held[HELD][8];
    load_row(x + (long long)at.row * stride, at.thread, held);
    const float scale = rsqrtf(mean_of_squares(held) + eps);
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + at.thread;
        if (!inside(piece)) continue;
        float w[8];
        load8(weight + piece * 8, w);
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] *= scale * w[i];
    }
    store_row(out + (long long)at.row * WIDTH, at, held);
}
