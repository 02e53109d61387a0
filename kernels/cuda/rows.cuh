// Rows of bf16 held in registers by a group of threads: 16-byte loads and stores, sums over the row in float32.
//
// ROW_WIDTH values in a row, a multiple of 8, held by ROW_THREADS threads (a power of two, at least a warp). A block is
// BLOCK threads and works on ROWS rows. Thread t of a group holds the pieces t, t + GROUP, ... of eight values each, so
// that the threads of a warp always read 512 bytes in a piece.
#pragma once

#include <cuda_bf16.h>
#if FP8
#include <cuda_fp8.h>
#endif

constexpr int WIDTH = ROW_WIDTH;
constexpr int GROUP = ROW_THREADS;
constexpr int BLOCK = GROUP > 128 ? GROUP : 128;
constexpr int ROWS = BLOCK / GROUP;
constexpr int PIECES = WIDTH / 8;
constexpr int HELD = (PIECES + GROUP - 1) / GROUP;
constexpr float LARGEST_E4M3 = 448.0f;

// A TensorRT plugin's entry takes inputs, then 32-bit integers, then outputs, and is found by its name alone, so every
// specialisation has a name of its own: PLUGIN is the number of its form, 0 where the entry is the plain one.
#ifndef PLUGIN
#define PLUGIN 0
#endif
#define PLUGIN_NAME_OF(name, width, form) name##_w##width##_f##form
#define PLUGIN_NAME(name, width, form) PLUGIN_NAME_OF(name, width, form)
#define PLUGIN_ENTRY(name) extern "C" __global__ void __launch_bounds__(BLOCK) PLUGIN_NAME(name, ROW_WIDTH, PLUGIN)

static_assert(WIDTH % 8 == 0 && GROUP % 32 == 0 && BLOCK % GROUP == 0, "a row is whole pieces of eight, a group whole warps");

struct Place {
    int row;
    int thread;   // of the group
    bool active;  // whether there is such a row; the others compute along, because the sums need whole warps, and store nothing
};

__device__ inline Place place(int rows) {
    const int row = blockIdx.x * ROWS + threadIdx.x / GROUP;
    return {row < rows ? row : rows - 1, (int)(threadIdx.x % GROUP), row < rows};
}

// Whether piece `piece` lies in the row: known when compiled where the groups fill it.
__device__ inline bool inside(int piece) { return PIECES % GROUP == 0 || piece < PIECES; }

// By value: through a reference to device memory the compiler would load four words for one of 16 bytes.
__device__ inline void unpack(uint4 packed, float (&out)[8]) {
    const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&packed);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 pair = __bfloat1622float2(pairs[i]);
        out[2 * i] = pair.x;
        out[2 * i + 1] = pair.y;
    }
}

__device__ inline uint4 pack(const float (&values)[8]) {
    uint4 packed;
    __nv_bfloat162* pairs = reinterpret_cast<__nv_bfloat162*>(&packed);
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs[i] = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
    return packed;
}

__device__ inline void load8(const float* from, float (&out)[8]) {
    const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
    out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
    out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
}

// A thread's pieces of a row; zeros beyond its end.
__device__ inline void load_row(const __nv_bfloat16* row, int thread, float (&held)[HELD][8]) {
    uint4 packed[HELD];  // all loads before the first use
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + thread;
        packed[j] = inside(piece) ? reinterpret_cast<const uint4*>(row)[piece] : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int j = 0; j < HELD; ++j) unpack(packed[j], held[j]);
}

// The bias of the product that a row comes from.
__device__ inline void add_bias(float (&held)[HELD][8], int thread, const __nv_bfloat16* bias) {
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + thread;
        if (!inside(piece)) continue;
        float b[8];
        unpack(reinterpret_cast<const uint4*>(bias)[piece], b);
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] += b[i];
    }
}

__device__ inline float larger(float a, float b, bool sum) { return sum ? a + b : fmaxf(a, b); }

// The sum, or the largest, of one value of every thread of a group. No template: for a CPU, GCC would not put a
// template's shared memory where it is watched.
__device__ __forceinline__ float over_group(float value, bool sum) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) value = larger(value, __shfl_xor_sync(0xffffffffu, value, step), sum);
    if constexpr (GROUP > 32) {
        __shared__ float partial[BLOCK / 32];
        const int warp = threadIdx.x / 32, first = threadIdx.x / GROUP * (GROUP / 32);
        __syncthreads();  // the last call's have been read
        if (threadIdx.x % 32 == 0) partial[warp] = value;
        __syncthreads();
        value = partial[first];
#pragma unroll
        for (int i = 1; i < GROUP / 32; ++i) value = larger(value, partial[first + i], sum);
    }
    return value;
}

