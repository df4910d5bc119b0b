// What a warp collective computes: run once, by the lane that arrives last.
#include "block.hpp"

#include <cstring>

namespace emul {

namespace {
float decode_bf16(uint32_t bits) { return bit_cast<float>(bits << 16); }
float decode_f16(uint32_t bits) { return __half2float({uint16_t(bits)}); }

// Fragment layout of mma.m16n8k16 (PTX manual): with g = lane / 4 and t = lane % 4,
//   a0: (g, 2t..)  a1: (g + 8, 2t..)  a2: (g, 2t + 8..)  a3: (g + 8, 2t + 8..)
//   b0: (2t.., g)  b1: (2t + 8.., g)
//   d0 d1: (g, 2t..)  d2 d3: (g + 8, 2t..)
// The hardware sums in its own order and precision; here float, in order of k.
typedef float Row8 __attribute__((vector_size(32)));
struct MmaTile { float a[16][16]; Row8 b[16], d[16]; };

template <int depth>
inline __attribute__((always_inline)) void multiply_body(MmaTile& tile) {
    for (int row = 0; row < 16; row += 4) {
        Row8 sum[4] = {tile.d[row], tile.d[row + 1], tile.d[row + 2], tile.d[row + 3]};
        for (int k = 0; k < depth; k++)
            for (int i = 0; i < 4; i++) sum[i] += tile.a[row + i][k] * tile.b[k];
        for (int i = 0; i < 4; i++) tile.d[row + i] = sum[i];
    }
}

// Compiled twice where the compiler chooses between them when the program starts.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("arch=haswell", "default")))
#else
#define WIDE
#endif
WIDE void multiply_16(MmaTile& tile) { multiply_body<16>(tile); }
WIDE void multiply_8(MmaTile& tile) { multiply_body<8>(tile); }

template <float (*decode)(uint32_t)>
void multiply_fragments(MmaOperand* const (&lanes)[32]) {
    MmaTile tile;
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        uint32_t a[4], b[2];
        std::memcpy(a, lanes[lane]->a, sizeof a);
        std::memcpy(b, lanes[lane]->b, sizeof b);
        const float* d = lanes[lane]->d;
        std::memcpy(reinterpret_cast<float*>(&tile.d[g]) + 2 * t, d, 8);
        std::memcpy(reinterpret_cast<float*>(&tile.d[g + 8]) + 2 * t, d + 2, 8);
        for (int r = 0; r < 4; r++) {
            float* to = &tile.a[g + (r & 1) * 8][2 * t + (r >> 1) * 8];
            to[0] = decode(a[r] & 0xffffu);
            to[1] = decode(a[r] >> 16);
        }
        for (int r = 0; r < 2; r++) {
            tile.b[2 * t + 8 * r][g] = decode(b[r] & 0xffffu);
            tile.b[2 * t + 8 * r + 1][g] = decode(b[r] >> 16);
        }
    }
    multiply_16(tile);
    for (int lane = 0; lane < 32; lane++) {
        float* d = lanes[lane]->d;
        std::memcpy(d, reinterpret_cast<float*>(&tile.d[lane / 4]) + lane % 4 * 2, 8);
        std::memcpy(d + 2, reinterpret_cast<float*>(&tile.d[lane / 4 + 8]) + lane % 4 * 2, 8);
    }
}

// Fragment layout of mma.m16n8k8 for tf32, with g and t as above:
//   a0: (g, t)  a1: (g + 8, t)  a2: (g, t + 4)  a3: (g + 8, t + 4);  b0: (t, g)  b1: (t + 4, g)
// The low 13 bits of an operand are not looked at.
void multiply_tf32(MmaOperand* const (&lanes)[32]) {
    MmaTile tile = {};
    auto decode = [](const uint32_t* bits) {
        uint32_t copy;
        std::memcpy(&copy, bits, 4);
        return bit_cast<float>(copy & ~0x1fffu);
    };
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int r = 0; r < 4; r++) tile.a[g + (r & 1) * 8][t + (r >> 1) * 4] = decode(lanes[lane]->a + r);
        for (int r = 0; r < 2; r++) tile.b[t + 4 * r][g] = decode(lanes[lane]->b + r);
        for (int r = 0; r < 4; r++) tile.d[g + r / 2 * 8][2 * t + r % 2] = lanes[lane]->d[r];
    }
    multiply_8(tile);
    for (int lane = 0; lane < 32; lane++)
        for (int r = 0; r < 4; r++) lanes[lane]->d[r] = tile.d[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2];
}

