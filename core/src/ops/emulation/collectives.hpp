// Barriers, warp collectives and atomics, as a kernel calls them. Included by emulation.hpp.
#pragma once

inline void __syncthreads(EMUL_HERE) { emul::block_barrier(site); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMUL_HERE) {
    emul::warp_rendezvous(emul::Op::sync_warp, mask, nullptr, site);
}

namespace emul {
template <class T>
inline T shuffle(unsigned mask, T value, unsigned source_lane, Site site) {
    static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
    ShuffleOperand operand = {0, source_lane, 0};
    std::memcpy(&operand.value, &value, sizeof(T));
    warp_rendezvous(Op::shuffle, mask, &operand, site);
    std::memcpy(&value, &operand.result, sizeof(T));
    return value;
}
inline unsigned ballot(unsigned mask, bool predicate, Site site) {
    BallotOperand operand = {predicate, 0};
    warp_rendezvous(Op::ballot, mask, &operand, site);
    return operand.result;
}
inline int64_t reduce(unsigned mask, ReduceOperand::Kind kind, int64_t value, Site site) {
    ReduceOperand operand = {kind, value, 0};
    warp_rendezvous(Op::reduce, mask, &operand, site);
    return operand.result;
}
}  // namespace emul

// A source outside the caller's segment of `width` lanes leaves the caller's own value.
template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMUL_HERE) {
    unsigned lane = emul::self->lane, segment = lane & ~(width - 1u);
    return emul::shuffle(mask, value, segment + (source & (width - 1u)), site);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMUL_HERE) {
    unsigned lane = emul::self->lane, segment = lane & ~(width - 1u);
    return emul::shuffle(mask, value, lane >= segment + delta ? lane - delta : lane, site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMUL_HERE) {
    unsigned lane = emul::self->lane, segment = lane & ~(width - 1u);
    return emul::shuffle(mask, value, lane + delta < segment + width ? lane + delta : lane, site);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EMUL_HERE) {
    unsigned lane = emul::self->lane, segment = lane & ~(width - 1u), source = lane ^ lane_mask;
    return emul::shuffle(mask, value, source < segment + width ? source : lane, site);
}
inline unsigned __ballot_sync(unsigned mask, int p, EMUL_HERE) { return emul::ballot(mask, p != 0, site); }
inline int __any_sync(unsigned mask, int p, EMUL_HERE) { return emul::ballot(mask, p != 0, site) != 0; }
inline int __all_sync(unsigned mask, int p, EMUL_HERE) { return emul::ballot(mask, p == 0, site) == 0; }
#define EMUL_REDUCE(name, kind)                                                                     \
    inline int name(unsigned mask, int v, EMUL_HERE) {                                              \
        return static_cast<int>(emul::reduce(mask, emul::ReduceOperand::kind, v, site));            \
    }                                                                                               \
    inline unsigned name(unsigned mask, unsigned v, EMUL_HERE) {                                    \
        return static_cast<unsigned>(emul::reduce(mask, emul::ReduceOperand::kind, v, site));       \
    }
EMUL_REDUCE(__reduce_add_sync, add)
EMUL_REDUCE(__reduce_min_sync, min)
EMUL_REDUCE(__reduce_max_sync, max)

// ---- atomics (blocks may run on several host threads) ------------------------------
namespace emul {
template <class T, class Update>
inline T atomic_update(T* address, Update update) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    static_assert(sizeof(T) == sizeof(Bits), "atomics work on 4 or 8 bytes");
    Bits* cell = reinterpret_cast<Bits*>(address);
    Bits seen = __atomic_load_n(cell, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(cell, &seen, bit_cast<Bits>(update(bit_cast<T>(seen))), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return bit_cast<T>(seen);
}
}  // namespace emul
template <class T> inline T atomicAdd(T* p, T v) { return emul::atomic_update(p, [=](T old) { return T(old + v); }); }
template <class T> inline T atomicMax(T* p, T v) { return emul::atomic_update(p, [=](T old) { return old < v ? v : old; }); }
template <class T> inline T atomicMin(T* p, T v) { return emul::atomic_update(p, [=](T old) { return v < old ? v : old; }); }
template <class T> inline T atomicExch(T* p, T v) { return emul::atomic_update(p, [=](T) { return v; }); }
template <class T> inline T atomicCAS(T* p, T expected, T v) {
    return emul::atomic_update(p, [=](T old) { return old == expected ? v : old; });
}
inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
