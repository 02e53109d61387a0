// LayerNorm without weights, then scale and shift of the frame that the token belongs to; bf16 or row-scaled e4m3.
#include "rows.cuh"

// x [rows, WIDTH]; shift and scale: one row of WIDTH values for every `group_tokens` rows of x, `stride` values apart.
extern "C" __global__ void __launch_bounds__(BLOCK) norm_modulate(
    const __nv_bfloat16* x, const float* shift, const float* scale, long long stride, int group_tokens, int rows,
    float eps, void* out, float* out_scales) {
    const Place at = place(rows);
    if (!at.active) return;
    float held[HELD][8];
    load_row(x + (long long)at.row * WIDTH, at.thread, held);
    normalise(held, at.thread, eps);
    const long long group = at.row / group_tokens * stride;
    modulate(held, at.thread, scale + group, shift + group, true);
    store_output(out, out_scales, at, held);
}
