// Host emulation of the CUDA device language, included by platform.cuh when the compiler is not
// nvcc. One fiber stands for one CUDA thread; warp collectives and block barriers are rendezvous
// points between fibers (block.hpp).
//
// Everything that touches memory on behalf of a kernel is inline in these headers, so that a
// sanitizer build (-fsanitize=address / thread) of the kernel files sees it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emul {

// One cp.async that has been issued but not yet waited for.
struct PendingCopy {
    void* destination;
    const void* source;
    int bytes, source_bytes;  // the rest of the destination is zero-filled
    int group;                // number of commits before this copy
};

// The part of a fiber that kernel-side inline code needs.
struct ThreadState {
    uint3 thread_index, block_index;
    dim3 block_size, grid_size;
    unsigned lane = 0;
    std::vector<PendingCopy> pending_copies;
    int committed_groups = 0;
};
extern __thread ThreadState* self;  // the fiber now running on this host thread

// What a rendezvous does once its last lane has arrived (operand types below).
enum class Op : uint8_t { sync_warp, shuffle, ballot, reduce, mma_bf16, mma_f16, mma_tf32, ldmatrix, ldmatrix_trans };

// Source location of the call, for messages and to see lanes that meet at different calls.
struct Site { const char* file; int line; };
#define EMUL_HERE emul::Site site = {__builtin_FILE(), __builtin_LINE()}

struct ShuffleOperand { uint64_t value; unsigned source_lane; uint64_t result; };
struct BallotOperand { bool predicate; unsigned result; };
struct ReduceOperand { enum Kind { add, min, max, bit_and, bit_or } kind; int64_t value, result; };
struct MmaOperand { const uint32_t* a; const uint32_t* b; float* d; };  // d also holds the addend
struct LdmatrixOperand { uint32_t row[4]; uint32_t result[4]; uintptr_t address; int matrices; };

// Suspends the calling fiber until all lanes of `mask` have arrived. `operand` may live on
// the fiber's stack: the last lane to arrive computes the results of all lanes.
void warp_rendezvous(Op op, unsigned mask, void* operand, Site site);
void block_barrier(Site site);
void* shared_array(const void* key, size_t bytes, size_t alignment);  // same key, same array
void* dynamic_shared();
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

int launch(dim3 grid, dim3 block, size_t dynamic_shared_bytes, void (*body)(const void*), const void* closure);
template <class Body>
int launch(dim3 grid, dim3 block, size_t dynamic_shared_bytes, const Body& body) {
    return launch(grid, block, dynamic_shared_bytes,
                  [](const void* closure) { (*static_cast<const Body*>(closure))(); }, &body);
}

template <class To, class From>
inline To bit_cast(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast needs equal sizes");
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}

}  // namespace emul

#define threadIdx (emul::self->thread_index)
#define blockIdx (emul::self->block_index)
#define blockDim (emul::self->block_size)
#define gridDim (emul::self->grid_size)
constexpr int warpSize = 32;

#include "collectives.hpp"
#include "numbers.hpp"
#include "kernel_table.hpp"
#include "tensor_cores.hpp"
