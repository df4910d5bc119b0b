// One block at a time: its threads are fibers on one host thread, so nothing in a block is
// preempted. A fiber runs until it blocks in a collective or barrier, and the next runnable fiber
// is chosen by the schedule (ascending, descending or random). Within a warp the lanes take turns;
// a warp keeps running until all its lanes wait at a block barrier, so it gets as far ahead of the
// other warps as the barriers allow, which makes missing barriers visible in the values.
#pragma once

#include "emulation_api.h"
#include "fibers.hpp"
#include "emulation.hpp"
#include "memory.hpp"

#include <csetjmp>
#include <memory>
#include <string>
#include <vector>

namespace emul {

constexpr size_t shared_limit = 227 * 1024;  // sm_90, opt-in

struct Settings {
    int order = EMUL_ORDER_ASCENDING;
    uint64_t seed = 1;
    int host_threads = 1;
};

enum class State : uint8_t { ready, in_collective, at_barrier, exited };
extern const char* const op_names[];

struct Fiber : ThreadState {
    Context context;
    unsigned index = 0;
    State state = State::ready;
    Op op = Op::sync_warp;
    Site site = {"", 0};
    void* operand = nullptr;
};

struct Group { uint32_t mask, arrived; Op op; Site site; };  // lanes that wait for each other

struct Warp {
    uint32_t runnable = 0, exited = 0, present = 0;
    Group groups[32];
    int group_count = 0;
    char sync_object[2];
};

struct SharedArray { const void* key; Guarded region; bool used; };

class BlockRunner {
public:
    // Returns false and leaves a message in `error` when the block broke a rule.
    bool run(dim3 grid, dim3 block, dim3 index, size_t dynamic_bytes, const Settings& how, uint64_t block_seed,
             void (*body)(const void*), const void* closure);
    void rendezvous(Op op, unsigned mask, void* operand, Site site);
    void barrier(Site site);
    void* shared_array(const void* key, size_t bytes);
    void* dynamic_shared() { return dynamic_region.data; }
    [[noreturn]] void stop(const std::string& message);
    [[noreturn]] void fiber_main();

    std::string error;
    sigjmp_buf fault_jump;
    EmulStatistics counts = {};
    Fiber* current = nullptr;
    void* launch_object = nullptr;  // these stand for happens-before edges in the thread sanitizer
    char end_object[2];

private:
    void block_current();          // gives the host thread to another fiber
    Fiber* choose();
    unsigned pick_bit(uint32_t bits);
    uint64_t random() { rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17; return rng; }
    void complete(unsigned warp_index, const Group& group);
    void remove_group(Warp& warp, int g) { warp.groups[g] = warp.groups[--warp.group_count]; }
    std::string describe(const Fiber& fiber);
    void deadlock();

    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Warp> warps;
    std::vector<SharedArray> arrays;
    Guarded dynamic_region;
    Context main_context;
    unsigned threads = 0, finished = 0, arrived = 0, current_warp = 0, barrier_count = 0;
    Site barrier_site = {"", 0};
    size_t static_bytes = 0, dynamic_bytes = 0;
    int order = 0;
    uint64_t rng = 1;
    void (*body)(const void*) = nullptr;
    const void* closure = nullptr;
    unsigned block_count = 0;
    char barrier_object[2];
};

extern thread_local BlockRunner* runner;  // whose block runs on this host thread

std::string at(Site site);

}  // namespace emul
