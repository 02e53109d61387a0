/* The stand-in's libcudnn: descriptors of its graph API that keep what they are told; a plan that runs is one launch. */
#include "null_gpu.h"

#include <stdlib.h>
#include <string.h>

#include <cudnn.h>

struct attribute {
    struct attribute *next;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    char values[];
};

struct descriptor {
    cudnnBackendDescriptorType_t type;
    struct attribute *first;
};

struct handle {
    cudaStream_t stream;
};

static size_t width(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR: return 1;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_FRACTION:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR: return 8;
    default: return 4;
    }
}

API cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    struct descriptor *made = calloc(1, sizeof *made);
    made->type = type;
    return *out = made, CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t given) {
    struct descriptor *d = given;
    for (struct attribute *a = d ? d->first : NULL, *next; a; a = next) next = a->next, free(a);
    return free(d), CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d) { return (void)d, CUDNN_STATUS_SUCCESS; }

API cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t given, cudnnBackendAttributeName_t name,
                                           cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    struct descriptor *d = given;
    size_t bytes = (size_t)count * width(type);
    struct attribute *a = malloc(sizeof *a + bytes);
    *a = (struct attribute){d->first, name, type, count};
    if (bytes) memcpy(a->values, values, bytes);
    return d->first = a, CUDNN_STATUS_SUCCESS;
}

static struct attribute *found(struct descriptor *d, cudnnBackendAttributeName_t name) {
    struct attribute *a = d->first;
    while (a && a->name != name) a = a->next;
    return a;
}

/* Heuristics know one engine; a plan takes no workspace; of all else nothing is known but what was told. */
API cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const given, cudnnBackendAttributeName_t name,
                                           cudnnBackendAttributeType_t type, int64_t asked, int64_t *count, void *out) {
    struct attribute *a = found((struct descriptor *)given, name);
    bool notes = name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE || name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE ||
                 name == CUDNN_ATTR_ENGINE_KNOB_INFO || name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES;
    int64_t has = a ? a->count : notes ? 0 : 1;
    if (count) *count = has;
    if (!out || type == CUDNN_TYPE_BACKEND_DESCRIPTOR) return CUDNN_STATUS_SUCCESS; /* the caller's own are as good */
    size_t bytes = (size_t)(has < asked ? has : asked) * width(type);
    if (a) memcpy(out, a->values, bytes);
    else memset(out, 0, bytes);
    return CUDNN_STATUS_SUCCESS;
}

/* Pointers of numbers that are passed by value lie on the host, so that only those of freed memory are seen. */
API cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    (void)plan;
    struct attribute *data = found((struct descriptor *)pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    int on_device = 0;
    for (int64_t i = 0; data && i < data->count; i++) {
        void *address;
        memcpy(&address, data->values + 8 * i, 8);
        on_device += null_find(address, NULL, NULL) == ON_DEVICE;
    }
    if (on_device < 2) null_misuse("cuDNN is given %d pointers of device memory", on_device);
    cudaError_t error = null_enqueue(((struct handle *)handle)->stream, CONVOLUTION, "cuDNN");
    return error ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnCreate(cudnnHandle_t *out) {
    return *out = calloc(1, sizeof(struct handle)), CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return free(handle), CUDNN_STATUS_SUCCESS; }
API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    return ((struct handle *)handle)->stream = stream, CUDNN_STATUS_SUCCESS;
}
API cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) {
    return *stream = ((struct handle *)handle)->stream, CUDNN_STATUS_SUCCESS;
}
API size_t cudnnGetVersion(void) { return 91900; }
API cudnnStatus_t cudnnGetProperty(libraryPropertyType which, int *out) {
    return *out = which == MAJOR_VERSION ? 9 : which == MINOR_VERSION ? 19 : 0, CUDNN_STATUS_SUCCESS;
}
API size_t cudnnGetCudartVersion(void) { return 13000; }
API size_t cudnnGetMaxDeviceVersion(void) { return 1200; }
API const char *cudnnGetErrorString(cudnnStatus_t status) { return status ? "an error" : "no error"; }
API void cudnnGetLastErrorString(char *out, size_t most) {
    if (most) *out = 0;
}
