// Products of tiles on tensor cores, with sums in f32. bf16 values are multiplied as they are (m16n8k16). f32 values are
// split into two tf32 each, a = high + low, and high * high + high * low + low * high is kept: as exact as f32 at three
// times the products (m16n8k8).
//
// The accumulators of one product are an operand of the next. For f32 this needs no exchange between lanes, because the
// order in which a sum is taken is free: an operand's columns t and t + 4 are taken to be the columns 2 t and 2 t + 1
// that a lane holds, in both operands alike.
#pragma once
#include "attention/tiles.cuh"

// Values of an f32 operand, split.
template <int count>
struct Split {
    uint32_t high[count], low[count];

    __device__ __forceinline__ void set(int i, float value) {
        high[i] = to_tf32(value);
        low[i] = to_tf32(value - __uint_as_float(high[i]));
    }
};

__device__ __forceinline__ void multiply_split(float (&d)[4], const Split<4>& a, const Split<2>& b) {
    mma_m16n8k8_tf32(d, a.low, b.high[0], b.high[1]);
    mma_m16n8k8_tf32(d, a.high, b.low[0], b.low[1]);
    mma_m16n8k8_tf32(d, a.high, b.high[0], b.high[1]);
}

// result [16 rows, rows of b] += rows row .. row + 15 of a, times b transposed.
template <int n_tiles, int a_rows, int width>
__device__ __forceinline__ void add_transposed(float (&result)[n_tiles][4], Tile<bf16, a_rows, width>& a, int row,
                                                    Tile<bf16, 8 * n_tiles, width>& b) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < width / 16; step++) {
        uint32_t left[4];
        ldmatrix(left, a.chunk(row + lane % 16, 2 * step + lane / 16));
#pragma unroll
        for (int pair = 0; pair < n_tiles / 2; pair++) {
            uint32_t right[4];  // of two neighbouring tiles of 8 rows
            ldmatrix(right, b.chunk(16 * pair + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2));
            mma_m16n8k16_bf16(result[2 * pair], left, right[0], right[1]);
            mma_m16n8k16_bf16(result[2 * pair + 1], left, right[2], right[3]);
        }
    }
}
template <int n_tiles, int a_rows, int width>
__device__ __forceinline__ void add_transposed(float (&result)[n_tiles][4], Tile<float, a_rows, width>& a, int row,
                                                    Tile<float, 8 * n_tiles, width>& b) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    // Not unrolled: the splits of several steps at once would need more registers than there are.
#pragma unroll 1
    for (int step = 0; step < width / 8; step++) {
        float2 low = *reinterpret_cast<float2*>(a.at(row + g, 8 * step + 2 * t));
        float2 high = *reinterpret_cast<float2*>(a.at(row + g + 8, 8 * step + 2 * t));
        Split<4> left;
        left.set(0, low.x);
        left.set(1, high.x);
        left.set(2, low.y);
        left.set(3, high.y);
#pragma unroll
        for (int n = 0; n < n_tiles; n++) {
            float2 values = *reinterpret_cast<float2*>(b.at(8 * n + g, 8 * step + 2 * t));
            Split<2> right;
            right.set(0, values.x);
            right.set(1, values.y);
            multiply_split(result[n], left, right);
        }
    }
}

// The same, from 0.
template <int n_tiles, class T, int a_rows, int width>
__device__ __forceinline__ void multiply_transposed(float (&result)[n_tiles][4], Tile<T, a_rows, width>& a, int row,
                                                    Tile<T, 8 * n_tiles, width>& b) {
#pragma unroll
    for (int n = 0; n < n_tiles; n++) result[n][0] = result[n][1] = result[n][2] = result[n][3] = 0.0f;
    add_transposed(result, a, row, b);
}

// sum [16 rows, width] += weights [16 rows, rows of b] (accumulators of a product) times b.
template <int k_tiles, int n_tiles>
__device__ __forceinline__ void multiply_add(float (&sum)[n_tiles][4], const float (&weights)[k_tiles][4],
                                             Tile<bf16, 8 * k_tiles, 8 * n_tiles>& b) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < k_tiles / 2; step++) {
        uint32_t left[4] = {pack_bf16(weights[2 * step][0], weights[2 * step][1]),
                            pack_bf16(weights[2 * step][2], weights[2 * step][3]),
                            pack_bf16(weights[2 * step + 1][0], weights[2 * step + 1][1]),
                            pack_bf16(weights[2 * step + 1][2], weights[2 * step + 1][3])};
#pragma unroll
        for (int pair = 0; pair < n_tiles / 2; pair++) {
            uint32_t right[4];
            ldmatrix_trans(right, b.chunk(16 * step + lane % 16, 2 * pair + lane / 16));
            mma_m16n8k16_bf16(sum[2 * pair], left, right[0], right[1]);
            mma_m16n8k16_bf16(sum[2 * pair + 1], left, right[2], right[3]);
        }
    }
}
template <int k_tiles, int n_tiles>
__device__ __forceinline__ void multiply_add(float (&sum)[n_tiles][4], const float (&weights)[k_tiles][4],
                                             Tile<float, 8 * k_tiles, 8 * n_tiles>& b) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int step = 0; step < k_tiles; step++) {
        Split<4> left;
        left.set(0, weights[step][0]);
        left.set(1, weights[step][2]);
        left.set(2, weights[step][1]);
        left.set(3, weights[step][3]);
#pragma unroll
        for (int n = 0; n < n_tiles; n++) {
            Split<2> right;
            right.set(0, *b.at(8 * step + 2 * t, 8 * n + g));
            right.set(1, *b.at(8 * step + 2 * t + 1, 8 * n + g));
            multiply_split(sum[n], left, right);
        }
    }
}
