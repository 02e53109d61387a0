// RMSNorm of queries and keys over the whole width of a token, rotary positions, keys and values into the ring.
//
// blockIdx.y says whose rows a block works on: 0 queries, 1 keys, 2 values. Each row is read once and written once. With
// FP8 queries and ring are e4m3, and value = byte * scale with one scale each, read on the device.
#include "heads.cuh"

#if FP8
using Stored = unsigned char;
#else
using Stored = __nv_bfloat16;
#endif

// Pairs of neighbouring channels, turned by the angles of the row's token.
__device__ inline void rotate(float (&held)[HELD][8], int thread, const float* cos_row, const float* sin_row) {
    float4 c, s;
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + thread;
        if (!inside(piece)) continue;
        if (j == 0 || (GROUP * 8) % HEAD != 0) {  // else all of a thread's pieces lie at the same channels of their heads
            const int pair = piece * 8 % HEAD / 2;
            c = *reinterpret_cast<const float4*>(cos_row + pair);
            s = *reinterpret_cast<const float4*>(sin_row + pair);
        }
        const float cs[4] = {c.x, c.y, c.z, c.w}, sn[4] = {s.x, s.y, s.z, s.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float a = held[j][2 * i], b = held[j][2 * i + 1];
            held[j][2 * i] = a * cs[i] - b * sn[i];
            held[j][2 * i + 1] = a * sn[i] + b * cs[i];
        }
    }
}

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

// A row of queries, keys or values as attention reads it.
__device__ inline void store_attended(Stored* row, const Place& at, const float (&held)[HELD][8], float factor) {
#if FP8
    store_row_e4m3(row, at, held, factor);
#else
    store_row(row, at, held);
#endif
}

#if PLUGIN
// qkv [rows, 3 * WIDTH], bias [3 * WIDTH]; cos, sin [tokens, HEAD / 2]. q, k, v [rows / tokens, heads, tokens, HEAD]: the rotated queries,
// times `factor`, the rotated keys, and the values. The ring is written by TensorRT, in place.
PLUGIN_ENTRY(qk_norm_rope)(
    const __nv_bfloat16* qkv, const __nv_bfloat16* bias, const float* q_weight, const float* k_weight,
    const float* cos_table, const float* sin_table, int tokens, int rows, int eps, int factor, __nv_bfloat16* q, __nv_bfloat16* k,
    __nv_bfloat16* v) {
    const Place at = place(rows);
    if (!at.active) return;
    const int task = blockIdx.y, token = (int)(at.row % tokens);
    float held[HELD][8];
    load_row(qkv + ((long long)at.row * 3 + task) * WIDTH, at.thread, held);
    add_bias(held, at.thread, bias + task * WIDTH);
    if (task < 2) {  // the same for all threads of a block
        rms_normalise(held, at.thread, task == 0 ? q_weight : k_weight, float_of(eps));
        rotate(held, at.thread, cos_table + (long long)token * (HEAD / 2), sin_table + (long long)token * (HEAD / 2));
    }
    store_heads(task == 0 ? q : task == 1 ? k : v, tokens, at, held, task == 0 ? float_of(factor) : 1.0f);
}
#else
// q, k, v: rows of WIDTH values, `stride` apart. cos, sin [tokens, HEAD / 2]. slots [tokens / slot_tokens]: the row of
// the ring at which every run of slot_tokens tokens begins. A place outside the ring is not written to. q_scale, k_scale,
// v_scale: one number each, of float8; else null.
extern "C" __global__ void __launch_bounds__(BLOCK) qk_norm_rope(
    const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, long long stride, const float* q_weight,
    const float* k_weight, const float* cos_table, const float* sin_table, const long long* slots, int slot_tokens,
    int tokens, int rows, float eps, Stored* q_out, Stored* k_ring, Stored* v_ring, long long ring_rows,
    long long ring_stride, __nv_bfloat16* unrotated, const float* q_scale, const float* k_scale, const float* v_scale) {
    Place at = place(rows);
    const int task = blockIdx.y, token = (int)(at.row % tokens);
    const __nv_bfloat16* from = (task == 0 ? q : task == 1 ? k : v) + (long long)at.row * stride;
    const long long slot = slots[token / slot_tokens] + token % slot_tokens;
    const bool in_ring = slot >= 0 && slot < ring_rows;
    const long long ring_at = at.row / tokens * ring_stride + slot * WIDTH;
#if FP8
    const float factor = __fdividef(1.0f, *(task == 0 ? q_scale : task == 1 ? k_scale : v_scale));  // an exact division would call a subroutine
#else
    const float factor = 1.0f;
    if (task == 2) {
        uint4 packed[HELD];
#pragma unroll
        for (int j = 0; j < HELD; ++j) {
            const int piece = j * GROUP + at.thread;
            if (inside(piece)) packed[j] = reinterpret_cast<const uint4*>(from)[piece];
        }
#pragma unroll
        for (int j = 0; j < HELD; ++j) {
            const int piece = j * GROUP + at.thread;
            if (at.active && in_ring && inside(piece)) reinterpret_cast<uint4*>(v_ring + ring_at)[piece] = packed[j];
        }
        return;
    }
#endif
    float held[HELD][8];
    load_row(from, at.thread, held);
    if (task < 2) {  // the same for all threads of a block
        rms_normalise(held, at.thread, task == 0 ? q_weight : k_weight, eps);
#if KEEP_UNROTATED
        if (task == 1) store_row(unrotated + (long long)at.row * WIDTH, at, held);
#endif
        rotate(held, at.thread, cos_table + (long long)token * (HEAD / 2), sin_table + (long long)token * (HEAD / 2));
    }
    Stored* to = task == 0 ? q_out + (long long)at.row * WIDTH : (task == 1 ? k_ring : v_ring) + ring_at;
    at.active = at.active && (task == 0 || in_ring);
    store_attended(to, at, held, factor);
}
#endif
