// Shared by the attention kernels: what they attend to, and tiles of rows in shared memory. Blocks have 4 warps; each
// warp owns 16 of the 64 rows of its block's result.
#pragma once
#include "gpu/kernel.cuh"

constexpr int kBlockRows = 64;
constexpr int kBlockThreads = 128;
constexpr float kLog2E = 1.4426950408889634f;

// Sequences of queries and keys, packed one behind the other: sequence s has queries query_starts[s] ..
// query_starts[s + 1] - 1, and keys alike. First in the arguments of every kernel, so it holds a multiple of 8 bytes.
struct Problem {
    const int *query_starts, *key_starts;  // [sequences + 1]
    const uint8_t* key_valid;              // [all keys]; null: all are valid
    const uint8_t* visit;                  // [sequences or 1][query blocks][key blocks]; null: all are visited
    int visit_columns;                     // key blocks of the table
    int visit_stride;                      // from a sequence's table to the next, 0 if they share one
    int all_queries;
    int width;                             // of a head, at most the kernel's
    int causal;
    float scale;
};

// What one block works on.
struct Place {
    int head, query_start, queries, key_start, keys;
    int offset;                // causal: query i sees keys up to i + offset, so the last query sees the last key
    const uint8_t* key_valid;  // of the sequence, or null
    const uint8_t* visit;      // of the sequence, or null
    int visit_columns;

    __device__ __forceinline__ explicit Place(const Problem& problem) {
        int sequence = blockIdx.z;
        head = blockIdx.y;
        query_start = problem.query_starts[sequence];
        queries = problem.query_starts[sequence + 1] - query_start;
        key_start = problem.key_starts[sequence];
        keys = problem.key_starts[sequence + 1] - key_start;
        offset = problem.causal ? keys - queries : keys;
        key_valid = problem.key_valid ? problem.key_valid + key_start : nullptr;
        visit = problem.visit ? problem.visit + size_t(sequence) * problem.visit_stride : nullptr;
        visit_columns = problem.visit_columns;
    }
    __device__ __forceinline__ bool visits(int query, int key) const {
        return !visit || visit[size_t(query / kBlockRows) * visit_columns + key / kBlockRows];
    }
    __device__ __forceinline__ bool usable(int key) const { return key < keys && (!key_valid || key_valid[key]); }
};

// Rows of `width` values. A row is chunks of 16 bytes, whose order is changed from row to row so that the rows of a
// fragment lie in different banks.
template <class T, int rows_, int width_>
struct Tile {
    static constexpr int rows = rows_, width = width_;
    static constexpr int per_chunk = 16 / sizeof(T), chunks = width / per_chunk;
    T values[rows * width];

    __device__ __forceinline__ T* chunk(int row, int chunk) {
        int swap;
        if (sizeof(T) == 2)  // ldmatrix: the same chunk of 8 rows
            swap = chunks % 8 == 0 ? row & 7 : chunks % 4 == 0 ? (row >> 1) & 3 : (row >> 2) & 1;
        else  // 8 bytes of 4 rows in a row, or 4 bytes of every other of 8 rows
            swap = chunks % 8 == 0 ? 2 * ((row & 3) ^ ((row >> 2) & 1)) : 2 * ((row >> 1) & 1);
        return values + row * width + (chunk ^ swap) * per_chunk;
    }
    __device__ __forceinline__ T* at(int row, int column) {
        return chunk(row, column / per_chunk) + column % per_chunk;
    }

    // Starts copying rows first .. of a matrix. Rows for which present(row) is false and columns from `columns` on
    // become 0: what an invalid row holds, also NaN, must not reach a product.
    template <class Present>
    __device__ __forceinline__ void start_load(const T* source, int stride, int first, int columns, Present present) {
        for (int i = threadIdx.x; i < rows * chunks; i += kBlockThreads) {
            int row = i / chunks, column = i % chunks * per_chunk;
            bool there = column < columns && present(first + row);
            cp_async_16(at(row, column), source + (there ? size_t(first + row) * stride + column : 0), there);
        }
    }
};

// Writes a warp's 16 rows, times a factor for the low and the high eight, to rows first .. of a matrix.
template <class T, int tiles>
__device__ __forceinline__ void store_rows(T* target, int stride, const float (&values)[tiles][4], const float (&factor)[2],
                                           int first, int rows, int columns) {
    int lane = threadIdx.x % 32, row = first + lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < tiles; n++) {
        if (8 * n >= columns) break;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (row + 8 * half >= rows) continue;
            T* to = target + size_t(row + 8 * half) * stride + 8 * n + column;
            T pair[2] = {from_float<T>(values[n][2 * half] * factor[half]),
                         from_float<T>(values[n][2 * half + 1] * factor[half])};
            if (sizeof(T) == 2) {
                uint32_t bits;
                memcpy(&bits, pair, 4);
                *reinterpret_cast<uint32_t*>(to) = bits;
            } else {
                *reinterpret_cast<float2*>(to) = make_float2(to_float(pair[0]), to_float(pair[1]));
            }
        }
    }
}
