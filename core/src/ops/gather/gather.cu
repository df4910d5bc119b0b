// Rows by index. gather: out[i] = table[index[i]], 0 where the index is 0xffffffff. gather_sum: out[r] = sum of the rows
// order[starts[r]] .. order[starts[r + 1] - 1], in that order: the gradient of gather, and a scatter where each sum has at
// most one term. No atomics: the host gives the inverse of the index, sorted. Shapes: rows of `width` values.
//
// 16 bytes a thread. No shared memory. Bound by memory.
#include "gpu/kernel.cuh"

template <class T>
struct Gather {
    const T* table;
    const uint32_t* index;
    T* out;
    int rows, width, whole;  // of out

    __device__ __forceinline__ void run() const {
        int vectors = (width + Values<T>::size - 1) / Values<T>::size, i = blockIdx.x * blockDim.x + threadIdx.x;
        int row = i / vectors, column = i % vectors * Values<T>::size;
        if (row >= rows) return;
        uint32_t from = index[row];
        Values<T> value = {};
        if (from != 0xffffffffu) value.load(table + size_t(from) * width + column, width - column, whole);
        value.store(out + size_t(row) * width + column, width - column, whole);
    }
};

template <class T>
struct GatherSum {
    const T* rows_in;
    const uint32_t *starts, *order;
    T* out;
    int rows, width, whole;

    __device__ __forceinline__ void run() const {
        int vectors = (width + Values<T>::size - 1) / Values<T>::size, i = blockIdx.x * blockDim.x + threadIdx.x;
        int row = i / vectors, column = i % vectors * Values<T>::size;
        if (row >= rows) return;
        Values<T> sum = {};
        for (uint32_t at = starts[row]; at < starts[row + 1]; at++) {
            Values<T> value;
            value.load(rows_in + size_t(order[at]) * width + column, width - column, whole);
            for (int i = 0; i < Values<T>::size; i++) sum.at[i] += value.at[i];
        }
        sum.store(out + size_t(row) * width + column, width - column, whole);
    }
};

KERNEL(gather_f32, 256, Gather<float>)
KERNEL(gather_bf16, 256, Gather<bf16>)
KERNEL(gather_sum_f32, 256, GatherSum<float>)
KERNEL(gather_sum_bf16, 256, GatherSum<bf16>)
