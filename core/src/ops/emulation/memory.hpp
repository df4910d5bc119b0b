// Memory for kernels: poisoned, and followed by an unmapped page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

namespace emul {

constexpr size_t page = 4096;

// ---- memory that ends at an unmapped page --------------------------------------------
// Data starts at a multiple of 16 bytes, so up to 15 bytes lie between its end and the
// unmapped page. They and the bytes before the data hold `canary`, checked after each launch.
struct Guarded {
    char* mapping = nullptr;
    size_t mapped = 0, bytes = 0;
    char* data = nullptr;
    std::thread::id owner;
};

void poison(void* memory, size_t bytes);  // 0xff: NaN as float, bf16 and half, -1 as integer
Guarded guarded_allocate(size_t bytes, const char* name);
void guarded_free(const Guarded& region);
// The region whose data start at `memory`; its `data` is null if there is none.
Guarded guarded_find(const void* memory);
// Names a region of the calling thread whose surroundings were written to, "" if none was.
std::string overwritten_surroundings();
// Says where an address lies that a kernel must not touch.
std::string describe_address(uintptr_t address);

}  // namespace emul
