// LayerNorm without weights, then scale and shift of the frame that the token belongs to; bf16 or e4m3.
#include "rows.cuh"

// x [rows, WIDTH]; shift and scale: one row of WIDTH values for every `group_tokens` rows of x, `stride` values apart.
__device__ inline void modulated_rows(
    const __nv_bfloat16* x, const float* shift, const float* scale, long long stride, int group_tokens, int rows,
    float eps, const Output& out) {
    const Place at = place(rows);
    if (!at.active) return;
    float held[HELD][8];
    load_row(x + (long long)at.row * WIDTH, at.thread, held);
    normalise(held, at.thread, eps);
    const long long group = at.row / group_tokens * stride;
    modulate(held, at.thread, scale + group, shift + group, true);
    store_output(out, at, held);
}

#if PLUGIN
// parts [groups, count, WIDTH]: of every group, row `first` is the shift and the next one the scale.
PLUGIN_ENTRY(norm_modulate)(
    const __nv_bfloat16* x, const float* parts, int first, int count, int group_tokens, int rows, int eps, int factor,
    void* out) {
    const float* shift = parts + (long long)first * WIDTH;
    modulated_rows(
        x, shift, shift + WIDTH, (long long)count * WIDTH, group_tokens, rows, float_of(eps),
        {out, nullptr, float_of(factor)});
}
#else
extern "C" __global__ void __launch_bounds__(BLOCK) norm_modulate(
    const __nv_bfloat16* x, const float* shift, const float* scale, long long stride, int group_tokens, int rows,
    float eps, void* out, float* out_scales) {
    modulated_rows(x, shift, scale, stride, group_tokens, rows, eps, {out, out_scales, 0});
}
#endif
