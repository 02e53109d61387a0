// Every access to memory of a kernel that runs on a CPU, watched: a part of host_runtime.cuh.
//
// A compiler with -fsanitize=thread calls a function before each access, and with -fsanitize=alignment,bounds one where an
// address or an index is wrong; these are those functions. For every byte of shared memory and of the launch's tensors is
// kept who wrote and who read it last, so that two threads with no barrier between them are found in whatever order they
// ran. A shuffle orders no memory, as on a GPU.
#pragma once

extern "C" {
extern char __start_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared_memory[] __attribute__((weak, visibility("hidden")));
extern char __ehdr_start[] __attribute__((visibility("hidden")));  // of this library
extern char _end[] __attribute__((visibility("hidden")));
}

namespace host {

// Block + 1 << 32 | epoch << 12 | thread; 0: nobody.
typedef unsigned long long Who;
constexpr Who MANY = 0xFFF;  // in place of a thread: several

struct Shadow {
    Who writer, reader;
};

static Shadow* shared_shadow = nullptr;
static Shadow** region_shadows = nullptr;

static size_t shared_bytes() { return (size_t)(__stop_shared_memory - __start_shared_memory); }

static void begin_memory() {
    shared_shadow = static_cast<Shadow*>(calloc(shared_bytes() + 1, sizeof(Shadow)));
    region_shadows = static_cast<Shadow**>(calloc((size_t)run->regions + 1, sizeof(Shadow*)));
    for (int i = 0; i < run->regions; ++i)
        region_shadows[i] = static_cast<Shadow*>(calloc(run->region[i].bytes, sizeof(Shadow)));
}

// What the block before has left must not look like numbers.
static void begin_block_memory() {
    if (shared_bytes() == 0) return;
    memset(__start_shared_memory, 0xFF, shared_bytes());
    memset(shared_shadow, 0, shared_bytes() * sizeof(Shadow));
}

static void end_memory() {
    for (int i = 0; i < run->regions; ++i) free(region_shadows[i]);
    free(region_shadows);
    free(shared_shadow);
}

static Who here() {
    const Who block = (Who)indices.block.y * indices.grid_size.x + indices.block.x + 1;
    return block << 32 | (Who)epoch << 12 | (Who)current;
}

// Whether nothing orders these two: not the same thread, and no barrier of their block between them.
static bool unordered(Who before, Who now) {
    if (before == 0 || before == now) return false;
    if (before >> 32 != now >> 32) return true;
    return (before & MANY) != (now & MANY) && before >> 12 == now >> 12;
}

static const char* watched(Shadow& byte, bool write, Who now) {
    if (unordered(byte.writer, now))
        return write ? "writes what another thread writes" : "reads what another thread writes";
    if (write) {
        if (unordered(byte.reader, now)) return "writes what another thread reads";
        byte.writer = now, byte.reader = 0;
    } else if (byte.reader == 0 || byte.reader >> 32 == now >> 32) {
        const bool alone = byte.reader == 0 || byte.reader >> 12 != now >> 12 || byte.reader == now;
        byte.reader = alone ? now : now | MANY;
    } else {
        byte.reader = ~0ull;  // threads of several blocks
    }
    return nullptr;
}

static void in_shared(char* at, size_t bytes, bool write, size_t place) {
    const size_t first = (size_t)(at - __start_shared_memory);
    for (size_t i = first; i < first + bytes; ++i) {
        const bool unwritten = !write && shared_shadow[i].writer == 0;
        const char* what = unwritten ? "reads what no thread has written" : watched(shared_shadow[i], write, here());
        if (what == nullptr) continue;
        tell("%s, with no barrier between: byte %zu of shared memory (at %#zx)", what, i, place);
        return;
    }
}

static void in_region(int number, size_t first, size_t bytes, bool write, size_t place) {
    const Region& region = run->region[number];
    for (size_t i = first; i < first + bytes; ++i) {
        const bool inside = i < region.bytes && region.allowed[i];
        const char* what = inside ? watched(region_shadows[number][i], write, here()) : write ? "writes" : "reads";
        if (what == nullptr) continue;
        if (inside) {
            tell("%s, in no order: byte %zu of allocation %d (at %#zx)", what, i, number, place);
            return;
        }
        tell("%s outside its tensors: byte %zu of allocation %d of %zu bytes (at %#zx)", what, i, number, region.bytes, place);
        stop();
    }
}

static void access(void* address, size_t bytes, bool write, void* caller, bool whole = true) {
    char* at = static_cast<char*>(address);
    if (current < 0) return;
    const char* stack = stacks + (size_t)current * STACK;
    if (at >= stack && at < stack + STACK) return;
    const size_t place = (size_t)(static_cast<char*>(caller) - __ehdr_start) - 1;  // in the call, not after it
    if (whole && (size_t)at % bytes) tell("an address that is no multiple of the %zu bytes there (at %#zx)", bytes, place);
    if (at >= __start_shared_memory && at + bytes <= __stop_shared_memory) return in_shared(at, bytes, write, place);
    if (!write && at >= __ehdr_start && at < _end) return;  // constants, and threadIdx
    for (int i = 0; i < run->regions; ++i) {
        const Region& region = run->region[i];
        if (at + bytes > region.begin && at < region.begin + region.bytes)
            return in_region(i, (size_t)(at - region.begin), bytes, write, place);
    }
    tell("%s %zu bytes outside every tensor (at %#zx)", write ? "writes" : "reads", bytes, place);
    stop();
}

struct SourceLocation {
    const char* file;
    unsigned line, column;
};

}  // namespace host

