// Rows of tokens written head by head, [batch, heads, tokens, HEAD]: the layout of TensorRT's attention.
#pragma once

#include "rows.cuh"

constexpr int HEAD = HEAD_WIDTH;
static_assert(HEAD % 8 == 0 && WIDTH % HEAD == 0, "a piece of eight lies in one head");

__device__ inline void store_heads(
    __nv_bfloat16* out, int tokens, const Place& at, const float (&held)[HELD][8], float factor) {
    // in pieces of eight, so that a piece is stored at once
    const long long first = ((long long)(at.row / tokens) * tokens * WIDTH + (long long)(at.row % tokens) * HEAD) / 8;
    uint4* pieces = reinterpret_cast<uint4*>(out);
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + at.thread;
        if (!at.active || !inside(piece)) continue;
        float scaled[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) scaled[i] = held[j][i] * factor;
        const long long head = (long long)(piece / (HEAD / 8)) * tokens * (HEAD / 8);
        pieces[first + head + piece % (HEAD / 8)] = pack(scaled);
    }
}
