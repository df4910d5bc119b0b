// Tests of the emulation itself: each kernel checks one rule of the device language.
#include "platform.cuh"
#include "emulation/emulation_api.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

int failures = 0;
#define EXPECT(condition)                                                                        \
    do {                                                                                         \
        if (!(condition)) { std::printf("FAIL line %d: %s\n", __LINE__, #condition); failures++; } \
    } while (0)

template <class Body>
std::string run(int blocks, int threads, const Body& body) {
    emul::launch(dim3(blocks), dim3(threads), 4096, body);
    return emul_last_error();
}
bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

void shuffles() {
    EXPECT(run(2, 96, [] {
        int lane = threadIdx.x % 32;
        EXPECT(__shfl_sync(~0u, lane, 5) == 5);
        EXPECT(__shfl_sync(~0u, lane, 9, 8) == lane / 8 * 8 + 1);
        EXPECT(__shfl_up_sync(~0u, lane, 3) == (lane < 3 ? lane : lane - 3));
        EXPECT(__shfl_down_sync(~0u, lane, 3, 16) == (lane % 16 + 3 < 16 ? lane + 3 : lane));
        EXPECT(__shfl_xor_sync(~0u, double(lane), 7) == double(lane ^ 7));
        EXPECT(__ballot_sync(~0u, lane % 2) == 0xaaaaaaaau);
        EXPECT(__any_sync(~0u, lane == 31) && !__any_sync(~0u, 0) && __all_sync(~0u, 1) && !__all_sync(~0u, lane));
        EXPECT(__reduce_add_sync(~0u, lane - 16) == -16 && __reduce_max_sync(~0u, unsigned(lane)) == 31u);
        if (lane < 8) EXPECT(__shfl_xor_sync(0xffu, lane, 1) == (lane ^ 1));  // groups of a diverged warp
        else if (lane < 16) EXPECT(__ballot_sync(0xff00u, 1) == 0xff00u);
        __syncwarp();
    }) == "");
    EXPECT(has(run(1, 32, [] { if (threadIdx.x < 16) __syncwarp(); else (void)__ballot_sync(~0u, 1); }), "diverged warp"));
    EXPECT(has(run(1, 32, [] { if (threadIdx.x == 3) return; uint32_t r[1]; ldmatrix(r, emul::dynamic_shared()); }), "without all 32 lanes"));
    EXPECT(has(run(1, 32, [] { __syncwarp(threadIdx.x < 8 ? 0xf0u : ~0u); }), "does not name the caller") ||
           has(emul_last_error(), "deadlock"));
    EXPECT(has(run(1, 32, [] { __syncwarp(threadIdx.x < 16 ? 0x1ffffu : 0xffff0000u); __syncthreads(); }), "deadlock"));
    EXPECT(has(run(1, 64, [] { if (threadIdx.x < 32) __syncthreads(); else __shfl_sync(0x3u << (threadIdx.x % 32), 1, 0); }), "thread"));
}

void barriers_and_memory() {
    EXPECT(run(3, 160, [] {
        SHARED_ARRAY(float, values, [160]);
        EXPECT(std::isnan(values[threadIdx.x]));  // poisoned in every block
        __syncthreads();
        values[threadIdx.x] = float(threadIdx.x);
        __syncthreads();
        EXPECT(values[159 - threadIdx.x] == float(159 - threadIdx.x));
    }) == "");
    int* counter = static_cast<int*>(emul_allocate(4, "counter"));
    *counter = 0;
    emul_configure(EMUL_ORDER_RANDOM, 7, 2);
    EXPECT(run(50, 33, [=] { atomicAdd(counter, 1); }) == "" && *counter == 50 * 33);
    emul_configure(EMUL_ORDER_ASCENDING, 1, 1);
    emul_free(counter);
#if !defined(SANITIZED)
    char* few = static_cast<char*>(emul_allocate(10, "few"));
    EXPECT(has(run(1, 1, [=] { few[16] = 1; }), "6 bytes past the end of few"));
    EXPECT(has(run(1, 1, [=] { few[10] = 1; }), "few (10 bytes) was written to at offset 10"));
    emul_free(few);
    EXPECT(has(run(1, 1, [] { *static_cast<volatile int*>(nullptr) = 1; }), "outside every allocation"));
    EXPECT(has(run(1, 1, [] { static_cast<char*>(emul::dynamic_shared())[4096] = 1; }), "past the end of dynamic shared"));
#endif
    EXPECT(run(1, 32, [] {
        DYNAMIC_SHARED(shared);
        SHARED_ARRAY(uint4, source, [32]);
        uint4* target = reinterpret_cast<uint4*>(shared);
        unsigned i = threadIdx.x;
        source[i] = make_uint4(i, 0, 0, 0);
        cp_async_16(&target[i], &source[i]);
        cp_async_commit();
        cp_async_16(&target[32 + i], &source[i]);
        cp_async_commit();
        cp_async_16(&target[64 + i], nullptr, false);
        cp_async_wait<1>();
        EXPECT(target[i].x == i && target[32 + i].x == ~0u && target[64 + i].x == ~0u);
        cp_async_commit();
        cp_async_wait<0>();
        EXPECT(target[32 + i].x == i && target[64 + i].x == 0);
    }) == "");
}

void matrices() {
    EXPECT(run(1, 32, [] {
        DYNAMIC_SHARED(shared);
        uint16_t* half = reinterpret_cast<uint16_t*>(shared);
        unsigned lane = threadIdx.x;
        for (int i = lane; i < 512; i += 32) half[i] = uint16_t(i);  // 32 rows of 8
        __syncwarp();
        uint32_t four[4], two[2], one[1];
        ldmatrix(four, half + lane * 8);
        ldmatrix_trans(two, half + lane % 16 * 8);
        ldmatrix(one, half + lane % 8 * 8);
        // Matrix m, row g, columns 2t and 2t + 1; transposed: rows 2t and 2t + 1, column g.
        unsigned g = lane / 4, t = lane % 4;
        for (unsigned m = 0; m < 4; m++) {
            unsigned low = (8 * m + g) * 8 + 2 * t;
            EXPECT(m > 1 || four[m] == (low | (low + 1) << 16));
            if (m < 2) EXPECT(two[m] == (((8 * m + 2 * t) * 8 + g) | ((8 * m + 2 * t + 1) * 8 + g) << 16));
        }
        EXPECT(one[0] == four[0]);

        // Unit rows: a[i][k] = (k == i), b[k][n] = 8 k + n, so d[i][n] = 8 i + n.
        uint32_t a[4] = {}, a_half[4] = {};
        for (unsigned r = 0; r < 4; r++)
            for (unsigned e = 0; e < 2; e++)
                if (g + r % 2 * 8 == 2 * t + r / 2 * 8 + e) { a[r] |= 0x3f80u << 16 * e; a_half[r] |= 0x3c00u << 16 * e; }
        auto b = [&](unsigned k) { return float(8 * k + g); };
        auto halves = [](float x, float y) { return uint32_t(__float2half_rn(x).bits) | uint32_t(__float2half_rn(y).bits) << 16; };
        float d[4] = {1, 1, 1, 1}, d_half[4] = {};
        mma_m16n8k16_bf16(d, a, pack_bf16(b(2 * t), b(2 * t + 1)), pack_bf16(b(2 * t + 8), b(2 * t + 9)));
        mma_m16n8k16_f16(d_half, a_half, halves(b(2 * t), b(2 * t + 1)), halves(b(2 * t + 8), b(2 * t + 9)));
        for (unsigned r = 0; r < 4; r++) {
            float want = 8 * (g + r / 2 * 8) + 2 * t + r % 2;
            EXPECT(d[r] == 1 + want && d_half[r] == want);
        }

        // tf32: a[i][k] = (k == i % 8), b as before with 8 rows; low bits of an operand are not looked at.
        uint32_t a_single[4] = {};
        for (unsigned r = 0; r < 4; r++)
            if ((g + r % 2 * 8) % 8 == t + r / 2 * 4) a_single[r] = __float_as_uint(1.0f) | 0x1fffu;
        float d_single[4] = {};
        mma_m16n8k8_tf32(d_single, a_single, to_tf32(b(t)), to_tf32(b(t + 4)));
        for (unsigned r = 0; r < 4; r++) EXPECT(d_single[r] == float(8 * g + 2 * t + r % 2));
    }) == "");
}

void conversions() {
    EXPECT(to_tf32(1.0f + 1.0f / 2048) == __float_as_uint(1.0f + 1.0f / 1024));  // ties away from zero
    EXPECT(to_tf32(-1.0f - 1.0f / 4096) == __float_as_uint(-1.0f));
    EXPECT(std::isinf(__uint_as_float(to_tf32(INFINITY))) && std::isnan(__uint_as_float(to_tf32(NAN))));
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float wide = __bfloat162float({uint16_t(bits)});
        EXPECT(std::isnan(wide) || __float2bfloat16_rn(wide).bits == bits);
        _Float16 native;
        std::memcpy(&native, &bits, 2);
        float half = __half2float({uint16_t(bits)});
        EXPECT(std::isnan(half) ? std::isnan(float(native)) : half == float(native));
    }
    for (uint64_t step = 0; step < 0x100000000ull; step += 977) {  // against the compiler's rounding
        float v = emul::bit_cast<float>(uint32_t(step));
        _Float16 native = _Float16(v);
        uint16_t bits;
        std::memcpy(&bits, &native, 2);
        EXPECT(std::isnan(v) || __float2half_rn(v).bits == bits);
    }
    EXPECT(__float2bfloat16_rn(emul::bit_cast<float>(0x3f808000u)).bits == 0x3f80);  // ties to even
    EXPECT(__float2bfloat16_rn(emul::bit_cast<float>(0x3f818000u)).bits == 0x3f82);
    EXPECT(__float2bfloat16_rn(emul::bit_cast<float>(0x3f808001u)).bits == 0x3f81);
    EXPECT(__float2bfloat16_rn(emul::bit_cast<float>(0x7f7fffffu)).bits == 0x7f80);  // rounds to infinity
}

// Odd lanes read what their even neighbours wrote. Without the __syncwarp this is a race; the
// descending schedule shows it in the values, the thread sanitizer on every schedule.
std::string exchange(bool synchronise) {
    return run(1, 64, [=] {
        SHARED_ARRAY(float, values, [64]);
        values[threadIdx.x] = 1;
        if (synchronise) __syncwarp();
        if (!(values[threadIdx.x & ~1u] == 1)) emul::fail("saw a value not yet written");
    });
}

}  // namespace

#if !defined(EMULATION_TEST_NAME)
#define EMULATION_TEST_NAME main
#endif
// Returns the number of failures. With more than one argument also runs a race, which a sanitizer reports.
extern "C" int EMULATION_TEST_NAME(int argc, char**) {
    for (int order : {EMUL_ORDER_ASCENDING, EMUL_ORDER_DESCENDING, EMUL_ORDER_RANDOM}) {
        emul_configure(order, 3, 1);
        shuffles();
        emul_configure(order, 3, 1);
        barriers_and_memory();
        emul_configure(order, 3, 1);
        matrices();
        EXPECT(exchange(true) == "");
        if (argc > 1) EXPECT((exchange(false) != "") == (order != EMUL_ORDER_ASCENDING));
    }
    conversions();
    std::printf("emulation: %d failures\n", failures);
    return failures;
}