__device__ inline float mean_of_squares(const float (&held)[HELD][8]) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < HELD; ++j)
#pragma unroll
        for (int i = 0; i < 8; ++i) sum = fmaf(held[j][i], held[j][i], sum);
    return over_group(sum, true) * (1.0f / WIDTH);
}

// To mean 0 and variance 1: the mean is taken off before the squares are summed, so large offsets cost no digits.
__device__ inline void normalise(float (&held)[HELD][8], int thread, float eps) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < HELD; ++j)
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += held[j][i];
    const float mean = over_group(sum, true) * (1.0f / WIDTH);
#pragma unroll
    for (int j = 0; j < HELD; ++j)
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] = inside(j * GROUP + thread) ? held[j][i] - mean : 0.0f;
    const float scale = rsqrtf(mean_of_squares(held) + eps);
#pragma unroll
    for (int j = 0; j < HELD; ++j)
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] *= scale;
}

// held * weight + shift, with ones_added: held * (1 + weight) + shift.
__device__ inline void modulate(float (&held)[HELD][8], int thread, const float* weight, const float* shift, bool ones_added) {
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + thread;
        if (!inside(piece)) continue;
        float w[8], s[8];
        load8(weight + piece * 8, w);
        load8(shift + piece * 8, s);
#pragma unroll
        for (int i = 0; i < 8; ++i) held[j][i] = fmaf(held[j][i], ones_added ? 1.0f + w[i] : w[i], s[i]);
    }
}

__device__ inline void store_row(__nv_bfloat16* row, const Place& at, const float (&held)[HELD][8]) {
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        const int piece = j * GROUP + at.thread;
        if (at.active && inside(piece)) reinterpret_cast<uint4*>(row)[piece] = pack(held[j]);
    }
}

#if FP8
// A row as e4m3, every value times `factor`; what is beyond 448 becomes 448.
__device__ inline void store_row_e4m3(unsigned char* row, const Place& at, const float (&held)[HELD][8], float factor) {
#pragma unroll
    for (int j = 0; j < HELD; ++j) {
        uint2 packed;
        __nv_fp8x2_storage_t* pairs = reinterpret_cast<__nv_fp8x2_storage_t*>(&packed);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float2 pair = make_float2(held[j][2 * i] * factor, held[j][2 * i + 1] * factor);
            pairs[i] = __nv_cvt_float2_to_fp8x2(pair, __NV_SATFINITE, __NV_E4M3);
        }
        const int piece = j * GROUP + at.thread;
        if (at.active && inside(piece)) reinterpret_cast<uint2*>(row)[piece] = packed;
    }
}

// The same with one float32 scale: value = byte * scale, the largest magnitude becomes 448.
__device__ inline void store_row_fp8(unsigned char* row, float* scale, const Place& at, const float (&held)[HELD][8]) {
    float most = 0;
#pragma unroll
    for (int j = 0; j < HELD; ++j)
#pragma unroll
        for (int i = 0; i < 8; ++i) most = fmaxf(most, fabsf(held[j][i]));
    most = fmaxf(over_group(most, false), 1e-12f);  // a row of zeros has a scale too
    if (at.active && at.thread == 0) *scale = most * (1.0f / LARGEST_E4M3);
    store_row_e4m3(row, at, held, __fdividef(LARGEST_E4M3, most));  // exact divisions would call a subroutine
}
#endif

// Where rows go. FP8 0: bf16. FP8 1: e4m3, and a scale for each row. FP8 2: e4m3 of every value times `factor`.
struct Output {
    void* values;
    float* scales;
    float factor;
};

__device__ inline void store_output(const Output& out, const Place& at, const float (&held)[HELD][8]) {
    const long long first = (long long)at.row * WIDTH;
#if FP8 == 2
    store_row_e4m3(static_cast<unsigned char*>(out.values) + first, at, held, out.factor);
#elif FP8
    store_row_fp8(static_cast<unsigned char*>(out.values) + first, out.scales + at.row, at, held);
#else
    store_row(static_cast<__nv_bfloat16*>(out.values) + first, at, held);
#endif
}

// A float that TensorRT passes as an integer, the only kind of number it knows.
__device__ inline float float_of(int bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}
