// What kernels share: numbers of either type as f32, 16 bytes at a time, and sums over a warp.
#pragma once
#include "platform.cuh"

constexpr unsigned all_lanes = 0xffffffffu;
constexpr int warp_lanes = 32;

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(bf16 value) { return __bfloat162float(value); }
template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) { return value; }
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) { return __float2bfloat16_rn(value); }

// All lanes get the result; the order of the sum is fixed.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(all_lanes, value, offset);
    return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, offset));
    return value;
}

// The values of 16 bytes as f32. `whole` says that all values there are (and start at a multiple of 16 bytes), which
// is the same for a whole launch: one wide access. Else those from `count` on are 0 and are not stored.
template <class T>
struct Values {
    static constexpr int size = 16 / sizeof(T);
    float at[size];

    __device__ __forceinline__ void load(const T* from, int count, bool whole) {
        if (whole) {
            uint4 bits = *reinterpret_cast<const uint4*>(from);
            T values[size];
            memcpy(values, &bits, 16);
#pragma unroll
            for (int i = 0; i < size; i++) at[i] = to_float(values[i]);
        } else {
#pragma unroll
            for (int i = 0; i < size; i++) at[i] = i < count ? to_float(from[i]) : 0.0f;
        }
    }
    __device__ __forceinline__ void store(T* to, int count, bool whole) const {
        if (whole) {
            T values[size];
#pragma unroll
            for (int i = 0; i < size; i++) values[i] = from_float<T>(at[i]);
            uint4 bits;
            memcpy(&bits, values, 16);
            *reinterpret_cast<uint4*>(to) = bits;
        } else {
#pragma unroll
            for (int i = 0; i < size; i++)
                if (i < count) to[i] = from_float<T>(at[i]);
        }
    }
};
