/* Streams, events and captures. Work is done when it is put in line; what is kept is how far the host may know that.

   A stream counts what was put in its line (`issued`) and how much of that the host has waited for (`known`). An event
   remembers a place in a line. What another stream was made to wait for is known when that stream is. */
#define _GNU_SOURCE
#include "null_gpu.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAMS 512
#define AWAITED 16
#define LATER 256
#define POISON 0xA5

struct graph {
    uint64_t nodes, kernels, own, products, convolutions, copies, memsets;
};

struct capture {
    unsigned long long id;
    enum cudaStreamCaptureMode mode;
    pthread_t thread; /* that began it */
    bool broken, ended;
    int joined; /* other streams that were forked off and have not come back */
    struct stream *origin;
    struct graph *graph;
};

struct stream {
    bool live, beside; /* beside: does not wait for the legacy stream */
    int priority;
    uint64_t issued, known;
    struct { struct stream *other; uint64_t at, place; } awaited[AWAITED];
    int next;
    struct capture *capture;
};

struct event {
    struct stream *stream;
    uint64_t place;
    struct capture *capture; /* recorded inside one */
    unsigned long long capture_id;
    bool timed, recorded;
    struct timespec at;
};

static struct stream streams[STREAMS] = {{.live = true}}; /* the first is the legacy stream */
static int capturing; /* captures that have begun and not ended */
static unsigned long long captures;
static struct { struct stream *stream; uint64_t place; void *host; size_t bytes; } later[LATER];
static int waiting;
static __thread enum cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

static struct stream *of(cudaStream_t handle) {
    if ((uintptr_t)handle <= 2) return streams;
    struct stream *s = (struct stream *)handle;
    if (s < streams || s >= streams + STREAMS || !s->live) {
        null_misuse("a stream that is not alive: %p", (void *)handle);
        return NULL;
    }
    return s;
}

static void broken(struct capture *capture, const char *what) {
    null_misuse("%s while a graph is captured: the capture is broken", what);
    if (capture) capture->broken = true;
}

/* As cudaThreadExchangeStreamCaptureMode says: a thread's own captures forbid it everything that may wait, captures in
   global mode forbid it to all threads. */
API cudaError_t null_unsafe(const char *what) {
    pthread_mutex_lock(&null_lock);
    bool forbidden = false;
    for (struct stream *s = streams; thread_mode != cudaStreamCaptureModeRelaxed && s < streams + STREAMS; s++) {
        struct capture *c = s->capture;
        if (!c || c->mode == cudaStreamCaptureModeRelaxed) continue;
        bool own = pthread_equal(c->thread, pthread_self());
        bool all = c->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
        if (own || all) broken(c, what), forbidden = true;
    }
    pthread_mutex_unlock(&null_lock);
    return forbidden ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

/* The host has waited for a stream up to a place. */
static void learn(struct stream *s, uint64_t place) {
    if (place <= s->known) return;
    s->known = place;
    for (int i = 0; i < AWAITED; i++)
        if (s->awaited[i].other && s->awaited[i].at <= place) learn(s->awaited[i].other, s->awaited[i].place);
    for (int i = 0; i < waiting;) {
        if (later[i].stream != s || later[i].place > s->known) { i++; continue; }
        if (null_find(later[i].host, NULL, NULL) == PINNED) memset(later[i].host, 0, later[i].bytes);
        later[i] = later[--waiting];
    }
}

void copy_later(cudaStream_t stream, void *host, size_t bytes) {
    pthread_mutex_lock(&null_lock);
    struct stream *s = of(stream);
    for (int i = 0; i < waiting; i++)
        if ((char *)host < (char *)later[i].host + later[i].bytes && (char *)later[i].host < (char *)host + bytes)
            null_misuse("pinned memory at %p is written again before anybody waited for the copy before", host);
    if (waiting == LATER) learn(later[0].stream, later[0].place);
    memset(host, POISON, bytes);
    later[waiting++] = (typeof(later[0])){s, s->issued, host, bytes};
    pthread_mutex_unlock(&null_lock);
}

cudaError_t host_waits(struct stream *stream, const char *what) {
    pthread_mutex_lock(&null_lock);
    cudaError_t error = cudaSuccess;
    null_counts.waits++;
    for (struct stream *s = streams; s < streams + STREAMS; s++) {
        if (!s->live || (stream && s != stream)) continue;
        if (s->capture) broken(s->capture, what), error = cudaErrorStreamCaptureUnsupported;
        else learn(s, s->issued);
    }
    pthread_mutex_unlock(&null_lock);
    return error;
}

API cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    struct stream *s = of(handle);
    if (!s) return kept(cudaErrorInvalidResourceHandle);
    cudaError_t error = null_unsafe("cudaStreamSynchronize");
    return kept(error ? error : host_waits(s, "cudaStreamSynchronize"));
}

API cudaError_t cudaDeviceSynchronize(void) {
    cudaError_t error = null_unsafe("cudaDeviceSynchronize");
    return kept(error ? error : host_waits(NULL, "cudaDeviceSynchronize"));
}

