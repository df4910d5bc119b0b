// Sinusoidal encodings of coordinates: out[i] = (sin(x_i f_0), .., sin(x_i f_{n-1}), cos(x_i f_0), ..), with the gradient
// by the coordinate. Shapes: x [count] f32, frequencies [n] f32 (radians per unit of x), out [count, 2 n].
//
// Angles are reduced by 2 pi in three parts before sincospif, so that large coordinates keep the digits that f32 has; the
// general sine would keep a table in slow memory for that. Forward: one thread per angle. Backward: one warp per
// coordinate. No shared memory. Bound by memory.
#include "gpu/kernel.cuh"

__device__ __forceinline__ float2 sine_and_cosine(float angle) {
    float turns = rintf(angle * 0.15915494309189535f);
    float rest = fmaf(-turns, 6.28125f, angle);  // 2 pi = 6.28125 + 1.93500518e-3 + 3.01991e-7, the first with few bits
    rest = fmaf(-turns, 1.93500518798828125e-3f, rest);
    rest = fmaf(-turns, 3.0199159819e-7f, rest);
    float sine, cosine;
    sincospif(rest * 0.3183098861837907f, &sine, &cosine);
    return make_float2(sine, cosine);
}

template <class T>
struct FourierForward {
    const float *x, *frequencies;
    T* out;
    int count, n;

    __device__ __forceinline__ void run() const {
        int i = blockIdx.x * blockDim.x + threadIdx.x, row = i / n, k = i % n;
        if (row >= count) return;
        float2 pair = sine_and_cosine(x[row] * frequencies[k]);
        out[size_t(row) * 2 * n + k] = from_float<T>(pair.x);
        out[size_t(row) * 2 * n + n + k] = from_float<T>(pair.y);
    }
};

template <class T>
struct FourierBackward {
    const float *x, *frequencies;
    const T* dout;
    float* dx;
    int count, n;

    __device__ __forceinline__ void run() const {
        int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
        if (row >= count) return;
        const T* gradient = dout + size_t(row) * 2 * n;
        float sum = 0.0f;
        for (int k = lane; k < n; k += 32) {
            float2 pair = sine_and_cosine(x[row] * frequencies[k]);
            sum += frequencies[k] * (pair.y * to_float(gradient[k]) - pair.x * to_float(gradient[n + k]));
        }
        sum = warp_sum(sum);
        if (lane == 0) dx[row] = sum;
    }
};

KERNEL(fourier_forward_f32, 256, FourierForward<float>)
KERNEL(fourier_forward_bf16, 256, FourierForward<bf16>)
KERNEL(fourier_backward_f32, 256, FourierBackward<float>)
KERNEL(fourier_backward_bf16, 256, FourierBackward<bf16>)
