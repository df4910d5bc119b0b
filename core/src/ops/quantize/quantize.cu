// Quantizers of latent values, with straight-through gradients.
//   fsq:      each dimension d is squeezed to levels[d] values, bounded = tanh(z + shift) half - offset, code =
//             round(bounded) / floor(levels / 2) (Mentzer et al. 2023, eq. 1 and listing 1); the gradient is that of
//             `bounded`
//   lfq:      the sign of each dimension, +-1 (Yu et al. 2023, section 3.2); the gradient passes unchanged
//   quantile: which of `bins` bins, cut at edges[1] .. edges[bins - 1], a value lies in; the code is the bin's centre and
//             the gradient passes unchanged
// Shapes: z, codes [rows, width]; index u32 [rows] (fsq, lfq: mixed radix, dimension 0 counts least), [count] (quantile).
//
// fsq, lfq: one thread per row, which is short. No shared memory. Bound by memory.
#include "gpu/kernel.cuh"

// How one dimension is squeezed. Odd numbers of levels lie around 0, even ones around -1/2.
struct Level {
    float half, offset, shift, scale;

    __device__ __forceinline__ explicit Level(float levels) {
        half = (levels - 1.0f) * (1.0f + 1e-3f) / 2.0f;  // a little more, so that the outer levels are reached
        offset = fmodf(levels, 2.0f) == 0.0f ? 0.5f : 0.0f;
        shift = atanhf(offset / half);
        scale = 1.0f / fmaxf(floorf(levels / 2.0f), 1.0f);
    }
};

template <class T>
struct FsqForward {
    const T* z;
    const float* levels;  // [width], each 2 or more
    T* codes;
    uint32_t* index;
    int rows, width;

    __device__ __forceinline__ void run() const {
        int row = blockIdx.x * blockDim.x + threadIdx.x;
        if (row >= rows) return;
        uint32_t place = 0, radix = 1;
        for (int d = 0; d < width; d++) {
            Level level(levels[d]);
            size_t at = size_t(row) * width + d;
            float code = rintf(tanhf(to_float(z[at]) + level.shift) * level.half - level.offset);
            codes[at] = from_float<T>(code * level.scale);
            place += uint32_t(code + floorf(levels[d] / 2.0f)) * radix;
            radix *= uint32_t(levels[d]);
        }
        index[row] = place;
    }
};

template <class T>
struct FsqBackward {
    const T *z, *dcodes;
    const float* levels;
    T* dz;
    int count, width;

    __device__ __forceinline__ void run() const {
        int at = blockIdx.x * blockDim.x + threadIdx.x;
        if (at >= count) return;
        Level level(levels[at % width]);
        float t = tanhf(to_float(z[at]) + level.shift);
        dz[at] = from_float<T>(to_float(dcodes[at]) * level.scale * level.half * (1.0f - t * t));
    }
};

template <class T>
struct Lfq {
    const T* z;
    T* codes;
    uint32_t* index;
    int rows, width;

    __device__ __forceinline__ void run() const {
        int row = blockIdx.x * blockDim.x + threadIdx.x;
        if (row >= rows) return;
        uint32_t bits = 0;
        for (int d = 0; d < width; d++) {
            size_t at = size_t(row) * width + d;
            bool positive = to_float(z[at]) > 0.0f;
            codes[at] = from_float<T>(positive ? 1.0f : -1.0f);
            bits |= uint32_t(positive) << d;
        }
        index[row] = bits;
    }
};

template <class T>
struct Quantile {
    const T* x;
    const float *edges, *centres;  // [bins + 1] rising, of which the outer two are not looked at; [bins]
    T* codes;
    uint32_t* index;
    int count, bins;

    __device__ __forceinline__ void run() const {
        int at = blockIdx.x * blockDim.x + threadIdx.x;
        if (at >= count) return;
        float value = to_float(x[at]);
        int low = 0, high = bins - 1;  // the number of inner edges at or below the value
        while (low < high) {
            int middle = (low + high) / 2;
            if (value >= edges[middle + 1]) low = middle + 1;
            else high = middle;
        }
        index[at] = low;
        codes[at] = from_float<T>(centres[low]);
    }
};

#define QUANTIZE(T, number)                             \
    KERNEL(fsq_forward_##number, 256, FsqForward<T>)    \
    KERNEL(fsq_backward_##number, 256, FsqBackward<T>)  \
    KERNEL(lfq_forward_##number, 256, Lfq<T>)           \
    KERNEL(quantile_forward_##number, 256, Quantile<T>)
QUANTIZE(float, f32)
QUANTIZE(bf16, bf16)