API cudaError_t cudaStreamQuery(cudaStream_t handle) {
    struct stream *s = of(handle);
    if (!s) return kept(cudaErrorInvalidResourceHandle);
    cudaError_t error = null_unsafe("cudaStreamQuery");
    if (error) return kept(error);
    null_counts.queries++;
    learn(s, s->issued);
    return cudaSuccess;
}

static void count(const struct graph *g) {
    null_counts.launches += g->kernels, null_counts.own += g->own, null_counts.products += g->products;
    null_counts.convolutions += g->convolutions, null_counts.memsets += g->memsets;
    null_counts.copies_inside += g->copies;
}

static void add(struct graph *g, enum kind kind) {
    g->nodes++;
    g->kernels += kind <= CONVOLUTION, g->own += kind == OWN_KERNEL, g->products += kind == PRODUCT;
    g->convolutions += kind == CONVOLUTION, g->copies += kind == COPY, g->memsets += kind == MEMSET;
}

API cudaError_t null_enqueue(cudaStream_t handle, enum kind kind, const char *what) {
    pthread_mutex_lock(&null_lock);
    struct stream *s = of(handle);
    cudaError_t error = s ? cudaSuccess : cudaErrorInvalidResourceHandle;
    if (s && s->capture) {
        if (s->capture->broken) error = cudaErrorStreamCaptureInvalidated;
        else add(s->capture->graph, kind);
    } else if (s) {
        for (struct stream *other = streams + 1; s == streams && other < streams + STREAMS; other++)
            if (other->live && !other->beside && other->capture) { /* the legacy stream would have to wait for it */
                broken(other->capture, "work in the legacy stream");
                error = cudaErrorStreamCaptureImplicit;
            }
        for (struct stream *other = streams; capturing && other < streams + STREAMS; other++)
            if (other->capture && other->capture->origin == other && pthread_equal(other->capture->thread, pthread_self()))
                null_misuse("%s in another stream while this thread captures a graph: it is not recorded", what);
        s->issued++;
        struct graph one = {0};
        add(&one, kind);
        one.copies = 0; /* counted by direction where they are made */
        count(&one);
        null_counts.enqueued += one.kernels;
    }
    pthread_mutex_unlock(&null_lock);
    return error;
}

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority) {
    pthread_mutex_lock(&null_lock);
    struct stream *s = streams + 1;
    while (s < streams + STREAMS && s->live) s++;
    if (s < streams + STREAMS) *s = (struct stream){.live = true, .beside = flags & cudaStreamNonBlocking, .priority = priority};
    pthread_mutex_unlock(&null_lock);
    *out = (cudaStream_t)s;
    return kept(s < streams + STREAMS ? cudaSuccess : cudaErrorMemoryAllocation);
}

API cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithPriority(out, 0, 0); }

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    return cudaStreamCreateWithPriority(out, flags, 0);
}

API cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    struct stream *s = of(handle);
    if (s && s != streams) s->live = false;
    return kept(s ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

API cudaError_t cudaStreamGetPriority(cudaStream_t handle, int *priority) {
    struct stream *s = of(handle);
    *priority = s ? s->priority : 0;
    return kept(s ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    struct event *event = calloc(1, sizeof *event);
    event->timed = !(flags & cudaEventDisableTiming);
    *out = (cudaEvent_t)event;
    return cudaSuccess;
}

API cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, 0); }

API cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    return cudaSuccess;
}

API cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream, unsigned flags) {
    struct event *event = (struct event *)handle;
    bool outside = flags & cudaEventRecordExternal;
    pthread_mutex_lock(&null_lock);
    struct stream *s = of(stream);
    if (s) {
        *event = (struct event){s, s->issued, outside ? NULL : s->capture, 0, event->timed, true, {0, 0}};
        if (event->capture) event->capture_id = event->capture->id;
        clock_gettime(CLOCK_MONOTONIC, &event->at);
    }
    pthread_mutex_unlock(&null_lock);
    return kept(s ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return cudaEventRecordWithFlags(event, stream, 0);
}

static cudaError_t reached(struct event *event, const char *what) {
    cudaError_t error = null_unsafe(what);
    if (error) return error;
    if (event->capture) {
        null_misuse("%s of an event that was recorded in a capture", what);
        return cudaErrorCapturedEvent;
    }
    pthread_mutex_lock(&null_lock);
    if (event->recorded) learn(event->stream, event->place);
    pthread_mutex_unlock(&null_lock);
    return cudaSuccess;
}

API cudaError_t cudaEventQuery(cudaEvent_t event) {
    null_counts.queries++;
    return kept(reached((struct event *)event, "cudaEventQuery"));
}

API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    null_counts.waits++;
    return kept(reached((struct event *)event, "cudaEventSynchronize"));
}

API cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t first, cudaEvent_t last) {
    struct event *a = (struct event *)first, *b = (struct event *)last;
    if (!a->timed || !b->timed || !a->recorded || !b->recorded) return kept(cudaErrorInvalidResourceHandle);
    if (b->place > b->stream->known) return kept(cudaErrorNotReady);
    *ms = (float)(b->at.tv_sec - a->at.tv_sec) * 1e3f + (float)(b->at.tv_nsec - a->at.tv_nsec) * 1e-6f;
    if (*ms < 1e-3f) *ms = 1e-3f;
    return cudaSuccess;
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t awaited, unsigned flags) {
    struct event *event = (struct event *)awaited;
    cudaError_t error = cudaSuccess;
    pthread_mutex_lock(&null_lock);
    struct stream *s = of(handle);
    if (!s) error = cudaErrorInvalidResourceHandle;
    else if (event->capture && event->capture->ended) {
        null_misuse("waiting for an event of a capture that has ended");
        error = cudaErrorInvalidValue;
    } else if (event->capture && !s->capture) { /* a fork */
        s->capture = event->capture;
        s->capture->joined++;
    } else if (s->capture && event->recorded && event->capture != s->capture && !(flags & cudaEventWaitExternal)) {
        broken(s->capture, "waiting for an event from outside");
        error = cudaErrorStreamCaptureIsolation;
    } else if (s->capture && event->capture == s->capture && event->stream != s && s == s->capture->origin) {
        event->stream->capture = NULL; /* a join */
        s->capture->joined--;
    } else if (event->recorded && !s->capture) {
        s->awaited[s->next++ % AWAITED] = (typeof(s->awaited[0])){event->stream, s->issued, event->place};
    }
    pthread_mutex_unlock(&null_lock);
    return kept(error);
}

API cudaError_t cudaStreamBeginCapture(cudaStream_t handle, enum cudaStreamCaptureMode mode) {
    struct stream *s = of(handle);
    if (!s || s->capture) return kept(cudaErrorIllegalState);
    if (s == streams) {
        null_misuse("the legacy stream cannot be captured");
        return kept(cudaErrorStreamCaptureUnsupported);
    }
    pthread_mutex_lock(&null_lock);
    s->capture = calloc(1, sizeof *s->capture);
    *s->capture = (struct capture){++captures, mode, pthread_self(), false, false, 0, s, calloc(1, sizeof(struct graph))};
    capturing++;
    null_counts.captures++;
    pthread_mutex_unlock(&null_lock);
    return cudaSuccess;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *out) {
    struct stream *s = of(handle);
    if (!s || !s->capture) return kept(cudaErrorIllegalState);
    pthread_mutex_lock(&null_lock);
    struct capture *capture = s->capture;
    capturing--;
    for (struct stream *other = streams; other < streams + STREAMS; other++)
        if (other->capture == capture) other->capture = NULL;
    capture->ended = true;
    bool forked = capture->joined > 0;
    if (forked) null_misuse("a capture ends while %d streams have not been joined", capture->joined);
    null_counts.broken_captures += capture->broken || forked;
    *out = capture->broken || forked ? NULL : (cudaGraph_t)capture->graph; /* the capture stays: events know it */
    pthread_mutex_unlock(&null_lock);
    return kept(capture->broken ? cudaErrorStreamCaptureInvalidated : forked ? cudaErrorStreamCaptureUnjoined : cudaSuccess);
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t handle, enum cudaStreamCaptureStatus *status) {
    struct stream *s = of(handle);
    if (!s) return kept(cudaErrorInvalidResourceHandle);
    *status = !s->capture ? cudaStreamCaptureStatusNone
              : s->capture->broken ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, enum cudaStreamCaptureStatus *status,
                                         unsigned long long *id, cudaGraph_t *graph, const cudaGraphNode_t **nodes,
                                         const cudaGraphEdgeData **edges, size_t *count) {
    cudaError_t error = cudaStreamIsCapturing(handle, status);
    struct stream *s = error ? NULL : of(handle);
    if (id) *id = s && s->capture ? s->capture->id : 0;
    if (graph) *graph = s && s->capture ? (cudaGraph_t)s->capture->graph : NULL;
    if (nodes) *nodes = NULL;
    if (edges) *edges = NULL;
    if (count) *count = 0;
    return error;
}

API cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) {
    enum cudaStreamCaptureMode before = thread_mode;
    thread_mode = *mode;
    *mode = before;
    return cudaSuccess;
}

API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags) {
    (void)flags;
    cudaError_t error = null_unsafe("cudaGraphInstantiate");
    if (error) return kept(error);
    struct graph *copy = malloc(sizeof *copy);
    *copy = *(struct graph *)graph;
    null_counts.nodes = copy->nodes;
    *out = (cudaGraphExec_t)copy;
    return cudaSuccess;
}

API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
    cudaError_t error = null_enqueue(handle, OTHER, "a graph");
    if (error) return kept(error);
    pthread_mutex_lock(&null_lock);
    count((struct graph *)exec);
    null_counts.replays++;
    pthread_mutex_unlock(&null_lock);
    return cudaSuccess;
}

API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    if (nodes) return kept(cudaErrorNotSupported);
    *count = ((struct graph *)graph)->nodes;
    return cudaSuccess;
}

API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    free(graph);
    return cudaSuccess;
}

API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    free(exec);
    return cudaSuccess;
}
