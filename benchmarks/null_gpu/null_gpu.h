/* A stand-in for one GPU that launches nothing, counts everything, and refuses what CUDA refuses.

   `runtime.c`, `memory.c` and `streams.c` are its libcudart, `driver.c` its libcuda, `cublas.c` and `cudnn.c` the two
   libraries that torch loads with it. What they share is declared here and lives in the libcudart. One lock guards it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cuda.h>
#include <cuda_runtime_api.h>

#define API __attribute__((visibility("default")))

/* Everything that is counted; the same layout in run.py. Of a replay its nodes are counted, as launches are. */
struct counts {
    uint64_t launches;     /* kernels, of libraries too, that a device would have run: replayed ones included */
    uint64_t enqueued;     /* of these, one by one from the host */
    uint64_t own;          /* of these, through cuLaunchKernel */
    uint64_t products;     /* of launches, by cuBLAS */
    uint64_t convolutions; /* of launches, by cuDNN */
    uint64_t replays;      /* graph launches */
    uint64_t nodes;        /* graph nodes, of the newest instantiated graph */
    uint64_t captures, broken_captures;
    uint64_t copies_in, bytes_in;    /* from the host */
    uint64_t copies_out, bytes_out;  /* to the host */
    uint64_t copies_inside, bytes_inside;
    uint64_t pageable;     /* of the copies, from or to memory that is not pinned: each makes the host wait */
    uint64_t memsets;
    uint64_t waits;        /* stream, event and device synchronisations, blocking copies */
    uint64_t queries;      /* of events and streams: these do not wait */
    uint64_t mallocs, frees, pins;
    uint64_t held, peak;   /* bytes of device memory */
    uint64_t pinned;       /* bytes of host memory */
    uint64_t misuses;
};

enum where { ELSEWHERE, ON_DEVICE, PINNED };
enum kind { KERNEL, OWN_KERNEL, PRODUCT, CONVOLUTION, COPY, MEMSET, OTHER };

struct stream;

extern API struct counts null_counts;
extern API pthread_mutex_t null_lock;

/* Where an address lies; base and bytes of what holds it, where not NULL. */
API enum where null_find(const void *address, uintptr_t *base, size_t *bytes);

/* One line about something that CUDA forbids or that cannot be meant; kept, and printed with NULL_GPU_LOUD set. */
API void null_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The misuse of this number, "" beyond the last. */
API const char *null_misuse_line(int number);

/* Put work in a stream's line: counted, or recorded where the stream is being captured. */
API cudaError_t null_enqueue(cudaStream_t stream, enum kind kind, const char *what);

/* Called by what may wait, or make the driver do so: what is forbidden while graphs are captured. */
API cudaError_t null_unsafe(const char *what);
/* Called where the host waits: for a stream, or for all with NULL. */
cudaError_t host_waits(struct stream *stream, const char *what);

/* Keeps and returns the error, as the runtime does for cudaGetLastError. */
cudaError_t kept(cudaError_t error);

/* A copy into pinned memory: what lies there is worthless until the host has waited for the stream. */
void copy_later(cudaStream_t stream, void *host, size_t bytes);
