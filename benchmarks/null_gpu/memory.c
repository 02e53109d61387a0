/* Device memory: addresses that nobody may touch, so that full shapes cost nothing and a host that reads them ends. What
   is copied to the host is zeros. */
#define _GNU_SOURCE
#include "null_gpu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MOST 65536
#define PAGE 4096

struct piece {
    uintptr_t base;
    size_t bytes; /* as asked for */
    size_t mapped;
    enum where where;
};

static struct piece pieces[MOST]; /* in the order of their addresses */
static int count;

/* H100 80GB: what the driver leaves of it. NULL_GPU_MIB asks for another size. */
static size_t total(void) {
    const char *asked = getenv("NULL_GPU_MIB");
    return (asked ? strtoull(asked, NULL, 10) : 81079) << 20;
}

/* The number of the first piece that begins after an address. */
static int after(uintptr_t address) {
    int low = 0, high = count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (pieces[middle].base <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

API enum where null_find(const void *address, uintptr_t *base, size_t *bytes) {
    int i = after((uintptr_t)address) - 1;
    if (i < 0 || (uintptr_t)address >= pieces[i].base + pieces[i].bytes) return ELSEWHERE;
    if (base) *base = pieces[i].base;
    if (bytes) *bytes = pieces[i].bytes;
    return pieces[i].where;
}

static void *mapped(size_t bytes, enum where where) {
    size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    int allowed = where == PINNED ? PROT_READ | PROT_WRITE : PROT_NONE;
    void *memory = mmap(NULL, whole, allowed, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || count == MOST) return NULL;
    int i = after((uintptr_t)memory);
    memmove(pieces + i + 1, pieces + i, (size_t)(count++ - i) * sizeof *pieces);
    pieces[i] = (struct piece){(uintptr_t)memory, bytes, whole, where};
    return memory;
}

/* The bytes of what began here and is gone now; 0 where nothing of this kind did. */
static size_t unmapped(void *memory, enum where where) {
    int i = after((uintptr_t)memory) - 1;
    if (i < 0 || pieces[i].base != (uintptr_t)memory || pieces[i].where != where) return 0;
    size_t bytes = pieces[i].bytes;
    munmap(memory, pieces[i].mapped);
    memmove(pieces + i, pieces + i + 1, (size_t)(--count - i) * sizeof *pieces);
    return bytes;
}

API cudaError_t cudaMalloc(void **out, size_t bytes) {
    cudaError_t error = null_unsafe("cudaMalloc");
    if (error) return kept(error);
    pthread_mutex_lock(&null_lock);
    *out = null_counts.held + bytes > total() ? NULL : mapped(bytes, ON_DEVICE);
    if (*out) {
        null_counts.mallocs++;
        null_counts.held += bytes;
        if (null_counts.held > null_counts.peak) null_counts.peak = null_counts.held;
    }
    pthread_mutex_unlock(&null_lock);
    return kept(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

API cudaError_t cudaFree(void *memory) {
    if (!memory) return cudaSuccess; /* how torch makes a context */
    cudaError_t error = null_unsafe("cudaFree");
    if (error) return kept(error);
    pthread_mutex_lock(&null_lock);
    size_t bytes = unmapped(memory, ON_DEVICE);
    null_counts.held -= bytes;
    null_counts.frees += bytes != 0;
    pthread_mutex_unlock(&null_lock);
    if (!bytes) null_misuse("cudaFree of %p, which is not device memory", memory);
    return kept(bytes ? cudaSuccess : cudaErrorInvalidValue);
}

API cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t stream) {
    (void)stream;
    return cudaMalloc(out, bytes);
}

API cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
    (void)stream;
    return cudaFree(memory);
}

API cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags) {
    (void)flags;
    cudaError_t error = null_unsafe("cudaHostAlloc");
    if (error) return kept(error);
    pthread_mutex_lock(&null_lock);
    *out = mapped(bytes, PINNED);
    null_counts.pins++;
    null_counts.pinned += *out ? bytes : 0;
    pthread_mutex_unlock(&null_lock);
    return kept(*out ? cudaSuccess : cudaErrorMemoryAllocation);
}

API cudaError_t cudaFreeHost(void *memory) {
    cudaError_t error = null_unsafe("cudaFreeHost");
    if (error) return kept(error);
    pthread_mutex_lock(&null_lock);
    size_t bytes = unmapped(memory, PINNED);
    null_counts.pinned -= bytes;
    pthread_mutex_unlock(&null_lock);
    return kept(bytes || !memory ? cudaSuccess : cudaErrorInvalidValue);
}

API cudaError_t cudaMemGetInfo(size_t *available, size_t *all) {
    *all = total();
    *available = total() - null_counts.held;
    return cudaSuccess;
}

API cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *out, const void *address) {
    pthread_mutex_lock(&null_lock);
    enum where where = null_find(address, NULL, NULL);
    pthread_mutex_unlock(&null_lock);
    memset(out, 0, sizeof *out);
    out->type = where == ON_DEVICE ? cudaMemoryTypeDevice : where == PINNED ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    out->devicePointer = where == ELSEWHERE ? NULL : (void *)address;
    out->hostPointer = where == PINNED ? (void *)address : NULL;
    return cudaSuccess;
}

