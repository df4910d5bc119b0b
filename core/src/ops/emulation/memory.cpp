#include "memory.hpp"

#include "sanitizers.hpp"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace emul {

namespace {
constexpr unsigned char canary = 0xfb;
std::mutex guarded_mutex;
std::map<uintptr_t, std::pair<Guarded, std::string>> guarded_regions;  // by address of the mapping
}  // namespace

void poison(void* memory, size_t bytes) {  // 0xff: NaN as float, bf16 and half, -1 as integer
#if defined(__x86_64__)                    // not memset: the sanitizers intercept that
    asm volatile("rep stosb" : "+D"(memory), "+c"(bytes) : "a"(0xff) : "memory");
#else
    for (size_t i = 0; i < bytes; i++) static_cast<volatile unsigned char*>(memory)[i] = 0xff;
#endif
}

Guarded guarded_allocate(size_t bytes, const char* name) {
    Guarded region;
    region.bytes = bytes;
#if defined(EMUL_ASAN) || defined(EMUL_TSAN)
    void* memory = nullptr;  // of the exact size, so that AddressSanitizer sees the first byte too many
    if (posix_memalign(&memory, 16, bytes ? bytes : 1)) std::abort();
    region.data = region.mapping = static_cast<char*>(memory);
#else
    size_t rounded = (bytes + 15) / 16 * 16, body = (rounded + page - 1) / page * page;
    region.mapped = body + 2 * page;
    region.mapping = static_cast<char*>(mmap(nullptr, region.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (region.mapping == MAP_FAILED || mprotect(region.mapping + page, body, PROT_READ | PROT_WRITE)) std::abort();
    region.data = region.mapping + page + body - rounded;
    std::memset(region.mapping + page, canary, body);
#endif
    region.owner = std::this_thread::get_id();
    poison(region.data, bytes);
    std::lock_guard<std::mutex> lock(guarded_mutex);
    guarded_regions[reinterpret_cast<uintptr_t>(region.mapping)] = {region, name};
    return region;
}

void guarded_free(const Guarded& region) {
    std::lock_guard<std::mutex> lock(guarded_mutex);
    guarded_regions.erase(reinterpret_cast<uintptr_t>(region.mapping));
#if defined(EMUL_ASAN) || defined(EMUL_TSAN)
    std::free(region.data);
#else
    munmap(region.mapping, region.mapped);
#endif
}

// Names a region of the calling thread whose surroundings were written to, "" if none was.
std::string overwritten_surroundings() {
#if !defined(EMUL_ASAN) && !defined(EMUL_TSAN)
    std::lock_guard<std::mutex> lock(guarded_mutex);
    for (const auto& entry : guarded_regions) {
        const Guarded& region = entry.second.first;
        if (region.owner != std::this_thread::get_id()) continue;
        const char* first = region.mapping + page;
        const char* last = region.mapping + region.mapped - page;
        for (const char* byte = first; byte < last; byte++) {
            if (byte == region.data) byte += region.bytes;
            if (byte < last && static_cast<unsigned char>(*byte) != canary)
                return entry.second.second + " (" + std::to_string(region.bytes) + " bytes) was written to at offset " +
                       std::to_string(byte - region.data);
        }
    }
#endif
    return "";
}

Guarded guarded_find(const void* memory) {
    std::lock_guard<std::mutex> lock(guarded_mutex);
    for (auto& entry : guarded_regions)
        if (entry.second.first.data == memory) return entry.second.first;
    return Guarded();
}

std::string describe_address(uintptr_t address) {
    // A faulting kernel never holds this lock.
    std::lock_guard<std::mutex> lock(guarded_mutex);
    auto after = guarded_regions.upper_bound(address);
    if (after == guarded_regions.begin()) return "an address outside every allocation";
    const auto& [region, name] = std::prev(after)->second;
    if (address >= reinterpret_cast<uintptr_t>(region.mapping) + region.mapped) return "an address outside every allocation";
    uintptr_t begin = reinterpret_cast<uintptr_t>(region.data), end = begin + region.bytes;
    std::string distance = address >= end ? std::to_string(address - end) + " bytes past the end of "
                                          : std::to_string(begin - address) + " bytes before the start of ";
    return distance + name + " (" + std::to_string(region.bytes) + " bytes)";
}

}  // namespace emul
