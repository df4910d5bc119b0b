// Linear interpolation of sampled curves with inverse variances onto a grid. For a grid point between samples i and i + 1
// at the share t of the way, value = (1 - t) f_i + t f_{i+1} and 1 / inverse variance = (1 - t)^2 / w_i + t^2 / w_{i+1}.
// Where a sample that has a share is not valid (w = 0), and outside of the samples, value and inverse variance are 0.
// Shapes: positions [rows, samples] rising in each row, flux and inverse variance alike, counts i32 [rows] of samples that
// there are (null: all), grid [points] rising and shared by the rows; results [rows, points].
//
// Forward: one thread per row and grid point, which finds its samples by bisection. Backward, by flux: one thread per
// sample, which finds the grid points that lie next to it; so no atomics. All f32 but flux. Bound by memory.
#include "gpu/kernel.cuh"

// The number of values at or below `value` (or below it, for `strict`) among `count` rising ones.
template <bool strict>
__device__ __forceinline__ int values_up_to(const float* values, int count, float value) {
    int low = 0, high = count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (strict ? values[middle] < value : values[middle] <= value) low = middle + 1;
        else high = middle;
    }
    return low;
}

// The interval of the samples that a grid point lies in: the last point belongs to the last interval.
struct Interval {
    int left;
    float share;  // of the sample to the right
    bool inside;

    __device__ __forceinline__ Interval(const float* positions, int count, float point) {
        int below = values_up_to<false>(positions, count, point);
        inside = count > 0 && below > 0 && point <= positions[count - 1];
        left = below - 1 < count - 2 ? below - 1 : count - 2;
        if (left < 0) left = 0;
        share = 0.0f;
        if (inside && count > 1) share = (point - positions[left]) / (positions[left + 1] - positions[left]);
    }
    // Whether both samples that have a share are valid.
    __device__ __forceinline__ bool valid(const float* inverse_variance) const {
        return inside && (share == 1.0f || inverse_variance[left] > 0.0f) &&
               (share == 0.0f || inverse_variance[left + 1] > 0.0f);
    }
};

template <class T>
struct ResampleForward {
    const float* positions;
    const T* flux;
    const float* inverse_variance;
    const int* counts;
    const float* grid;
    T* out;
    float* out_inverse_variance;
    int rows, samples, points;

    __device__ __forceinline__ void run() const {
        int i = blockIdx.x * blockDim.x + threadIdx.x, row = i / points, point = i % points;
        if (row >= rows) return;
        size_t start = size_t(row) * samples;
        Interval interval(positions + start, counts ? counts[row] : samples, grid[point]);
        float value = 0.0f, weight = 0.0f;
        if (interval.valid(inverse_variance + start)) {
            size_t left = start + interval.left;
            float t = interval.share, variance = 0.0f;
            // A sample without a share may hold anything, or not be there.
            if (t != 1.0f) {
                value += (1.0f - t) * to_float(flux[left]);
                variance += (1.0f - t) * (1.0f - t) / inverse_variance[left];
            }
            if (t != 0.0f) {
                value += t * to_float(flux[left + 1]);
                variance += t * t / inverse_variance[left + 1];
            }
            weight = 1.0f / variance;
        }
        out[size_t(row) * points + point] = from_float<T>(value);
        out_inverse_variance[size_t(row) * points + point] = weight;
    }
};

template <class T>
struct ResampleBackward {
    const float *positions, *inverse_variance;
    const int* counts;
    const float* grid;
    const T* dout;
    T* dflux;
    int rows, samples, points;

    __device__ __forceinline__ void run() const {
        int i = blockIdx.x * blockDim.x + threadIdx.x, row = i / samples, sample = i % samples;
        if (row >= rows) return;
        size_t start = size_t(row) * samples;
        const float* here = positions + start;
        int count = counts ? counts[row] : samples;
        float sum = 0.0f;
        if (sample < count) {
            int first = values_up_to<true>(grid, points, here[sample > 0 ? sample - 1 : 0]);
            int last = values_up_to<false>(grid, points, here[sample + 1 < count ? sample + 1 : sample]);
            for (int point = first; point < last; point++) {
                Interval interval(here, count, grid[point]);
                if (!interval.valid(inverse_variance + start)) continue;
                float share = interval.left == sample       ? 1.0f - interval.share
                              : interval.left + 1 == sample ? interval.share
                                                            : 0.0f;
                sum += share * to_float(dout[size_t(row) * points + point]);
            }
        }
        dflux[start + sample] = from_float<T>(sum);
    }
};

KERNEL(resample_forward_f32, 256, ResampleForward<float>)
KERNEL(resample_forward_bf16, 256, ResampleForward<bf16>)
KERNEL(resample_backward_f32, 256, ResampleBackward<float>)
KERNEL(resample_backward_bf16, 256, ResampleBackward<bf16>)
