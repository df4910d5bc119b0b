// Layer norm over the last axis, y = (x - mean) / sqrt(var + epsilon) weight + bias, and RMS norm, the same with
// mean = 0. Shapes: x, y [rows, width]; weight, bias [width], bias may be null. CPU twin: cpu.rs.
//
// Forward and input gradient: one warp per row, 4 rows per block, 16 bytes a lane; a row is read several times, from
// the cache but for the first. The input gradient leaves (mean, 1 / deviation) of each row for the weight gradient,
// which sums chunks of rows by column. No dynamic shared memory. Bound by memory.
#include "gpu/column_sums.cuh"

constexpr int kRowsPerBlock = 4;

template <class T>
struct Row {
    const T* values;
    int width;
    bool whole;

    // Calls visit(Values, first column) for the parts that are this lane's.
    template <class Visit>
    __device__ __forceinline__ void each(Visit visit) const {
        for (int at = threadIdx.x % 32 * Values<T>::size; at < width; at += 32 * Values<T>::size) {
            Values<T> x;
            x.load(values + at, width - at, whole);
            visit(x, at);
        }
    }
    template <bool centred>
    __device__ __forceinline__ float2 moments(float epsilon) const {
        float mean = 0.0f, squares = 0.0f;
        if (centred) {
            each([&](const Values<T>& x, int) {
                for (int i = 0; i < Values<T>::size; i++) mean += x.at[i];
            });
            mean = warp_sum(mean) / width;
        }
        each([&](const Values<T>& x, int at) {
            for (int i = 0; i < Values<T>::size; i++) {
                float distance = at + i < width ? x.at[i] - mean : 0.0f;
                squares += distance * distance;
            }
        });
        // Not rsqrtf, whose last bits differ from the CPU's.
        return make_float2(mean, 1.0f / sqrtf(warp_sum(squares) / width + epsilon));
    }
};

template <class T, bool centred>
struct NormForward {
    const T *x, *weight, *bias;
    T* y;
    int rows, width, whole;
    float epsilon;

    __device__ __forceinline__ void run() const {
        int row = blockIdx.x * kRowsPerBlock + threadIdx.x / 32;
        if (row >= rows) return;  // the whole warp leaves
        Row<T> in = {x + size_t(row) * width, width, whole != 0};
        float2 moments = in.template moments<centred>(epsilon);
        in.each([&](const Values<T>& value, int at) {
            Values<T> gain, shift = {}, out;
            gain.load(weight + at, width - at, whole);
            if (bias) shift.load(bias + at, width - at, whole);
            for (int i = 0; i < Values<T>::size; i++)
                out.at[i] = (value.at[i] - moments.x) * moments.y * gain.at[i] + shift.at[i];
            out.store(y + size_t(row) * width + at, width - at, whole);
        });
    }
};

template <class T, bool centred>
struct NormBackwardInput {
    const T *x, *weight, *dy;
    T* dx;
    float2* moments;  // [rows]
    int rows, width, whole;
    float epsilon;

    __device__ __forceinline__ void run() const {
        int row = blockIdx.x * kRowsPerBlock + threadIdx.x / 32;
        if (row >= rows) return;
        size_t start = size_t(row) * width;
        Row<T> in = {x + start, width, whole != 0};
        float2 moment = in.template moments<centred>(epsilon);
        float sum = 0.0f, along = 0.0f;
        in.each([&](const Values<T>& value, int at) {
            Values<T> gain, gradient;
            gain.load(weight + at, width - at, whole);
            gradient.load(dy + start + at, width - at, whole);
            for (int i = 0; i < Values<T>::size; i++) {
                float g = gradient.at[i] * gain.at[i];  // 0 beyond the row
                sum += g;
                along += g * ((value.at[i] - moment.x) * moment.y);
            }
        });
        float mean_gradient = centred ? warp_sum(sum) / width : 0.0f;
        float mean_along = warp_sum(along) / width;
        in.each([&](const Values<T>& value, int at) {
            Values<T> gain, gradient, out;
            gain.load(weight + at, width - at, whole);
            gradient.load(dy + start + at, width - at, whole);
            for (int i = 0; i < Values<T>::size; i++) {
                float normal = (value.at[i] - moment.x) * moment.y;
                out.at[i] = moment.y * (gradient.at[i] * gain.at[i] - mean_gradient - normal * mean_along);
            }
            out.store(dx + start + at, width - at, whole);
        });
        if (threadIdx.x % 32 == 0) moments[row] = moment;
    }
};

template <class T>
struct NormBackwardWeight {
    const T *x, *dy;
    const float2* moments;
    float* partial;  // [chunks][2][width]: of the weight and of the bias
    int rows, width, rows_per_chunk;

    __device__ __forceinline__ void run() const {
        partial_column_sums<2>(partial, rows, width, rows_per_chunk, [&](int row, int column, float(&sums)[2]) {
            float gradient = to_float(dy[size_t(row) * width + column]);
            float2 moment = moments[row];
            sums[0] += gradient * ((to_float(x[size_t(row) * width + column]) - moment.x) * moment.y);
            sums[1] += gradient;
        });
    }
};

KERNEL(layer_norm_forward_f32, 128, NormForward<float, true>)
KERNEL(layer_norm_forward_bf16, 128, NormForward<bf16, true>)
KERNEL(rms_norm_forward_f32, 128, NormForward<float, false>)
KERNEL(rms_norm_forward_bf16, 128, NormForward<bf16, false>)
KERNEL(layer_norm_backward_f32, 128, NormBackwardInput<float, true>)
KERNEL(layer_norm_backward_bf16, 128, NormBackwardInput<bf16, true>)
KERNEL(rms_norm_backward_f32, 128, NormBackwardInput<float, false>)
KERNEL(rms_norm_backward_bf16, 128, NormBackwardInput<bf16, false>)
KERNEL(norm_backward_weight_f32, 256, NormBackwardWeight<float>)
KERNEL(norm_backward_weight_bf16, 256, NormBackwardWeight<bf16>)
