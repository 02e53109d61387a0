// Runs the threads of a launch on a CPU, every one a fiber, in the order that is asked for; compiled once and linked to
// every kernel.
//
// Barriers and shuffles are the places where a fiber waits for others. Who waits where nobody comes, or meets others at
// another line, is reported. In a build whose memory accesses call back (`host.py`: the compiler's thread and alignment
// sanitizers, without their libraries) host_memory.cuh watches every one of them.
#include "host.cuh"

#include <stdarg.h>
#include <ucontext.h>

namespace host {

Indices indices;

constexpr int WARP = 32;
constexpr size_t STACK = 1 << 16;
enum Wait { RUNS, AT_WARP, AT_BLOCK, DONE };
const char* const WAITS[] = {"runs", "waits at a shuffle", "waits at a barrier", "has ended"};

struct Fiber {
    ucontext_t context;
    Wait wait;
    const char* file;  // where it waits
    int line;
    unsigned mask;  // of a shuffle: who takes part, what this one gives and from which lane it takes
    int source;
    unsigned long long given, taken;
};

static const Run* run = nullptr;
static Fiber* fibers = nullptr;
static char* stacks = nullptr;
static ucontext_t scheduler;
static int current = -1;  // the thread that runs, -1: none
static unsigned epoch = 0;  // barriers that the block has passed
static int found = 0;
static size_t told = 0;
static bool broken = false;  // nothing of this launch goes on
static void (*entry)(void*) = nullptr;
static void* entry_bound = nullptr;

static const char* base(const char* file) {
    const char* last = strrchr(file, '/');
    return last ? last + 1 : file;
}

// One line of the report; what comes after the first few says nothing more.
static void tell(const char* format, ...) {
    if (++found > 4) return;
    char line[400];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    const int made = snprintf(
        run->report + told, (size_t)run->report_bytes - told, "block (%u, %u), thread %d: %s\n", indices.block.x,
        indices.block.y, current, line);
    told += made;
    if (told >= (size_t)run->report_bytes) told = (size_t)run->report_bytes - 1;
}

static void wait(Wait kind) {
    fibers[current].wait = kind;
    swapcontext(&fibers[current].context, &scheduler);
}

// What comes next would damage this process: it does not come.
static void stop() {
    broken = true;
    wait(DONE);
}

static void run_fiber() {
    entry(entry_bound);
    wait(DONE);
}

void barrier(const char* file, int line) {
    fibers[current].file = file, fibers[current].line = line;
    wait(AT_BLOCK);
}

unsigned long long shuffled(unsigned mask, unsigned long long value, int lane_mask, const char* file, int line) {
    Fiber& own = fibers[current];
    const int lane = current % WARP;
    if (!(mask >> lane & 1)) tell("a shuffle whose mask %#x leaves out its own thread (%s:%d)", mask, base(file), line);
    own.mask = mask | 1u << lane, own.given = value, own.source = lane ^ lane_mask, own.file = file, own.line = line;
    wait(AT_WARP);
    return own.taken;
}

// Lets a shuffle's lanes go on once all that its mask names are there.
static bool release_shuffle(int first, int lane) {
    const Fiber& asked = fibers[first + lane];
    const int lanes = run->block - first < WARP ? run->block - first : WARP;
    for (int i = 0; i < WARP; ++i) {
        if (!(asked.mask >> i & 1)) continue;
        if (i >= lanes) continue;
        const Fiber& other = fibers[first + i];
        if (other.wait != AT_WARP || other.mask != asked.mask || other.line != asked.line) return false;
    }
    for (int i = 0; i < lanes; ++i) {
        if (!(asked.mask >> i & 1)) continue;
        Fiber& other = fibers[first + i];
        const bool there = other.source >= 0 && other.source < lanes && (asked.mask >> other.source & 1);
        current = first + i;
        if (!there) tell("a shuffle from lane %d, which takes no part in it (%s:%d)", other.source, base(other.file), other.line);
        other.taken = there ? fibers[first + other.source].given : ~0ull;
    }
    for (int i = 0; i < lanes; ++i)
        if (asked.mask >> i & 1) fibers[first + i].wait = RUNS;
    return true;
}

static bool release_warp(int first) {
    bool any = false;
    for (int lane = 0; lane < WARP && first + lane < run->block; ++lane)
        if (fibers[first + lane].wait == AT_WARP) any |= release_shuffle(first, lane);
    return any;
}

static bool release_block() {
    const Fiber* met = nullptr;
    bool same = true;
    for (int i = 0; i < run->block; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.wait == DONE) continue;
        if (fiber.wait != AT_BLOCK) return false;
        if (met == nullptr) met = &fiber;
        same &= fiber.line == met->line;
        if (!same) {
            current = i;
            tell("a barrier at %s:%d, where others wait at %s:%d", base(fiber.file), fiber.line, base(met->file), met->line);
            break;
        }
    }
    if (met == nullptr) return false;
    ++epoch;
    for (int i = 0; i < run->block; ++i)
        if (fibers[i].wait == AT_BLOCK) fibers[i].wait = RUNS;
    return true;
}

