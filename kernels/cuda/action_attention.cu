// Attention over time alone, of Matrix-Game's action modules: a few frames of queries, at most 16 frames of keys.
//
// LANES threads, 8 of a head of 64, hold one head's vectors, eight channels each: a warp works on four heads. Keys lie in
// the ring normalised and not yet rotated; every slot's position is read on the device, below 0 where the slot is empty.
#include <cuda_bf16.h>

constexpr int LANES = HEAD_WIDTH / 8;
constexpr int BLOCK = 128;
constexpr int GROUPS = BLOCK / LANES;
static_assert(HEAD_WIDTH % 8 == 0 && 32 % LANES == 0 && ROTATED % 8 == 0 && ROTATED <= HEAD_WIDTH, "heads are whole pieces");

__device__ inline void load8(const __nv_bfloat16* from, float (&out)[8]) {
    const uint4 packed = *reinterpret_cast<const uint4*>(from);
    const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&packed);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 pair = __bfloat1622float2(pairs[i]);
        out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
}

__device__ inline unsigned pair_bits(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&pair);
}

__device__ inline uint4 pack8(const float (&v)[8]) {
    return make_uint4(pair_bits(v[0], v[1]), pair_bits(v[2], v[3]), pair_bits(v[4], v[5]), pair_bits(v[6], v[7]));
}

__device__ inline float dot(const float (&a)[8], const float (&b)[8]) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = fmaf(a[i], b[i], sum);
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    return sum;
}

__device__ inline void rms_normalise(float (&x)[8], float eps) {
    const float scale = rsqrtf(dot(x, x) * (1.0f / HEAD_WIDTH) + eps);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= scale;
}

// The first ROTATED channels of a head say when. angles: [positions, 2, ROTATED / 2], cosines and sines.
__device__ inline void rotate(float (&x)[8], int lane, const float* angles, int position) {
    if (lane * 8 >= ROTATED) return;
    const float* row = angles + (long long)position * ROTATED + lane * 4;
    const float4 c = *reinterpret_cast<const float4*>(row), s = *reinterpret_cast<const float4*>(row + ROTATED / 2);
    const float cs[4] = {c.x, c.y, c.z, c.w}, sn[4] = {s.x, s.y, s.z, s.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cs[i] - b * sn[i];
        x[2 * i + 1] = b * cs[i] + a * sn[i];
    }
}

// One head's key and value of one new frame to piece `to` of the rings: the key normalised. Places are counted in
// pieces of 16 bytes: with an offset in values the compiler makes four stores of one.
__device__ inline void write_slot(
    const __nv_bfloat16* key, const __nv_bfloat16* value, __nv_bfloat16* k_ring, __nv_bfloat16* v_ring, long long to,
    float eps, bool active) {
    float k[8];
    load8(key, k);
    rms_normalise(k, eps);
    const uint4 packed = pack8(k);
    if (!active) return;
    reinterpret_cast<uint4*>(k_ring)[to] = packed;
    reinterpret_cast<uint4*>(v_ring)[to] = *reinterpret_cast<const uint4*>(value);
}

// k, v: heads of frames, strides in values. Rings [batch, slots, HEADS, HEAD_WIDTH]. For keys that all positions share.
extern "C" __global__ void __launch_bounds__(BLOCK) write_keys(
    const __nv_bfloat16* k, const __nv_bfloat16* v, long long batch_stride, long long frame_stride, int batch,
    const int* frame_slots, int slots, float eps, __nv_bfloat16* k_ring, __nv_bfloat16* v_ring) {
    const int all = batch * FRAMES * HEADS, item = blockIdx.x * GROUPS + threadIdx.x / LANES;
    const int lane = threadIdx.x % LANES, at = item < all ? item : all - 1;
    const int head = at % HEADS, frame = at / HEADS % FRAMES, b = at / HEADS / FRAMES;
    const long long from = b * batch_stride + frame * frame_stride + head * HEAD_WIDTH + lane * 8;
    const int slot = frame_slots[frame];
    const long long to = (((long long)b * slots + slot) * HEADS + head) * LANES + lane;
    write_slot(k + from, v + from, k_ring, v_ring, to, eps, item < all && slot >= 0 && slot < slots);
}

// q, and with OWN_KEYS k and v, at [batch, FRAMES, places, HEADS, HEAD_WIDTH] by their strides. Rings as above, with
// OWN_KEYS one for each place. positions [slots], query_positions [FRAMES], both rows of `angles`. out is contiguous.
extern "C" __global__ void __launch_bounds__(BLOCK) action_attention(
    const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v, long long batch_stride,
    long long frame_stride, long long place_stride, int batch, int places, const int* frame_slots, int slots,
    const int* positions, const int* query_positions, const float* angles, float eps, __nv_bfloat16* k_ring,
    __nv_bfloat16* v_ring, __nv_bfloat16* out) {
    const int all = batch * places * HEADS, item = blockIdx.x * GROUPS + threadIdx.x / LANES;
    const int at = item < all ? item : all - 1;
    const int lane = threadIdx.x % LANES, head = at % HEADS, spot = at / HEADS % places, b = at / HEADS / places;
    const bool active = item < all;
    const long long from = b * batch_stride + spot * place_stride + head * HEAD_WIDTH + lane * 8;
    const long long owner = OWN_KEYS ? (long long)b * places + spot : b;
    const long long ring = (owner * slots * HEADS + head) * HEAD_WIDTH + lane * 8;
    constexpr int SLOT = HEADS * HEAD_WIDTH;

    float query[FRAMES][8], sum[FRAMES][8] = {}, most[FRAMES], weight[FRAMES] = {};
#pragma unroll
    for (int t = 0; t < FRAMES; ++t) {
        load8(q + from + t * frame_stride, query[t]);
        rms_normalise(query[t], eps);
        rotate(query[t], lane, angles, query_positions[t]);
#pragma unroll
        for (int i = 0; i < 8; ++i) query[t][i] *= rsqrtf(HEAD_WIDTH);  // the softmax's scale
        most[t] = -3.0e38f;
#if OWN_KEYS
        const int slot = frame_slots[t];
        const long long source = from + t * frame_stride, to = (ring + (long long)slot * SLOT) / 8;
        write_slot(k + source, v + source, k_ring, v_ring, to, eps, active && slot >= 0 && slot < slots);
#endif
    }
    // What this thread has just written it reads again itself, so no barrier is needed.
    for (int j = 0; j < slots; ++j) {
        const int position = positions[j];
        if (position < 0) continue;
        float key[8], value[8];
        load8(k_ring + ring + (long long)j * SLOT, key);
        load8(v_ring + ring + (long long)j * SLOT, value);
        rotate(key, lane, angles, position);
#pragma unroll
        for (int t = 0; t < FRAMES; ++t) {
            const float score = dot(query[t], key);
            const float before = most[t];
            most[t] = fmaxf(before, score);
            const float kept = __expf(before - most[t]), added = __expf(score - most[t]);
            weight[t] = weight[t] * kept + added;
#pragma unroll
            for (int i = 0; i < 8; ++i) sum[t][i] = sum[t][i] * kept + added * value[i];
        }
    }
#pragma unroll
    for (int t = 0; t < FRAMES; ++t) {
        const float inverse = __fdividef(1.0f, weight[t]);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum[t][i] *= inverse;
        const uint4 packed = pack8(sum[t]);
        const long long to = (((long long)b * FRAMES + t) * places + spot) * (SLOT / 8) + head * LANES + lane;
        if (active) reinterpret_cast<uint4*>(out)[to] = packed;
    }
}