/* Whether so many bytes lie within one piece, or nowhere that is known; a line where they do not. */
static bool inside(const char *what, const void *address, size_t bytes) {
    uintptr_t base;
    size_t held;
    if (null_find(address, &base, &held) == ELSEWHERE) return true;
    if ((uintptr_t)address + bytes <= base + held) return true;
    null_misuse("%s of %zu bytes at %p leaves its allocation", what, bytes, address);
    return false;
}

/* One copy, counted by direction; the host gets zeros. `rows` of `bytes`. */
static cudaError_t copied(void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows,
                          cudaStream_t stream, bool *pageable) {
    if (!bytes || !rows) return cudaSuccess;
    pthread_mutex_lock(&null_lock);
    enum where target = null_find(to, NULL, NULL), source = null_find(from, NULL, NULL);
    bool good = inside("a write", to, (rows - 1) * to_step + bytes) & inside("a read", from, (rows - 1) * from_step + bytes);
    pthread_mutex_unlock(&null_lock);
    if (!good) return cudaErrorInvalidValue;
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaStreamIsCapturing(stream, &status);
    bool captured = status != cudaStreamCaptureStatusNone, within = target == ON_DEVICE && source == ON_DEVICE;
    *pageable = target == ELSEWHERE || source == ELSEWHERE;
    if (captured && !within) null_misuse("a copy with the host is being captured: what lies there now is frozen");
    cudaError_t error = null_enqueue(stream, COPY, "a copy");
    if (error || captured) return error;
    size_t all = bytes * rows;
    pthread_mutex_lock(&null_lock);
    null_counts.pageable += *pageable;
    if (within) null_counts.copies_inside++, null_counts.bytes_inside += all;
    else if (target == ON_DEVICE) null_counts.copies_in++, null_counts.bytes_in += all;
    else null_counts.copies_out++, null_counts.bytes_out += all;
    pthread_mutex_unlock(&null_lock);
    if (target == PINNED && rows == 1) copy_later(stream, to, all);
    else if (target != ON_DEVICE)
        for (size_t i = 0; i < rows; i++) memset((char *)to + i * to_step, 0, bytes);
    return cudaSuccess;
}

API cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s) {
    (void)kind;
    bool pageable = false;
    return kept(copied(to, bytes, from, bytes, bytes, 1, s, &pageable));
}

API cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    (void)kind;
    bool pageable = false;
    cudaError_t error = null_unsafe("cudaMemcpy");
    if (!error) error = copied(to, bytes, from, bytes, bytes, 1, NULL, &pageable);
    return kept(error ? error : host_waits(NULL, "cudaMemcpy"));
}

API cudaError_t cudaMemcpyPeerAsync(void *to, int a, const void *from, int b, size_t bytes, cudaStream_t stream) {
    (void)a, (void)b;
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}

API cudaError_t cudaMemcpy2DAsync(void *to, size_t to_step, const void *from, size_t from_step, size_t width,
                                  size_t height, enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void)kind;
    bool pageable = false;
    return kept(copied(to, to_step, from, from_step, width, height, stream, &pageable));
}

API cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    pthread_mutex_lock(&null_lock);
    bool good = null_find(to, NULL, NULL) == ON_DEVICE && inside("a memset", to, bytes);
    pthread_mutex_unlock(&null_lock);
    if (!good) null_misuse("a memset at %p, which is not device memory", to);
    (void)value;
    return kept(good ? null_enqueue(stream, MEMSET, "a memset") : cudaErrorInvalidValue);
}

API cudaError_t cudaMemset(void *to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, NULL); }