static unsigned long long random_state;

static unsigned drawn(unsigned below) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(random_state >> 33) % below;
}

// Number i of `count` in the order that is asked for; `shuffle` is drawn anew by `arranged`.
static void arranged(int* order, int count) {
    for (int i = 0; i < count; ++i) order[i] = run->order == 1 ? count - 1 - i : i;
    if (run->order < 2) return;
    for (int i = count - 1; i > 0; --i) {
        const int other = (int)drawn((unsigned)i + 1), held = order[i];
        order[i] = order[other], order[other] = held;
    }
}

// A warp's threads until each waits; true where one has run.
static bool advance(int first) {
    const int lanes = run->block - first < WARP ? run->block - first : WARP;
    int order[WARP];
    arranged(order, lanes);
    bool any = false;
    for (int i = 0; i < lanes; ++i) {
        current = first + order[i];
        if (fibers[current].wait != RUNS) continue;
        any = true;
        indices.thread = {(unsigned)current, 0, 0};
        swapcontext(&scheduler, &fibers[current].context);
        if (broken) return false;
    }
    return release_warp(first) || any;
}

static bool all_done() {
    for (int i = 0; i < run->block; ++i)
        if (fibers[i].wait != DONE) return false;
    return true;
}

static void begin_memory();
static void begin_block_memory();
static void end_memory();

static void tell_who_waits() {
    for (int i = 0; i < run->block; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.wait == DONE || (i && fiber.wait == fibers[i - 1].wait && fiber.line == fibers[i - 1].line)) continue;
        current = i;
        tell("%s that never meets all others (%s:%d)", WAITS[fiber.wait], base(fiber.file), fiber.line);
    }
}

// One block; false where its threads wait for each other in places that never meet.
static bool run_block() {
    const int warps = (run->block + WARP - 1) / WARP;
    int order[32];
    for (int i = 0; i < run->block; ++i) {
        Fiber& fiber = fibers[i];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks + (size_t)i * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        fiber.wait = RUNS;
        makecontext(&fiber.context, run_fiber, 0);
    }
    epoch = 0;
    begin_block_memory();
    while (!all_done()) {
        arranged(order, warps);
        bool moved = false, left_out = false;
        for (int i = 0; i < warps; ++i) {
            if (run->order > 1 && drawn(2)) {
                left_out = true;  // it comes later, when others have gone ahead
                continue;
            }
            while (advance(order[i] * WARP)) {
                moved = true;
                if (run->order != 1) break;
            }
        }
        if (broken) return false;
        moved |= release_block();
        if (!moved && !left_out) {
            tell_who_waits();
            return false;
        }
    }
    return true;
}

int execute(const Run* how, void (*kernel)(void*), void* bound) {
    run = how, entry = kernel, entry_bound = bound, found = 0, told = 0, broken = false;
    random_state = how->order * 0x9E3779B97F4A7C15ull + 1;
    indices.block_size = {(unsigned)how->block, 1, 1};
    indices.grid_size = {(unsigned)how->grid_x, (unsigned)how->grid_y, 1};
    const int blocks = how->grid_x * how->grid_y;
    fibers = static_cast<Fiber*>(calloc((size_t)how->block, sizeof(Fiber)));
    stacks = static_cast<char*>(malloc((size_t)how->block * STACK));
    int* order = static_cast<int*>(malloc((size_t)blocks * sizeof(int)));
    begin_memory();
    arranged(order, blocks);
    for (int i = 0; i < blocks; ++i) {
        indices.block = {(unsigned)(order[i] % how->grid_x), (unsigned)(order[i] / how->grid_x), 0};
        if (!run_block()) break;
    }
    current = -1;
    end_memory();
    free(order);
    free(stacks);
    free(fibers);
    return found ? 1 : 0;
}

}  // namespace host

#include "host_memory.cuh"
