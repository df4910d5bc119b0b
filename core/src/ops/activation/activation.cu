// What follows a matrix product: y = f(x + bias), f one of GELU (exact, or with tanh), SiLU, ELU, ReLU, SwiGLU and GeGLU,
// and y = residual + x + bias. Shapes: x, y [rows, width], bias [width] or null; SwiGLU and GeGLU take x [rows, 2 width]
// and bias [2 width] and give silu(left half) * right half, or gelu of it. CPU twin of the exact GELU: gelu/cpu.rs.
//
// Forward: 16 bytes a thread. Backward: writes dx and sums it by column, which is the bias's gradient, in one pass; see
// column_sums.cuh. No dynamic shared memory. Bound by memory.
#include "gpu/column_sums.cuh"

enum class Kind { gelu, gelu_tanh, silu, elu, relu };

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Half the argument of the logistic function that is the tanh form: 0.5 (1 + tanh u) = sigmoid(2 u).
__device__ __forceinline__ float tanh_argument(float x) { return 0.7978845608028654f * (x + 0.044715f * x * x * x); }

template <Kind kind>
__device__ __forceinline__ float activate(float x) {
    // erfc, because 1 + erf loses the digits of the left tail.
    if (kind == Kind::gelu) return x * (0.5f * erfcf(-0.7071067811865476f * x));
    if (kind == Kind::gelu_tanh) return x * sigmoid(2.0f * tanh_argument(x));
    if (kind == Kind::elu) return x > 0.0f ? x : expm1f(x);
    if (kind == Kind::relu) return x < 0.0f ? 0.0f : x;
    return x * sigmoid(x);
}

template <Kind kind>
__device__ __forceinline__ float slope(float x) {
    if (kind == Kind::gelu)
        return 0.5f * erfcf(-0.7071067811865476f * x) + x * (0.3989422804014327f * expf(-0.5f * x * x));
    if (kind == Kind::gelu_tanh) {
        float s = sigmoid(2.0f * tanh_argument(x));
        // Where s is 0 or 1, x^3 may be infinite.
        float steep = s * (1.0f - s);
        return steep == 0.0f ? s : s + x * steep * 1.5957691216057308f * (1.0f + 0.134145f * x * x);
    }
    if (kind == Kind::elu) return x > 0.0f ? 1.0f : expf(x);
    if (kind == Kind::relu) return x > 0.0f ? 1.0f : 0.0f;
    float s = sigmoid(x);
    return s + x * s * (1.0f - s);
}

// Where the thread's 16 bytes of a [rows, width] matrix are.
template <class T>
struct Spot {
    int row, column, count;

    __device__ __forceinline__ static int vectors(int width) { return (width + Values<T>::size - 1) / Values<T>::size; }
    __device__ __forceinline__ explicit Spot(int width) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        row = i / vectors(width);
        column = i % vectors(width) * Values<T>::size;
        count = width - column;
    }
};

template <class T, Kind kind>
struct ActivationForward {
    const T *x, *bias;
    T* y;
    int rows, width, whole;

    __device__ __forceinline__ void run() const {
        Spot<T> spot(width);
        if (spot.row >= rows) return;
        size_t at = size_t(spot.row) * width + spot.column;
        Values<T> value, shift = {};
        value.load(x + at, spot.count, whole);
        if (bias) shift.load(bias + spot.column, spot.count, whole);
        for (int i = 0; i < Values<T>::size; i++) value.at[i] = activate<kind>(value.at[i] + shift.at[i]);
        value.store(y + at, spot.count, whole);
    }
};

template <class T, Kind kind>
struct GluForward {
    const T *x, *bias;
    T* y;
    int rows, width, whole;

    __device__ __forceinline__ void run() const {
        Spot<T> spot(width);
        if (spot.row >= rows) return;
        const T* left = x + size_t(spot.row) * 2 * width + spot.column;
        Values<T> gate, value, gate_shift = {}, shift = {};
        gate.load(left, spot.count, whole);
        value.load(left + width, spot.count, whole);
        if (bias) {
            gate_shift.load(bias + spot.column, spot.count, whole);
            shift.load(bias + width + spot.column, spot.count, whole);
        }
        for (int i = 0; i < Values<T>::size; i++)
            value.at[i] = activate<kind>(gate.at[i] + gate_shift.at[i]) * (value.at[i] + shift.at[i]);
        value.store(y + size_t(spot.row) * width + spot.column, spot.count, whole);
    }
};

