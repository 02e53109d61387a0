// Pictures to I420, BT.601 limited range, bit for bit as OpenCV's RGB2YUV_I420, which the CPU encoder path uses: 20-bit
// fixed point, and chroma of the upper left pixel of every two by two.
#include <cuda_bf16.h>

struct Pixels {
    int channel[3][16];  // red, green, blue of 16 neighbours in a row, 0 to 255
};

#if INPUT_UINT8
// [rows, columns, 3]: 48 bytes are 16 pixels.
__device__ inline void load(const unsigned char* picture, int row, int column, int rows, int columns, Pixels& out) {
    const uint4* from = reinterpret_cast<const uint4*>(picture + ((long long)row * columns + column) * 3);
    const uint4 packed[3] = {from[0], from[1], from[2]};
#pragma unroll
    for (int word = 0; word < 12; ++word) {
        const uint4 four = packed[word / 4];
        const unsigned bits = word % 4 == 0 ? four.x : word % 4 == 1 ? four.y : word % 4 == 2 ? four.z : four.w;
#pragma unroll
        for (int byte = 0; byte < 4; ++byte) {
            const int at = word * 4 + byte;
            out.channel[at % 3][at / 3] = (bits >> (8 * byte)) & 255;
        }
    }
}
#else
#if INPUT_BF16
typedef __nv_bfloat16 Value;
#else
typedef float Value;
#endif

// -1 to 1 as 0 to 255, rounded half to even: the arithmetic of `worlds.wan.streaming.pictures`, product and sum rounded apart.
__device__ inline int level(float value) {
    return __float2int_rn(fminf(fmaxf(__fadd_rn(__fmul_rn(value, 127.5f), 127.5f), 0.0f), 255.0f));
}

// [3, frames, rows, columns]: the channels lie `plane` values apart.
__device__ inline void load(
    const Value* picture, long long plane, int row, int column, int columns, Pixels& out) {
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        const uint4* from = reinterpret_cast<const uint4*>(picture + c * plane + (long long)row * columns + column);
#pragma unroll
        for (int quarter = 0; quarter < (INPUT_BF16 ? 2 : 4); ++quarter) {
            const uint4 packed = from[quarter];
#if INPUT_BF16
            const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&packed);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float2 pair = __bfloat1622float2(pairs[i]);
                out.channel[c][quarter * 8 + 2 * i] = level(pair.x);
                out.channel[c][quarter * 8 + 2 * i + 1] = level(pair.y);
            }
#else
            const float* four = reinterpret_cast<const float*>(&packed);
#pragma unroll
            for (int i = 0; i < 4; ++i) out.channel[c][quarter * 4 + i] = level(four[i]);
#endif
        }
    }
}
#endif

__device__ inline unsigned fixed(int red, int green, int blue, int r, int g, int b, int offset) {
    const int value = (red * r + green * g + blue * b + (offset << 20) + (1 << 19)) >> 20;
    return (unsigned)min(max(value, 0), 255);
}

__device__ inline void store_luma(unsigned char* to, const Pixels& p) {
    unsigned words[4];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
        words[w] = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = 4 * w + i;
            words[w] |= fixed(p.channel[0][at], p.channel[1][at], p.channel[2][at], 269484, 528482, 102760, 16) << (8 * i);
        }
    }
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

__device__ inline void store_chroma(unsigned char* to, const Pixels& p, int r, int g, int b) {
    unsigned words[2];
#pragma unroll
    for (int w = 0; w < 2; ++w) {
        words[w] = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int at = 2 * (4 * w + i);
            words[w] |= fixed(p.channel[0][at], p.channel[1][at], p.channel[2][at], r, g, b, 128) << (8 * i);
        }
    }
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
}

// One thread: 16 columns of two rows. out: frames of rows * 3 / 2 by columns bytes; rows even, columns a multiple of 16.
extern "C" __global__ void __launch_bounds__(128) i420(
#if INPUT_UINT8
    const unsigned char* pictures,
#else
    const Value* pictures,
#endif
    int frames, int rows, int columns, unsigned char* out) {
    const int across = columns / 16, tiles = across * (rows / 2);
    const int tile = blockIdx.x * 128 + threadIdx.x, frame = blockIdx.y;
    if (tile >= tiles) return;
    const int row = tile / across * 2, column = tile % across * 16;
    const long long area = (long long)rows * columns;
    unsigned char* luma = out + frame * (area + area / 2);
    unsigned char* chroma = luma + area + (long long)(row / 2) * (columns / 2) + column / 2;
#pragma unroll 1  // one row after the other: both at once do not fit into the registers everywhere
    for (int below = 0; below < 2; ++below) {
        Pixels pixels;
#if INPUT_UINT8
        load(pictures + frame * area * 3, row + below, column, rows, columns, pixels);
#else
        load(pictures + frame * area, frames * area, row + below, column, columns, pixels);
#endif
        store_luma(luma + (long long)(row + below) * columns + column, pixels);
        if (below == 0) {
            store_chroma(chroma, pixels, -155188, -305135, 460324);
            store_chroma(chroma + area / 4, pixels, 460324, -385875, -74448);
        }
    }
}
