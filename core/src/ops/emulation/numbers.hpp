// 16-bit floating point and arithmetic, as a kernel calls them. Included by emulation.hpp.
#pragma once

struct __nv_bfloat16 { uint16_t bits; };
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
struct __half { uint16_t bits; };

inline float __bfloat162float(__nv_bfloat16 v) { return emul::bit_cast<float>(uint32_t(v.bits) << 16); }
inline __nv_bfloat16 __float2bfloat16_rn(float v) {
    uint32_t bits = emul::bit_cast<uint32_t>(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};  // the canonical NaN of the hardware
    return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};  // nearest, ties to even
}
inline __nv_bfloat16 __float2bfloat16(float v) { return __float2bfloat16_rn(v); }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)}; }

inline float __half2float(__half v) {
    uint32_t sign = uint32_t(v.bits & 0x8000u) << 16, exponent = (v.bits >> 10) & 31u, fraction = v.bits & 0x3ffu;
    if (exponent == 31) return emul::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
    if (exponent == 0) return std::copysign(std::ldexp(float(fraction), -24), sign ? -1.0f : 1.0f);
    return emul::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
}
inline __half __float2half_rn(float v) {
    uint32_t bits = emul::bit_cast<uint32_t>(v), magnitude = bits & 0x7fffffffu;
    uint16_t sign = uint16_t((bits >> 16) & 0x8000u);
    if (magnitude > 0x7f800000u) return {0x7fff};
    if (magnitude >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // rounds to infinity
    if (magnitude < 0x38800000u)                                        // subnormal: exact in units of 2^-24
        return {uint16_t(sign | uint16_t(std::nearbyint(std::ldexp(emul::bit_cast<float>(magnitude), 24))))};
    magnitude -= 112u << 23;
    return {uint16_t(sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u)) >> 13))};
}
inline __half __float2half(float v) { return __float2half_rn(v); }

// ---- arithmetic --------------------------------------------------------------------
inline float fast_exp2(float v) { return std::exp2(v); }
// Nearest value with 10 bits of fraction, ties away from zero.
inline uint32_t to_tf32(float v) {
    uint32_t bits = emul::bit_cast<uint32_t>(v);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
}
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __float_as_uint(float v) { return emul::bit_cast<unsigned>(v); }
inline float __uint_as_float(unsigned v) { return emul::bit_cast<float>(v); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v ? __builtin_clz(static_cast<unsigned>(v)) : 32; }
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
inline void sincospif(float x, float* sine, float* cosine) {
    double angle = 3.14159265358979323846 * double(x);
    *sine = float(std::sin(angle));
    *cosine = float(std::cos(angle));
}