void load_matrices(LdmatrixOperand* const (&lanes)[32], bool transposed, EmulStatistics& counts) {
    const int matrices = lanes[0]->matrices;
    uint32_t rows[32][4];
    for (int i = 0; i < 8 * matrices; i++) std::memcpy(rows[i], lanes[i]->row, 16);
    for (int m = 0; m < matrices; m++) {
        unsigned use = 0, worst = 0;  // rows in the same 16-byte bank group cost an extra pass each
        for (int r = 0; r < 8; r++) {
            unsigned shift = (lanes[8 * m + r]->address / 16 % 8) * 4;
            use += 1u << shift;
            unsigned n = use >> shift & 15;
            if (n > worst) worst = n;
        }
        counts.ldmatrix_passes += worst;
        counts.ldmatrix_tiles++;
    }
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4, shift = 16 * (g & 1);
        uint32_t result[4] = {};
        for (int m = 0; m < matrices; m++) {
            result[m] = transposed ? (rows[8 * m + 2 * t][g / 2] >> shift & 0xffffu) | (rows[8 * m + 2 * t + 1][g / 2] >> shift << 16)
                                   : rows[8 * m + g][t];
        }
        std::memcpy(lanes[lane]->result, result, sizeof result);
    }
}
}  // namespace

void BlockRunner::complete(unsigned w, const Group& group) {
    counts.collectives++;
    void* operands[32];
    for (unsigned lane = 0; lane < 32; lane++)
        operands[lane] = group.arrived >> lane & 1 ? fibers[w * 32 + lane]->operand : nullptr;
    auto each = [&](auto use) {
        for (uint32_t left = group.arrived; left; left &= left - 1) use(unsigned(__builtin_ctz(left)));
    };
    switch (group.op) {
        case Op::sync_warp:
            break;
        case Op::shuffle:
            each([&](unsigned lane) {
                auto* to = static_cast<ShuffleOperand*>(operands[lane]);
                if (to->source_lane > 31 || !operands[to->source_lane])
                    stop(describe(*fibers[w * 32 + lane]) + ": shuffle (" + at(group.site) + ") reads lane " +
                         std::to_string(to->source_lane) + ", which takes no part in it");
                to->result = static_cast<ShuffleOperand*>(operands[to->source_lane])->value;
            });
            break;
        case Op::ballot: {
            unsigned votes = 0;
            each([&](unsigned lane) { votes |= unsigned(static_cast<BallotOperand*>(operands[lane])->predicate) << lane; });
            each([&](unsigned lane) { static_cast<BallotOperand*>(operands[lane])->result = votes; });
            break;
        }
        case Op::reduce: {
            bool first = true;
            int64_t total = 0;
            each([&](unsigned lane) {
                auto* from = static_cast<ReduceOperand*>(operands[lane]);
                int64_t v = from->value;
                if (first) { total = v; first = false; return; }
                switch (from->kind) {
                    case ReduceOperand::add: total += v; break;
                    case ReduceOperand::min: total = v < total ? v : total; break;
                    case ReduceOperand::max: total = v > total ? v : total; break;
                    case ReduceOperand::bit_and: total &= v; break;
                    case ReduceOperand::bit_or: total |= v; break;
                }
            });
            each([&](unsigned lane) { static_cast<ReduceOperand*>(operands[lane])->result = total; });
            break;
        }
        case Op::mma_bf16: case Op::mma_f16: case Op::mma_tf32: case Op::ldmatrix: case Op::ldmatrix_trans: {
            if (group.arrived != 0xffffffffu)
                stop(std::string(op_names[int(group.op)]) + " (" + at(group.site) + ") without all 32 lanes of the warp");
            if (group.op <= Op::mma_tf32) {
                counts.mmas++;
                auto& lanes = reinterpret_cast<MmaOperand* const(&)[32]>(operands);
                if (group.op == Op::mma_bf16) multiply_fragments<decode_bf16>(lanes);
                if (group.op == Op::mma_f16) multiply_fragments<decode_f16>(lanes);
                if (group.op == Op::mma_tf32) multiply_tf32(lanes);
            } else {
                load_matrices(reinterpret_cast<LdmatrixOperand* const(&)[32]>(operands), group.op == Op::ldmatrix_trans, counts);
            }
            break;
        }
    }
}

}  // namespace emul
