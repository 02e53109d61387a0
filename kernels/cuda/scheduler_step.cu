// From a velocity to the clean latents, and from those to the next noise level; levels are read on the device.
#include <cuda_bf16.h>

#if LATENT_BF16
typedef __nv_bfloat16 Latent;
#else
typedef float Latent;
#endif

// Eight values: 16 bytes of bf16, or two loads of 16 bytes of float32.
__device__ inline void load8(const Latent* from, float (&out)[8]) {
#if LATENT_BF16
    const uint4 packed = *reinterpret_cast<const uint4*>(from);
    const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&packed);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float2 pair = __bfloat1622float2(pairs[i]);
        out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
#else
    const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
    out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
    out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
#endif
}

__device__ inline void store8(Latent* to, const float (&values)[8]) {
#if LATENT_BF16
    uint4 packed;
    __nv_bfloat162* pairs = reinterpret_cast<__nv_bfloat162*>(&packed);
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs[i] = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
    *reinterpret_cast<uint4*>(to) = packed;
#else
    reinterpret_cast<float4*>(to)[0] = make_float4(values[0], values[1], values[2], values[3]);
    reinterpret_cast<float4*>(to)[1] = make_float4(values[4], values[5], values[6], values[7]);
#endif
}

// noisy, velocity, noise, clean, next: count values, a multiple of 8. levels: that of `noisy`, then, with RENOISE, that
// of `next`. next may be noisy itself.
extern "C" __global__ void __launch_bounds__(256) scheduler_step(
    const Latent* noisy, const Latent* velocity, const Latent* noise, const float* levels, long long count,
    Latent* clean, Latent* next) {
    const long long first = ((long long)blockIdx.x * 256 + threadIdx.x) * 8;
    if (first >= count) return;
    float z[8], v[8], n[8];
    load8(noisy + first, z);
    load8(velocity + first, v);
#if RENOISE
    load8(noise + first, n);
    const float to = levels[1];
#endif
    const float from = levels[0];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        z[i] = fmaf(-from, v[i], z[i]);
#if RENOISE
#if LATENT_BF16
        const float rounded = __bfloat162float(__float2bfloat16_rn(z[i]));  // the clean latents as they are kept
#else
        const float rounded = z[i];
#endif
        n[i] = fmaf(to, n[i], (1.0f - to) * rounded);
#endif
    }
    store8(clean + first, z);
#if RENOISE
    store8(next + first, n);
#endif
}
