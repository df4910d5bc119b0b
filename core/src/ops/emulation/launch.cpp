// A launch: blocks in the order of the schedule, on one or several host threads.
#include "block.hpp"
#include "faults.hpp"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>

namespace emul {

namespace {
thread_local Settings settings;
thread_local std::string last_error;
thread_local EmulStatistics statistics;
const Kernel* kernels = nullptr;  // all that are linked in

// Runners keep stacks and shared arrays between launches.
std::mutex pool_mutex;
auto& pool = *new std::vector<std::unique_ptr<BlockRunner>>;  // never destroyed: fibers may be left in mid-block
std::unique_ptr<BlockRunner> take_runner() {
    std::lock_guard<std::mutex> lock(pool_mutex);
    if (pool.empty()) return std::make_unique<BlockRunner>();
    auto taken = std::move(pool.back());
    pool.pop_back();
    return taken;
}

}  // namespace

Kernel::Kernel(const char* name_, size_t bytes, unsigned threads, void (*body_)(const void*))
    : name(name_), argument_bytes(bytes), most_threads(threads), body(body_), next(kernels) {
    kernels = this;
}

int launch_by_name(const char* name, dim3 grid, dim3 block, size_t dynamic_bytes, void** arguments, size_t bytes) {
    const Kernel* kernel = kernels;
    while (kernel && std::strcmp(kernel->name, name)) kernel = kernel->next;
    if (!kernel) {
        last_error = "no kernel has this name";
        return 500;  // CUDA_ERROR_NOT_FOUND
    }
    if (kernel->argument_bytes != bytes) {
        last_error = "the kernel takes " + std::to_string(kernel->argument_bytes) + " bytes of arguments, not " + std::to_string(bytes);
        return 1;  // CUDA_ERROR_INVALID_VALUE
    }
    if (block.x * block.y * block.z > kernel->most_threads) {
        last_error = "more threads than the kernel's launch bounds";
        return 701;  // CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
    }
    return launch(grid, block, dynamic_bytes, kernel->body, arguments[0]);
}

void warp_rendezvous(Op op, unsigned mask, void* operand, Site site) { runner->rendezvous(op, mask, operand, site); }
void block_barrier(Site site) { runner->barrier(site); }
void* shared_array(const void* key, size_t bytes, size_t) { return runner->shared_array(key, bytes); }
void* dynamic_shared() { return runner->dynamic_shared(); }

void fail(const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    runner->stop(text);
}

int launch(dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(const void*), const void* closure) {
    last_error.clear();
    uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z, threads = uint64_t(block.x) * block.y * block.z;
    if (!blocks || !threads || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64 || grid.x > 0x7fffffffu ||
        grid.y > 65535 || grid.z > 65535 || dynamic_bytes > shared_limit) {
        last_error = "invalid launch configuration";
        return 9;  // cudaErrorInvalidConfiguration
    }
    const Settings how = settings;
    std::atomic<uint64_t> next{0};
    std::mutex result_mutex;
    std::string error;
    EmulStatistics total = {};
    uint64_t stride = 1;  // a stride coprime to the number of blocks visits them all, out of order
    if (how.order == EMUL_ORDER_RANDOM && blocks > 2) {
        auto coprime = [&](uint64_t s) { uint64_t a = blocks; while (s) { uint64_t t = a % s; a = s; s = t; } return a == 1; };
        stride = (how.seed * 2654435761u) % blocks;
        while (stride < 1 || !coprime(stride)) stride = (stride + 1) % blocks;
    }
    __tsan_release(&next);
    auto work = [&](std::vector<std::unique_ptr<BlockRunner>>& runners) {
        FaultScope scope;
        for (auto& mine : runners) mine->launch_object = &next;
        for (uint64_t turn; (turn = next.fetch_add(1)) < blocks;) {
            uint64_t i = how.order == EMUL_ORDER_DESCENDING ? blocks - 1 - turn : (turn * stride + how.seed * (stride > 1)) % blocks;
            dim3 index(i % grid.x, i / grid.x % grid.y, unsigned(i / (uint64_t(grid.x) * grid.y)));
            BlockRunner& mine = *runners[turn % runners.size()];
            if (!mine.run(grid, block, index, dynamic_bytes, how, how.seed * 1000003 + i + 1, body, closure)) {
                __tsan_acquire(&mine.end_object[0]);  // the message was made in a fiber
                __tsan_acquire(&mine.end_object[1]);
                std::lock_guard<std::mutex> lock(result_mutex);
                if (error.empty()) error = mine.error;
                next = blocks;
            }
        }
        std::lock_guard<std::mutex> lock(result_mutex);
        for (auto& mine : runners) {
            const EmulStatistics& c = mine->counts;
            total.switches += c.switches; total.collectives += c.collectives; total.barriers += c.barriers;
            total.mmas += c.mmas; total.ldmatrix_tiles += c.ldmatrix_tiles; total.ldmatrix_passes += c.ldmatrix_passes;
            if (total.shared_bytes < c.shared_bytes) total.shared_bytes = c.shared_bytes;
            mine->counts = {};
            __tsan_acquire(&mine->end_object[0]);
            __tsan_acquire(&mine->end_object[1]);
        }
        std::lock_guard<std::mutex> pool_lock(pool_mutex);
        for (auto& mine : runners) pool.push_back(std::move(mine));
    };
    auto runner_set = [](int count) {
        std::vector<std::unique_ptr<BlockRunner>> set;
        for (int i = 0; i < count; i++) set.push_back(take_runner());
        return set;
    };
#if defined(EMUL_TSAN)
    // Blocks in different runners have no order between them, so races between blocks show.
    auto set = runner_set(4);
    work(set);
#else
    std::vector<std::thread> helpers;
    for (int i = 1; i < how.host_threads && uint64_t(i) < blocks; i++)
        helpers.emplace_back([&] { auto set = runner_set(1); work(set); });
    { auto set = runner_set(1); work(set); }
    for (std::thread& helper : helpers) helper.join();
#endif
    if (error.empty()) error = overwritten_surroundings();
    total.blocks = blocks;
    statistics = total;
    last_error = error;
    return error.empty() ? 0 : 719;  // cudaErrorLaunchFailure
}

}  // namespace emul

// ---- C interface ---------------------------------------------------------------------------------
extern "C" {
void emul_configure(int order, uint64_t seed, int host_threads) {
    emul::settings.order = order;
    emul::settings.seed = seed;
    emul::settings.host_threads = host_threads < 1 ? 1 : host_threads;
}
const char* emul_last_error(void) { return emul::last_error.c_str(); }
int emul_launch(const char* name, const unsigned grid[3], const unsigned block[3], size_t dynamic_bytes, void** arguments,
                size_t argument_bytes) {
    return emul::launch_by_name(name, dim3(grid[0], grid[1], grid[2]), dim3(block[0], block[1], block[2]), dynamic_bytes,
                                arguments, argument_bytes);
}
void emul_last_statistics(EmulStatistics* out) { *out = emul::statistics; }
void* emul_allocate(size_t bytes, const char* name) { return emul::guarded_allocate(bytes, name).data; }
void emul_free(void* memory) {
    emul::Guarded found = emul::guarded_find(memory);
    if (found.data) emul::guarded_free(found);
}
}
