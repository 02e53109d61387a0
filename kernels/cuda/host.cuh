// What a kernel's source sees when it is compiled for a CPU: the rounding is CUDA's own, whose headers compile on the
// host as well. Who runs the threads, and what is watched while they run, is in host_runtime.cuh.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef __shared__
#undef __global__
#undef __launch_bounds__
// Of the one block that runs. Not within a template, whose variables GCC leaves out of the section.
#define __shared__ static __attribute__((section("shared_memory")))
#define __global__
#define __launch_bounds__(...)

namespace host {

struct Index {
    unsigned x, y, z;
};

struct Indices {
    Index thread, block, block_size, grid_size;
};

extern Indices indices;

// One allocation that a launch may reach: allowed[i] says whether byte i belongs to one of its tensors.
struct Region {
    char* begin;
    size_t bytes;
    const unsigned char* allowed;
};

struct Run {
    int grid_x, grid_y, block;
    unsigned order;  // 0: forward; 1: backward, a warp as far as it comes; more: at random, from this seed
    int regions;
    const Region* region;
    char* report;  // what was found, a line each
    int report_bytes;
};

void barrier(const char* file, int line);
unsigned long long shuffled(unsigned mask, unsigned long long value, int lane_mask, const char* file, int line);
int execute(const Run* how, void (*entry)(void*), void* bound);

template <class T>
T shuffle(unsigned mask, T value, int lane_mask, const char* file, int line) {
    static_assert(sizeof(T) <= sizeof(unsigned long long), "a register or two");
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = shuffled(mask, bits, lane_mask, file, line);
    memcpy(&value, &bits, sizeof(T));
    return value;
}

template <int... I>
struct Numbers {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
    using type = Numbers<I...>;
};

template <class... A>
struct Bound {
    void (*kernel)(A...);
    void** arguments;
};

template <class... A, int... I>
__attribute__((no_sanitize("thread"))) void call(Bound<A...>* of, Numbers<I...>) {
    of->kernel(*static_cast<A*>(of->arguments[I])...);
}

template <class... A>
__attribute__((no_sanitize("thread"))) void enter(void* bound) {
    call(static_cast<Bound<A...>*>(bound), typename Count<sizeof...(A)>::type());
}

// 0, or 1 where the report says what is wrong.
template <class... A>
int launch(void (*kernel)(A...), const Run* how, void** arguments) {
    Bound<A...> bound = {kernel, arguments};
    return execute(how, enter<A...>, &bound);
}

}  // namespace host

#define threadIdx host::indices.thread
#define blockIdx host::indices.block
#define blockDim host::indices.block_size
#define gridDim host::indices.grid_size
#define __syncthreads() host::barrier(__FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lane_mask) host::shuffle(mask, value, lane_mask, __FILE__, __LINE__)
#define __expf(x) expf(x)
#define __fdividef(a, b) ((a) / (b))
#define rsqrtf(x) (1.0f / sqrtf(x))
#define __fmul_rn(a, b) ((a) * (b))
#define __fadd_rn(a, b) ((a) + (b))

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
