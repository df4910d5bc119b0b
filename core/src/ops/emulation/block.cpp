// The scheduler of a block, its barriers and the rendezvous of warps.
#include "block.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>

namespace emul {

__thread ThreadState* self = nullptr;
thread_local BlockRunner* runner = nullptr;

const char* const op_names[] = {"__syncwarp", "shuffle", "ballot/vote", "reduce", "mma", "mma", "mma", "ldmatrix", "ldmatrix.trans"};

namespace {
void fiber_entry() { runner->fiber_main(); }
}  // namespace

std::string at(Site site) {
    const char* name = std::strrchr(site.file, '/');
    return std::string(name ? name + 1 : site.file) + ":" + std::to_string(site.line);
}

std::string BlockRunner::describe(const Fiber& f) {
    char text[160];
    std::snprintf(text, sizeof text, "block (%u,%u,%u) thread (%u,%u,%u)", f.block_index.x, f.block_index.y,
                  f.block_index.z, f.thread_index.x, f.thread_index.y, f.thread_index.z);
    return text;
}

void BlockRunner::stop(const std::string& message) {
    if (error.empty()) error = message;
    if (!current) { std::fprintf(stderr, "emulation: %s\n", message.c_str()); std::abort(); }
    Fiber* from = current;
    current = nullptr;
    __tsan_release(&end_object[block_count & 1]);
    switch_context(from->context, main_context);
    std::abort();  // never resumed
}

void BlockRunner::fiber_main() {
#if defined(EMUL_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    // Ordered after the start of the launch and the previous block in this runner, whose
    // memory it takes over; not ordered with blocks in other runners.
    __tsan_acquire(launch_object);
    __tsan_acquire(&end_object[(block_count & 1) ^ 1]);
    body(closure);
    __tsan_release(&end_object[block_count & 1]);
    Fiber& fiber = *current;
    unsigned w = fiber.index / 32;
    Warp& warp = warps[w];
    fiber.state = State::exited;
    warp.exited |= 1u << fiber.lane;
    finished++;
    if (arrived)
        stop(describe(fiber) + " returned while other threads wait at __syncthreads (" + at(barrier_site) + ")");
    for (int g = 0; g < warp.group_count; g++) {  // an exited lane is no longer waited for
        Group group = warp.groups[g];
        if (group.arrived == (group.mask & ~warp.exited)) {
            remove_group(warp, g--);
            complete(w, group);
            warp.runnable |= group.arrived;
        }
    }
    block_current();
    std::abort();  // never resumed
}

unsigned BlockRunner::pick_bit(uint32_t bits) {
    if (order == EMUL_ORDER_ASCENDING) return __builtin_ctz(bits);
    if (order == EMUL_ORDER_DESCENDING) return 31 - __builtin_clz(bits);
    unsigned turn = random() & 31;
    uint32_t turned = (bits >> turn) | (bits << ((32 - turn) & 31));
    return (__builtin_ctz(turned) + turn) & 31;
}

Fiber* BlockRunner::choose() {
    if (!warps[current_warp].runnable || (order == EMUL_ORDER_RANDOM && (random() & 255) == 0)) {
        uint32_t candidates = 0;
        for (unsigned w = 0; w < warps.size(); w++)
            if (warps[w].runnable) candidates |= 1u << w;
        if (!candidates) return nullptr;
        current_warp = pick_bit(candidates);
    }
    Warp& warp = warps[current_warp];
    unsigned lane = pick_bit(warp.runnable);
    warp.runnable &= ~(1u << lane);
    return fibers[current_warp * 32 + lane].get();
}

void BlockRunner::block_current() {
    Fiber* from = current;
    Fiber* to = choose();
    if (to == from) return;
    if (!to) {
        if (finished < threads) deadlock();
        current = nullptr;
        switch_context(from->context, main_context);
        return;
    }
    counts.switches++;
    current = to;
    self = to;
    switch_context(from->context, to->context);
}

void BlockRunner::deadlock() {
    std::string message = "deadlock: no thread can go on;";
    int listed = 0;
    for (unsigned i = 0; i < threads; i++) {
        const Fiber& fiber = *fibers[i];
        if (fiber.state == State::exited) continue;
        if (i && listed && fibers[i - 1]->site.line == fiber.site.line && fibers[i - 1]->state == fiber.state) continue;
        if (listed++ == 6) { message += " ..."; break; }
        message += " " + describe(fiber) + " waits in " +
                   (fiber.state == State::at_barrier ? "__syncthreads" : op_names[int(fiber.op)]) + " (" + at(fiber.site) + ");";
    }
    stop(message);
}

void BlockRunner::barrier(Site site) {
    Fiber& fiber = *current;
    fiber.site = site;
    if (finished) stop(describe(fiber) + " waits at __syncthreads (" + at(site) + ") but other threads have returned");
    if (!arrived) {
        barrier_site = site;
    } else if (barrier_site.line != site.line || std::strcmp(barrier_site.file, site.file)) {
        stop("divergent barrier: " + describe(fiber) + " is at __syncthreads (" + at(site) + "), others at (" +
             at(barrier_site) + ")");
    }
    char* object = &barrier_object[barrier_count & 1];
    __tsan_release(object);
    if (++arrived < threads) {
        fiber.state = State::at_barrier;
        block_current();
    } else {
        arrived = 0;
        barrier_count++;
        counts.barriers++;
        for (unsigned i = 0; i < threads; i++) fibers[i]->state = State::ready;
        for (Warp& warp : warps) warp.runnable = warp.present;
        warps[fiber.index / 32].runnable &= ~(1u << fiber.lane);
    }
    __tsan_acquire(object);
}

void BlockRunner::rendezvous(Op op, unsigned mask, void* operand, Site site) {
    Fiber& fiber = *current;
    unsigned w = fiber.index / 32;
    Warp& warp = warps[w];
    uint32_t bit = 1u << fiber.lane;
    mask &= warp.present;
    if (!(mask & bit))
        stop(describe(fiber) + ": " + op_names[int(op)] + " (" + at(site) + ") with a mask that does not name the caller");
    fiber.op = op;
    fiber.site = site;
    fiber.operand = operand;
    int g = 0;
    while (g < warp.group_count && warp.groups[g].mask != mask) g++;
    if (g == warp.group_count) warp.groups[warp.group_count++] = {mask, 0, op, site};
    Group& group = warp.groups[g];
    if (group.op != op || group.site.line != site.line)
        stop("diverged warp: " + describe(fiber) + " is in " + op_names[int(op)] + " (" + at(site) + "), other lanes in " +
             op_names[int(group.op)] + " (" + at(group.site) + ")");
    if (op == Op::sync_warp) __tsan_release(&warp.sync_object[0]);
    group.arrived |= bit;
    if (group.arrived == (mask & ~warp.exited)) {
        Group done = group;
        remove_group(warp, g);
        complete(w, done);
        warp.runnable |= done.arrived & ~bit;
    } else {
        fiber.state = State::in_collective;
        block_current();
        fiber.state = State::ready;
    }
    if (op == Op::sync_warp) __tsan_acquire(&warp.sync_object[0]);
}

void* BlockRunner::shared_array(const void* key, size_t bytes) {
    for (SharedArray& array : arrays) {
        if (array.key != key) continue;
        __tsan_acquire(array.region.data);  // after its allocation
        if (!array.used) {
            array.used = true;
            static_bytes += bytes;
            poison(array.region.data, array.region.bytes);
        }
        return array.region.data;
    }
    arrays.push_back({key, guarded_allocate(bytes, "a shared array"), true});
    static_bytes += bytes;
    __tsan_release(arrays.back().region.data);
    return arrays.back().region.data;
}

bool BlockRunner::run(dim3 grid, dim3 block, dim3 index, size_t dynamic, const Settings& how, uint64_t block_seed,
                      void (*body_)(const void*), const void* closure_) {
    threads = block.x * block.y * block.z;
    body = body_;
    closure = closure_;
    order = how.order;
    rng = block_seed * 0x9e3779b97f4a7c15ull | 1;
    for (int i = 0; i < 8; i++) random();
    finished = arrived = barrier_count = 0;
#if defined(EMUL_ASAN)
    if (!error.empty())  // the last block's frames were abandoned with their red zones
        for (auto& fiber : fibers) __asan_unpoison_memory_region(fiber->context.stack, fiber->context.size);
#endif
    error.clear();
    while (fibers.size() < threads) {
        fibers.push_back(std::make_unique<Fiber>());
        allocate_stack(fibers.back()->context, fibers.size());
    }
    if (dynamic != dynamic_bytes || !dynamic_region.data) {
        if (dynamic_region.data) guarded_free(dynamic_region);
        dynamic_region = guarded_allocate(dynamic, "dynamic shared memory");
        dynamic_bytes = dynamic;
    }
    poison(dynamic_region.data, dynamic);
    static_bytes = 0;
    for (SharedArray& array : arrays) array.used = false;
    warps.assign((threads + 31) / 32, Warp());
    for (unsigned i = 0; i < threads; i++) {
        Fiber& fiber = *fibers[i];
        fiber.index = i;
        fiber.lane = i % 32;
        fiber.thread_index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
        fiber.block_index = {index.x, index.y, index.z};
        fiber.block_size = block;
        fiber.grid_size = grid;
        fiber.state = State::ready;
        fiber.pending_copies.clear();
        fiber.committed_groups = 0;
        prepare_context(fiber.context, fiber_entry);
        warps[i / 32].present |= 1u << (i % 32);
    }
    for (Warp& warp : warps) warp.runnable = warp.present;
    runner = this;
    block_count++;
#if defined(EMUL_ASAN)
    pthread_attr_t attributes;
    void* lowest = nullptr;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &lowest, &main_context.size);
    pthread_attr_destroy(&attributes);
    main_context.stack = static_cast<char*>(lowest);
#endif
#if defined(EMUL_TSAN)
    main_context.tsan_fiber = __tsan_get_current_fiber();
#endif
    current_warp = 0;
    if (order == EMUL_ORDER_DESCENDING) current_warp = unsigned(warps.size()) - 1;
    if (order == EMUL_ORDER_RANDOM) current_warp = unsigned(random() % warps.size());
    __tsan_release(launch_object);  // what was allocated above
    if (sigsetjmp(fault_jump, 1) == 0) {
        current = choose();
        self = current;
        switch_context(main_context, current->context);
    } else {
#if defined(EMUL_TSAN)
        __tsan_switch_to_fiber(main_context.tsan_fiber, 1);
#endif
    }
    current = nullptr;
    self = nullptr;
    runner = nullptr;
    if (error.empty() && static_bytes + dynamic > shared_limit)
        error = "block uses " + std::to_string(static_bytes + dynamic) + " bytes of shared memory";
    if (counts.shared_bytes < static_bytes + dynamic) counts.shared_bytes = static_bytes + dynamic;
    return error.empty();
}

}  // namespace emul