#define WATCHED(name, bytes, write) \
    void name(void* at) { host::access(at, bytes, write, __builtin_return_address(0)); }
#define UNALIGNED(name, bytes, write) \
    void name(void* at) { host::access(at, bytes, write, __builtin_return_address(0), false); }
#define WRONG(name, what) \
    void name(host::SourceLocation* at) { host::tell(what " (%s:%u)", host::base(at->file), at->line); }

extern "C" {
WATCHED(__tsan_read1, 1, false)
WATCHED(__tsan_read2, 2, false)
WATCHED(__tsan_read4, 4, false)
WATCHED(__tsan_read8, 8, false)
WATCHED(__tsan_read16, 16, false)
WATCHED(__tsan_write1, 1, true)
WATCHED(__tsan_write2, 2, true)
WATCHED(__tsan_write4, 4, true)
WATCHED(__tsan_write8, 8, true)
WATCHED(__tsan_write16, 16, true)
UNALIGNED(__tsan_unaligned_read2, 2, false)
UNALIGNED(__tsan_unaligned_read4, 4, false)
UNALIGNED(__tsan_unaligned_read8, 8, false)
UNALIGNED(__tsan_unaligned_read16, 16, false)
UNALIGNED(__tsan_unaligned_write2, 2, true)
UNALIGNED(__tsan_unaligned_write4, 4, true)
UNALIGNED(__tsan_unaligned_write8, 8, true)
UNALIGNED(__tsan_unaligned_write16, 16, true)
void __tsan_read_range(void* at, size_t bytes) { host::access(at, bytes, false, __builtin_return_address(0), false); }
void __tsan_write_range(void* at, size_t bytes) { host::access(at, bytes, true, __builtin_return_address(0), false); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __ubsan_handle_type_mismatch_v1(host::SourceLocation* at, void* address) {
    host::tell("an address, %#zx, that is no multiple of what is read or written there (%s:%u)",
               (size_t)address & 0xFFF, host::base(at->file), at->line);
}
void __ubsan_handle_out_of_bounds(host::SourceLocation* at) {
    host::tell("an index outside its array (%s:%u)", host::base(at->file), at->line);
    host::stop();
}
WRONG(__ubsan_handle_add_overflow, "a sum beyond the range of int")
WRONG(__ubsan_handle_sub_overflow, "a difference beyond the range of int")
WRONG(__ubsan_handle_mul_overflow, "a product beyond the range of int")
WRONG(__ubsan_handle_negate_overflow, "a number beyond the range of int")
WRONG(__ubsan_handle_shift_out_of_bounds, "a shift by more than there is")
WRONG(__ubsan_handle_divrem_overflow, "a division by zero")
WRONG(__ubsan_handle_float_cast_overflow, "a float beyond the range of int")
}
