/* The rest of the stand-in's libcudart: the device, its kernels, errors. */
#define _GNU_SOURCE
#include "null_gpu.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LINES 512
#define NAMES (1 << 17)

API struct counts null_counts;
API pthread_mutex_t null_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char lines[LINES][240];
static __thread cudaError_t last;
static __thread struct { dim3 grid, block; size_t shared; cudaStream_t stream; } pushed[8];
static __thread int depth;
static struct { const void *function; const char *name; uint64_t launched; } names[NAMES];

API void null_misuse(const char *format, ...) {
    pthread_mutex_lock(&null_lock);
    char *line = lines[null_counts.misuses++ % LINES];
    va_list given;
    va_start(given, format);
    vsnprintf(line, sizeof lines[0], format, given);
    va_end(given);
    if (getenv("NULL_GPU_LOUD")) fprintf(stderr, "null GPU: %s\n", line);
    pthread_mutex_unlock(&null_lock);
}

API const char *null_misuse_line(int number) {
    return number >= 0 && number < LINES && (uint64_t)number < null_counts.misuses ? lines[number] : "";
}

cudaError_t kept(cudaError_t error) {
    if (error) last = error;
    return error;
}

API cudaError_t cudaGetLastError(void) {
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}

API cudaError_t cudaPeekAtLastError(void) { return last; }

static const struct { cudaError_t error; const char *name, *says; } ERRORS[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
};

API const char *cudaGetErrorName(cudaError_t error) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].error == error) return ERRORS[i].name;
    return "another error";
}

API const char *cudaGetErrorString(cudaError_t error) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].error == error) return ERRORS[i].says;
    return "an error that the null GPU has no words for";
}

/* What a launch may ask for on compute capability 9.0. */
static cudaError_t launched(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffff || !threads ||
        threads > 1024 || block.z > 64 || shared > 232448) {
        null_misuse("%s: a grid of %u x %u x %u blocks of %lu threads with %zu bytes of shared memory", name, grid.x,
                    grid.y, grid.z, threads, shared);
        return cudaErrorInvalidConfiguration;
    }
    return null_enqueue(stream, KERNEL, name);
}

/* The place of a host function in the table of kernels. */
static int placed(const void *function) {
    uint64_t i = ((uintptr_t)function >> 4) * 0x9E3779B97F4A7C15u >> 47;
    while (names[i].function && names[i].function != function) i = (i + 1) % NAMES;
    names[i].function = function;
    return (int)i;
}

/* How often the kernels of libraries were launched or recorded so far: one after another until there is none, as name and
   count. */
API const char *null_launched(int *at, uint64_t *times) {
    while (*at < NAMES && !names[*at].launched) ++*at;
    if (*at == NAMES) return NULL;
    *times = names[*at].launched;
    return names[(*at)++].name;
}

/* A kernel's handle is the address of its host function. */
API cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *function) {
    *out = (cudaKernel_t)function;
    return cudaSuccess;
}

API cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                                 cudaStream_t stream) {
    (void)arguments;
    int i = placed(function);
    names[i].launched++;
    return kept(launched(names[i].name, grid, block, shared, stream));
}

API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                                   cudaStream_t stream) {
    return cudaLaunchKernel((const void *)kernel, grid, block, arguments, shared, stream);
}

API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **arguments) {
    return cudaLaunchKernel(function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
                            config->stream);
}

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st *stream) {
    pushed[depth].grid = grid, pushed[depth].block = block;
    pushed[depth].shared = shared, pushed[depth].stream = stream;
    depth++;
    return 0;
}

API cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    depth--;
    *grid = pushed[depth].grid, *block = pushed[depth].block;
    *shared = pushed[depth].shared, *(cudaStream_t *)stream = pushed[depth].stream;
    return cudaSuccess;
}

/* Of the kernels of libraries only the names are kept. */
API void **__cudaRegisterFatBinary(void *binary) { return (void **)binary; }
API void __cudaRegisterFatBinaryEnd(void **binary) { (void)binary; }
API void __cudaUnregisterFatBinary(void **binary) { (void)binary; }
API char __cudaInitModule(void **binary) { return (void)binary, 1; }
API void __cudaRegisterFunction(void **binary, const char *host, char *device, const char *name, int limit, uint3 *tid,
                                uint3 *bid, dim3 *block, dim3 *grid, int *warp) {
    names[placed(host)].name = name;
    (void)binary, (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
}
API void __cudaRegisterVar(void **binary, char *host, char *device, const char *name, int ext, size_t size, int constant,
                           int global) {
    (void)binary, (void)host, (void)device, (void)name, (void)ext, (void)size, (void)constant, (void)global;
}

API cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, const void *function) {
    (void)function;
    *out = (struct cudaFuncAttributes){.maxThreadsPerBlock = 1024, .numRegs = 32, .ptxVersion = 90, .binaryVersion = 90,
                                       .maxDynamicSharedSizeBytes = 232448};
    return cudaSuccess;
}

API cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute which, int value) {
    (void)function;
    bool large = which == cudaFuncAttributeMaxDynamicSharedMemorySize && value > 232448;
    return kept(large ? cudaErrorInvalidValue : cudaSuccess);
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *out, const void *function, int block,
                                                                       size_t shared, unsigned flags) {
    (void)function, (void)flags;
    *out = shared > 116000 || block > 512 ? 1 : 2;
    return cudaSuccess;
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *out, const void *function, int block, size_t shared) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(out, function, block, shared, 0);
}

API cudaError_t cudaOccupancyMaxActiveClusters(int *out, const void *function, const cudaLaunchConfig_t *config) {
    (void)function, (void)config;
    *out = 66;
    return cudaSuccess;
}

API cudaError_t cudaGetSymbolAddress(void **out, const void *symbol) {
    (void)symbol;
    static void *page;
    return page ? (*out = page, cudaSuccess) : (cudaMalloc(&page, 1 << 16), *out = page, cudaSuccess);
}

API cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t bytes, size_t at, enum cudaMemcpyKind kind) {
    (void)symbol, (void)from, (void)bytes, (void)at, (void)kind;
    return cudaSuccess;
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *given) {
    cudaError_t error = null_enqueue(stream, OTHER, "a host function");
    if (!error) function(given);
    return kept(error);
}

API cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **out, unsigned version, unsigned long long flags,
                                                 enum cudaDriverEntryPointQueryResult *found) {
    (void)version, (void)flags;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    CUresult (*look)(const char *, void **, int, cuuint64_t, CUdriverProcAddressQueryResult *) =
        driver ? (typeof(look))dlsym(driver, "cuGetProcAddress_v2") : NULL;
    bool good = look && look(symbol, out, 13000, 0, NULL) == CUDA_SUCCESS;
    if (found) *found = good ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return kept(good ? cudaSuccess : cudaErrorNotSupported);
}

API cudaError_t cudaGetDeviceCount(int *count) { return *count = 1, cudaSuccess; }
API cudaError_t cudaGetDevice(int *device) { return *device = 0, cudaSuccess; }
API cudaError_t cudaSetDevice(int device) { return kept(device ? cudaErrorInvalidDevice : cudaSuccess); }
API cudaError_t cudaDriverGetVersion(int *version) { return *version = 13000, cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int *version) { return *version = 13000, cudaSuccess; }

API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    return *least = 0, *greatest = -5, cudaSuccess;
}

API cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    return (void)device, (void)peer, *can = 0, cudaSuccess;
}

API cudaError_t cudaDeviceGetPCIBusId(char *out, int bytes, int device) {
    return (void)device, snprintf(out, (size_t)bytes, "0000:00:00.0"), cudaSuccess;
}

API cudaError_t cudaDeviceGetAttribute(int *out, enum cudaDeviceAttr which, int device) {
    CUresult cuDeviceGetAttribute(int *, CUdevice_attribute, CUdevice);
    return kept(cuDeviceGetAttribute(out, (CUdevice_attribute)which, device) ? cudaErrorInvalidValue : cudaSuccess);
}

API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device) {
    if (device) return kept(cudaErrorInvalidDevice);
    size_t available;
    *out = (struct cudaDeviceProp){
        .name = "null GPU, which computes nothing", .sharedMemPerBlock = 49152, .regsPerBlock = 65536, .warpSize = 32,
        .maxThreadsPerBlock = 1024, .maxThreadsDim = {1024, 1024, 64}, .maxGridSize = {2147483647, 65535, 65535},
        .totalConstMem = 65536, .major = 9, .minor = 0, .multiProcessorCount = 132, .maxThreadsPerMultiProcessor = 2048,
        .unifiedAddressing = 1, .l2CacheSize = 50 << 20, .sharedMemPerMultiprocessor = 233472, .textureAlignment = 512,
        .sharedMemPerBlockOptin = 232448, .regsPerMultiprocessor = 65536, .maxBlocksPerMultiProcessor = 32,
        .memoryBusWidth = 5120, .cooperativeLaunch = 1, .concurrentKernels = 1, .asyncEngineCount = 3,
    };
    return cudaMemGetInfo(&available, &out->totalGlobalMem);
}
