// Rows of bf16 as e4m3 with one scale each: for what comes out of an attention and goes into an FP8 product.
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK) quantise_rows(
    const __nv_bfloat16* x, int rows, void* out, float* out_scales) {
    const Place at = place(rows);
    if (!at.active) return;
    float held[HELD][8];
    load_row(x + (long long)at.row * WIDTH, at.thread, held);
    store_output({out, out_scales, 0}, at, held);
}
