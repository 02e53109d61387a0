// Runs the kernels of one source on a CPU: the rounding is CUDA's own, whose headers compile on the host as well.
//
// Every thread of a block is a fiber; barriers and shuffles are the places where one waits for the others. Blocks run
// one after another. What this cannot show: data races, misaligned access that only a GPU refuses, and speed.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#undef __shared__
#undef __global__
#undef __launch_bounds__
#define __shared__ static  // blocks do not overlap in time
#define __global__
#define __launch_bounds__(...)

namespace host {

constexpr int WARP = 32, STACK = 1 << 16;
enum Wait { RUNS, AT_WARP, AT_BLOCK, DONE };
struct Index {
    unsigned x, y, z;
};

struct Fiber {
    ucontext_t context;
    Wait wait;
    unsigned long long exchanged;
};

inline Fiber* fibers = nullptr;
inline ucontext_t scheduler;
inline int current = 0, threads = 0;
inline void (*entry)(void*) = nullptr;
inline void* entry_arguments = nullptr;
inline Index thread_index, block_index, block_size, grid_size;

inline void wait(Wait kind) {
    fibers[current].wait = kind;
    swapcontext(&fibers[current].context, &scheduler);
}

inline void run_fiber() {
    entry(entry_arguments);
    wait(DONE);
}

// Lets those go on that all of [first, last) wait for in the same place; true where some did.
inline bool release(int first, int last, Wait kind) {
    bool any = false;
    for (int i = first; i < last; ++i) {
        if (fibers[i].wait == RUNS || (fibers[i].wait != kind && fibers[i].wait != DONE)) return false;
        any |= fibers[i].wait == kind;
    }
    for (int i = first; i < last; ++i)
        if (fibers[i].wait == kind) fibers[i].wait = RUNS;
    return any;
}

// One block; false where its threads wait for each other in places that never meet.
inline bool run_block(char* stacks) {
    for (int i = 0; i < threads; ++i) {
        getcontext(&fibers[i].context);
        fibers[i].context.uc_stack.ss_sp = stacks + (size_t)i * STACK;
        fibers[i].context.uc_stack.ss_size = STACK;
        fibers[i].context.uc_link = nullptr;
        fibers[i].wait = RUNS;
        makecontext(&fibers[i].context, run_fiber, 0);
    }
    for (int done = 0; done < threads;) {
        for (current = 0; current < threads; ++current) {
            if (fibers[current].wait != RUNS) continue;
            thread_index = {(unsigned)current, 0, 0};
            swapcontext(&scheduler, &fibers[current].context);
            done += fibers[current].wait == DONE;
        }
        bool moved = release(0, threads, AT_BLOCK);
        for (int first = 0; first < threads; first += WARP)
            moved |= release(first, first + WARP < threads ? first + WARP : threads, AT_WARP);
        if (!moved && done < threads) return false;
    }
    return true;
}

template <class T>
T shuffled(T value, int lane_mask) {
    static_assert(sizeof(T) <= sizeof(unsigned long long));
    memcpy(&fibers[current].exchanged, &value, sizeof(T));
    wait(AT_WARP);
    memcpy(&value, &fibers[current ^ lane_mask].exchanged, sizeof(T));
    wait(AT_WARP);  // all have read before anyone writes again
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

template <class... A, int... I>
void call(void (*kernel)(A...), void** arguments, Numbers<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

// 0, or 1 where threads of a block never meet.
template <class... A>
int launch(void (*kernel)(A...), void** arguments, int grid_x, int grid_y, int block) {
    struct Bound {
        void (*kernel)(A...);
        void** arguments;
    } bound = {kernel, arguments};
    entry = [](void* given) {
        Bound* of = static_cast<Bound*>(given);
        call(of->kernel, of->arguments, typename Count<sizeof...(A)>::type());
    };
    entry_arguments = &bound;
    threads = block;
    block_size = {(unsigned)block, 1, 1};
    grid_size = {(unsigned)grid_x, (unsigned)grid_y, 1};
    fibers = static_cast<Fiber*>(calloc(block, sizeof(Fiber)));
    char* stacks = static_cast<char*>(malloc((size_t)block * STACK));
    bool met = fibers && stacks;
    for (int y = 0; y < grid_y && met; ++y)
        for (int x = 0; x < grid_x && met; ++x) {
            block_index = {(unsigned)x, (unsigned)y, 0};
            met = run_block(stacks);
        }
    free(stacks);
    free(fibers);
    return met ? 0 : 1;
}

}  // namespace host

#define threadIdx host::thread_index
#define blockIdx host::block_index
#define blockDim host::block_size
#define gridDim host::grid_size
#define __syncthreads() host::wait(host::AT_BLOCK)
#define __shfl_xor_sync(mask, value, lane_mask) host::shuffled(value, lane_mask)
#define __expf(x) expf(x)
#define __fdividef(a, b) ((a) / (b))
#define rsqrtf(x) (1.0f / sqrtf(x))
#define __fmul_rn(a, b) ((a) * (b))
#define __fadd_rn(a, b) ((a) + (b))

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
