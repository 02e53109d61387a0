// x += added * gate, then LayerNorm of the new x, modulated by frame or with weight and bias: one pass over memory.
#include "rows.cuh"

// x, added, x_out [rows, WIDTH]; x_out may be x. gate, shift, scale: one row for every `group_tokens` rows of x,
// `gate_stride` and `stride` values apart. GATED 0: x += added. AFFINE 1: scale and shift are the norm's weight and bias.
// added_bias [WIDTH], of a plugin alone: that of the product that `added` is.
__device__ inline void added_rows(
    const __nv_bfloat16* x, const __nv_bfloat16* added, const __nv_bfloat16* added_bias, const float* gate,
    long long gate_stride, const float* shift, const float* scale, long long stride, int group_tokens, int rows,
    float eps, __nv_bfloat16* x_out, const Output& out) {
    const Place at = place(rows);
    if (!at.active) return;  // also lest it reads what another warp writes
    const long long group = at.row / group_tokens;
    float held[HELD][8], part[HELD][8];
    load_row(added + (long long)at.row * WIDTH, at.thread, part);
    load_row(x + (long long)at.row * WIDTH, at.thread, held);
#if PLUGIN
    add_bias(part, at.thread, added_bias);
#endif
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + at.thread;
        if (!inside(piece)) continue;
        float g[8] = {1, 1, 1, 1, 1, 1, 1, 1};
#if GATED
        load8(gate + group * gate_stride + piece * 8, g);
#endif
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] = fmaf(part[j][i], g[i], held[j][i]);
        const uint4 packed = pack(held[j]);
        reinterpret_cast<uint4*>(x_out + (long long)at.row * WIDTH)[piece] = packed;
        unpack(packed, held[j]);  // the norm sees x as it is stored
    }
    normalise(held, at.thread, eps);
    modulate(held, at.thread, scale + (AFFINE ? 0 : group * stride), shift + (AFFINE ? 0 : group * stride), !AFFINE);
    store_output(out, at, held);
}

#if PLUGIN
// gates [groups, gate_count, WIDTH], of which row `gate` is the gate; conditions [groups, count, WIDTH], of which row
// `first` is the shift and the next one the scale, with AFFINE weight and bias [WIDTH].
PLUGIN_ENTRY(residual_norm)(
    const __nv_bfloat16* x, const __nv_bfloat16* added, const __nv_bfloat16* added_bias,
#if GATED
    const float* gates,
#endif
#if AFFINE
    const float* weight, const float* bias,
#else
    const float* conditions,
#endif
    int gate, int gate_count, int first, int count, int group_tokens, int rows, int eps, int factor,
    __nv_bfloat16* x_out, void* out) {
#if !GATED
    const float* gates = nullptr;
#endif
#if !AFFINE
    const float *bias = conditions + (long long)first * WIDTH, *weight = bias + WIDTH;
#endif
    added_rows(
        x, added, added_bias, gates + (long long)gate * WIDTH, (long long)gate_count * WIDTH, bias, weight, (long long)count * WIDTH,
        group_tokens, rows, float_of(eps), x_out, {out, nullptr, float_of(factor)});
}
#else
extern "C" __global__ void __launch_bounds__(BLOCK) residual_norm(
    __nv_bfloat16* x, const __nv_bfloat16* added, const float* gate, long long gate_stride, const float* shift,
    const float* scale, long long stride, int group_tokens, int rows, float eps, void* out, float* out_scales) {
    added_rows(
        x, added, nullptr, gate, gate_stride, shift, scale, stride, group_tokens, rows, eps, x, {out, out_scales, 0});
}
#endif
