// Sums over the rows of a matrix in two steps without atomics: blocks sum chunks of rows, column_sums_* adds the
// chunks in order. So the result depends on the shape alone.
#pragma once
#include "gpu/kernel.cuh"

// Called by blocks of 256 threads with grid (columns / 32 rounded up, chunks). Thread (lane, warp) visits rows
// first + warp, first + warp + 8, .. of its column; `term(row, column, sums)` adds to `count` sums, which end in
// partial[chunk][sum][column].
template <int count, class Term>
__device__ __forceinline__ void partial_column_sums(float* partial, int rows, int width, int rows_per_chunk, Term term) {
    constexpr int warps = 8;
    SHARED_ARRAY(float, meeting, [count][warps][warp_lanes]);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    int first = blockIdx.y * rows_per_chunk, last = min(rows, first + rows_per_chunk);
    float sums[count] = {};
    if (column < width)
        for (int row = first + warp; row < last; row += warps) term(row, column, sums);
#pragma unroll
    for (int i = 0; i < count; i++) meeting[i][warp][lane] = sums[i];
    __syncthreads();
    if (warp < count && column < width) {
        float total = 0.0f;
        for (int w = 0; w < warps; w++) total += meeting[warp][w][lane];
        partial[(size_t(blockIdx.y) * count + warp) * width + column] = total;
    }
}
