// cp.async, ldmatrix and mma, as a kernel calls them. Included by emulation.hpp.
#pragma once

// Copies 16 bytes to shared memory, or zero-fills when !valid. The copy happens as late as
// the rules allow, in cp_async_wait; until then the destination holds NaN patterns, so a
// missing wait, a missing barrier or a buffer overwritten too early shows up in the results.
inline void cp_async_16(void* destination, const void* source, bool valid = true) {
    if ((reinterpret_cast<uintptr_t>(destination) | (valid ? reinterpret_cast<uintptr_t>(source) : 0)) & 15)
        emul::fail("cp.async: address not aligned to 16 bytes");
    *static_cast<uint4*>(destination) = {~0u, ~0u, ~0u, ~0u};
    emul::self->pending_copies.push_back({destination, source, 16, valid ? 16 : 0, emul::self->committed_groups});
}
inline void cp_async_commit() { emul::self->committed_groups++; }
template <int keep>  // waits for all but the newest `keep` committed groups
inline void cp_async_wait() {
    std::vector<emul::PendingCopy>& pending = emul::self->pending_copies;
    size_t done = 0;
    for (; done < pending.size() && pending[done].group < emul::self->committed_groups - keep; done++) {
        const emul::PendingCopy& copy = pending[done];
        uint4 value = {0, 0, 0, 0};
        if (copy.source_bytes) value = *static_cast<const uint4*>(copy.source);
        *static_cast<uint4*>(copy.destination) = value;
    }
    pending.erase(pending.begin(), pending.begin() + done);
}

// Loads `matrices` 8x8 tiles of 16-bit values; lane 8m+r supplies the address of row r of
// tile m. Each lane reads its own row before the rendezvous: like the hardware's rules, this
// promises nothing about other lanes' earlier stores unless a __syncwarp lies between.
namespace emul {
template <int matrices>
inline void ldmatrix(uint32_t (&result)[matrices], const void* row, Op op, Site site) {
    LdmatrixOperand operand = {};
    operand.matrices = matrices;
    operand.address = reinterpret_cast<uintptr_t>(row);
    if (self->lane < 8 * matrices) {
        if (operand.address & 15) fail("ldmatrix: row address not aligned to 16 bytes (%s:%d)", site.file, site.line);
        uint4 value = *static_cast<const uint4*>(row);
        std::memcpy(operand.row, &value, 16);
    }
    warp_rendezvous(op, 0xffffffffu, &operand, site);
    for (int m = 0; m < matrices; m++) result[m] = operand.result[m];
}
}  // namespace emul
template <int matrices>
inline void ldmatrix(uint32_t (&result)[matrices], const void* row, EMUL_HERE) {
    emul::ldmatrix(result, row, emul::Op::ldmatrix, site);
}
template <int matrices>
inline void ldmatrix_trans(uint32_t (&result)[matrices], const void* row, EMUL_HERE) {
    emul::ldmatrix(result, row, emul::Op::ldmatrix_trans, site);
}

// d += a * b for one m16n8k16 tile; fragments as in the PTX manual.
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t b0, const uint32_t b1, EMUL_HERE) {
    uint32_t b[2] = {b0, b1};
    emul::MmaOperand operand = {a, b, d};
    emul::warp_rendezvous(emul::Op::mma_bf16, 0xffffffffu, &operand, site);
}
inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t b0, const uint32_t b1, EMUL_HERE) {
    uint32_t b[2] = {b0, b1};
    emul::MmaOperand operand = {a, b, d};
    emul::warp_rendezvous(emul::Op::mma_f16, 0xffffffffu, &operand, site);
}
// d += a * b for one m16n8k8 tile of f32 values, of which the tensor cores see 19 bits.
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t b0, const uint32_t b1, EMUL_HERE) {
    uint32_t b[2] = {b0, b1};
    emul::MmaOperand operand = {a, b, d};
    emul::warp_rendezvous(emul::Op::mma_tf32, 0xffffffffu, &operand, site);
}
