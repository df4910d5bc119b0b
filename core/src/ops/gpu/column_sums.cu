// Adds the partial sums of column_sums.cuh: out[i] = sum over chunks of partial[chunk * stride + i], in order.
// One thread per sum, blocks of 256. Bound by memory, but small: a chunk stands for 64 rows or more.
#include "gpu/kernel.cuh"

template <class T>
struct ColumnSums {
    const float* partial;
    T* out;  // [count]
    int chunks, count, stride;

    __device__ __forceinline__ void run() const {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= count) return;
        float total = 0.0f;
        for (int chunk = 0; chunk < chunks; chunk++) total += partial[size_t(chunk) * stride + i];
        out[i] = from_float<T>(total);
    }
};

KERNEL(column_sums_f32, 256, ColumnSums<float>)
KERNEL(column_sums_bf16, 256, ColumnSums<bf16>)
