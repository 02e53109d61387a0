/* The stand-in's libcuda: what cuda.bindings and torch ask the driver for. */
#define _GNU_SOURCE
#include "null_gpu.h"

#include <dlfcn.h>
#include <string.h>

struct module {
    const char *image;
    size_t bytes;
};

struct function {
    char name[200];
};

static int context, modules, functions;
static struct module loaded[1024];
static struct function known[1024];
static __thread CUcontext current;

API CUresult cuInit(unsigned flags) { return (void)flags, CUDA_SUCCESS; }
API CUresult cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }
API CUresult cuDeviceGetCount(int *count) { return *count = 1, CUDA_SUCCESS; }
API CUresult cuDeviceGet(CUdevice *device, int index) { return *device = 0, index ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
API CUresult cuDeviceGetName(char *out, int bytes, CUdevice device) {
    return (void)device, snprintf(out, (size_t)bytes, "null GPU, which computes nothing"), CUDA_SUCCESS;
}

API CUresult cuDeviceGetAttribute(int *out, CUdevice_attribute which, CUdevice device) {
    static const struct { CUdevice_attribute which; int is; } ARE[] = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9}, {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024}, {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152}, {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 50 << 20},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448}, {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535}, {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048}, {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 0},
    };
    *out = 0;
    for (size_t i = 0; i < sizeof ARE / sizeof *ARE; i++)
        if (ARE[i].which == which) *out = ARE[i].is;
    return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
    return (void)device, *out = (CUcontext)&context, CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    return (void)device, *flags = 0, *active = 1, CUDA_SUCCESS;
}
API CUresult cuCtxSetCurrent(CUcontext c) { return current = c, CUDA_SUCCESS; }
API CUresult cuCtxGetCurrent(CUcontext *out) { return *out = current ? current : (CUcontext)&context, CUDA_SUCCESS; }
API CUresult cuCtxGetDevice(CUdevice *device) { return *device = 0, CUDA_SUCCESS; }

/* A cubin for this device: an ELF file, whose flags name its architecture. */
API CUresult cuModuleLoadData(CUmodule *out, const void *image) {
    const unsigned char *bytes = image;
    if (null_unsafe("loading a module")) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (memcmp(bytes, "\177ELF", 4)) return null_misuse("a module that is no cubin"), CUDA_ERROR_INVALID_IMAGE;
    uint32_t flags, heads;
    uint64_t at;
    uint16_t count, size;
    memcpy(&flags, bytes + 48, 4), memcpy(&at, bytes + 40, 8), memcpy(&size, bytes + 58, 2), memcpy(&count, bytes + 60, 2);
    heads = (flags >> 8) & 0xff;
    if ((flags & 0xff) != 90 && heads != 90) return null_misuse("a cubin with flags %x, not for sm_90", flags), CUDA_ERROR_NO_BINARY_FOR_GPU;
    if (modules == 1024) return CUDA_ERROR_OUT_OF_MEMORY;
    loaded[modules] = (struct module){image, at + (uint64_t)size * count};
    *out = (CUmodule)(uintptr_t)++modules;
    return CUDA_SUCCESS;
}

/* The driver copies a module's image, and our caller lets go of it: the name is looked for at once after loading. */
API CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
    uintptr_t number = (uintptr_t)module;
    if (!number || number > (uintptr_t)modules || functions == 1024) return CUDA_ERROR_INVALID_HANDLE;
    char entry[220] = ".text.";
    strncat(entry, name, 200);
    struct module *m = &loaded[number - 1];
    if (!memmem(m->image, m->bytes, entry, strlen(entry) + 1)) return null_misuse("no kernel %s in its cubin", name), CUDA_ERROR_NOT_FOUND;
    snprintf(known[functions].name, sizeof known[0].name, "%s", name);
    *out = (CUfunction)&known[functions++];
    return CUDA_SUCCESS;
}

API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                            unsigned shared, CUstream stream, void **arguments, void **extra) {
    struct function *function = (struct function *)f;
    (void)extra;
    if (function < known || function >= known + functions) return null_misuse("a kernel that was not loaded"), CUDA_ERROR_INVALID_HANDLE;
    if (!current) return null_misuse("%s without a context", function->name), CUDA_ERROR_INVALID_CONTEXT;
    if (!arguments || !gx || !gy || !gz || gy > 65535 || gz > 65535 || !bx || bx * by * bz > 1024 || shared > 232448) {
        null_misuse("%s: a grid of %u x %u x %u blocks of %u x %u x %u", function->name, gx, gy, gz, bx, by, bz);
        return CUDA_ERROR_INVALID_VALUE;
    }
    cudaError_t error = null_enqueue((cudaStream_t)stream, OWN_KERNEL, function->name);
    return (CUresult)error;
}

API CUresult cuGetErrorString(CUresult error, const char **out) { return *out = cudaGetErrorString((cudaError_t)error), CUDA_SUCCESS; }
API CUresult cuGetErrorName(CUresult error, const char **out) { return *out = cudaGetErrorName((cudaError_t)error), CUDA_SUCCESS; }

/* TMA's descriptor of a tensor: its address and steps have to be multiples of 16. */
API CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                    const cuuint64_t *sizes, const cuuint64_t *strides, const cuuint32_t *box,
                                    const cuuint32_t *steps, CUtensorMapInterleave a, CUtensorMapSwizzle b,
                                    CUtensorMapL2promotion c, CUtensorMapFloatOOBfill d) {
    (void)map, (void)type, (void)sizes, (void)box, (void)steps, (void)a, (void)b, (void)c, (void)d;
    bool good = (uintptr_t)address % 16 == 0 && null_find(address, NULL, NULL) == ON_DEVICE;
    for (cuuint32_t i = 0; i + 1 < rank; i++) good = good && strides[i] % 16 == 0;
    if (!good) null_misuse("a tensor map at %p that is not on the device, or not at multiples of 16 bytes", address);
    return good ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Tables between NVIDIA's own libraries; NVRTC asks for one, and does without. */
API CUresult cuGetExportTable(const void **table, const CUuuid *which) {
    return (void)which, *table = NULL, CUDA_ERROR_NOT_SUPPORTED;
}

static CUresult absent(void) {
    null_misuse("a driver function that is not made");
    return CUDA_ERROR_NOT_SUPPORTED;
}

API CUresult cuGetProcAddress_v2(const char *symbol, void **out, int version, cuuint64_t flags,
                                 CUdriverProcAddressQueryResult *found) {
    (void)version, (void)flags;
    void *function = strcmp(symbol, "cuGetProcAddress") ? dlsym(RTLD_DEFAULT, symbol) : (void *)cuGetProcAddress_v2;
    *out = function ? function : (void *)absent;
    if (found) *found = CU_GET_PROC_ADDRESS_SUCCESS;
    return CUDA_SUCCESS;
}