template <class T>
struct ResidualForward {
    const T *x, *bias, *residual;
    T* y;
    int rows, width, whole;

    __device__ __forceinline__ void run() const {
        Spot<T> spot(width);
        if (spot.row >= rows) return;
        size_t at = size_t(spot.row) * width + spot.column;
        Values<T> value, before = {}, shift = {};
        value.load(x + at, spot.count, whole);
        if (residual) before.load(residual + at, spot.count, whole);
        if (bias) shift.load(bias + spot.column, spot.count, whole);
        for (int i = 0; i < Values<T>::size; i++) value.at[i] = before.at[i] + (value.at[i] + shift.at[i]);
        value.store(y + at, spot.count, whole);
    }
};

template <class T, Kind kind>
struct ActivationBackward {
    const T *x, *bias, *dy;
    T* dx;
    float* partial;
    int rows, width, rows_per_chunk;

    __device__ __forceinline__ void run() const {
        partial_column_sums<1>(partial, rows, width, rows_per_chunk, [&](int row, int column, float(&sums)[1]) {
            size_t at = size_t(row) * width + column;
            float shift = bias ? to_float(bias[column]) : 0.0f;
            float gradient = to_float(dy[at]) * slope<kind>(to_float(x[at]) + shift);
            dx[at] = from_float<T>(gradient);
            sums[0] += gradient;
        });
    }
};

template <class T, Kind kind>
struct GluBackward {
    const T *x, *bias, *dy;
    T* dx;
    float* partial;
    int rows, width, rows_per_chunk;

    __device__ __forceinline__ void run() const {
        partial_column_sums<2>(partial, rows, width, rows_per_chunk, [&](int row, int column, float(&sums)[2]) {
            size_t left = size_t(row) * 2 * width + column, right = left + width;
            float gate = to_float(x[left]), value = to_float(x[right]);
            if (bias) {
                gate += to_float(bias[column]);
                value += to_float(bias[width + column]);
            }
            float gradient = to_float(dy[size_t(row) * width + column]);
            float gate_gradient = gradient * value * slope<kind>(gate);
            float value_gradient = gradient * activate<kind>(gate);
            dx[left] = from_float<T>(gate_gradient);
            dx[right] = from_float<T>(value_gradient);
            sums[0] += gate_gradient;
            sums[1] += value_gradient;
        });
    }
};

// The gradient of a bias alone, where dx is dy.
template <class T>
struct BiasBackward {
    const T* dy;
    float* partial;
    int rows, width, rows_per_chunk;

    __device__ __forceinline__ void run() const {
        partial_column_sums<1>(partial, rows, width, rows_per_chunk, [&](int row, int column, float(&sums)[1]) {
            sums[0] += to_float(dy[size_t(row) * width + column]);
        });
    }
};

#define ACTIVATION(T, number)                                                      \
    KERNEL(gelu_forward_##number, 256, ActivationForward<T, Kind::gelu>)           \
    KERNEL(gelu_tanh_forward_##number, 256, ActivationForward<T, Kind::gelu_tanh>) \
    KERNEL(silu_forward_##number, 256, ActivationForward<T, Kind::silu>)           \
    KERNEL(elu_forward_##number, 256, ActivationForward<T, Kind::elu>)             \
    KERNEL(relu_forward_##number, 256, ActivationForward<T, Kind::relu>)           \
    KERNEL(swiglu_forward_##number, 256, GluForward<T, Kind::silu>)                \
    KERNEL(geglu_forward_##number, 256, GluForward<T, Kind::gelu>)                 \
    KERNEL(residual_forward_##number, 256, ResidualForward<T>)                     \
    KERNEL(gelu_backward_##number, 256, ActivationBackward<T, Kind::gelu>)         \
    KERNEL(gelu_tanh_backward_##number, 256, ActivationBackward<T, Kind::gelu_tanh>) \
    KERNEL(silu_backward_##number, 256, ActivationBackward<T, Kind::silu>)         \
    KERNEL(elu_backward_##number, 256, ActivationBackward<T, Kind::elu>)           \
    KERNEL(relu_backward_##number, 256, ActivationBackward<T, Kind::relu>)         \
    KERNEL(swiglu_backward_##number, 256, GluBackward<T, Kind::silu>)              \
    KERNEL(geglu_backward_##number, 256, GluBackward<T, Kind::gelu>)               \
    KERNEL(bias_backward_##number, 256, BiasBackward<T>)
ACTIVATION(float, f32)
ACTIVATION(bf16, bf16)
