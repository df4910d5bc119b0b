// AdamW over a list of tensors in three launches, whatever their number, with the norm of all gradients and clipping on
// the device: nothing waits for the host. CPU twin: train/optimizer.rs.
//   squares: sum of squares of each chunk of kChunk gradients, one block a chunk
//   norm:    one block adds the chunks in order; counts the step and prepares its factors; a norm that is NaN or infinite
//            makes the step do nothing
//   update:  moments, decoupled decay, parameter, and the bf16 copy that the forward pass reads; one block a chunk
// Sums of squares are f64, which f32 squares can't overflow: the norm is finite if all gradients are. Bound by memory.
#include "gpu/kernel.cuh"

constexpr int kChunk = 4096, kThreads = 256, kAtOnce = 4;

struct Slot {
    float* parameter;
    float *first, *second;  // moments
    bf16* copy;             // of the parameter, or null
    int count, whole;       // whether these begin at multiples of 16 bytes
    float rate, decay;      // rate is a multiple of the step's
};

struct Chunk {
    int slot, first;
};

// What a step leaves in device memory. As `Report` in launch.rs.
struct State {
    double norm;  // of all gradients, before clipping
    int steps, applied;
    float clip, first_correction, second_correction, unused;
};

template <class T>
__device__ __forceinline__ void load_four(const T* from, int count, bool whole, float (&to)[kAtOnce]) {
    if (whole) {
        T values[kAtOnce];
        if (sizeof(T) == 4) {
            uint4 bits = *reinterpret_cast<const uint4*>(from);
            memcpy(values, &bits, sizeof values);
        } else {
            uint2 bits = *reinterpret_cast<const uint2*>(from);
            memcpy(values, &bits, sizeof values);
        }
        for (int i = 0; i < kAtOnce; i++) to[i] = to_float(values[i]);
    } else {
        for (int i = 0; i < kAtOnce; i++) to[i] = i < count ? to_float(from[i]) : 0.0f;
    }
}
template <class T>
__device__ __forceinline__ void store_four(T* to, int count, bool whole, const float (&from)[kAtOnce]) {
    T values[kAtOnce];
    for (int i = 0; i < kAtOnce; i++) values[i] = from_float<T>(from[i]);
    if (!whole) {
        for (int i = 0; i < kAtOnce; i++)
            if (i < count) to[i] = values[i];
    } else if (sizeof(T) == 4) {
        uint4 bits;
        memcpy(&bits, values, sizeof values);
        *reinterpret_cast<uint4*>(to) = bits;
    } else {
        uint2 bits;
        memcpy(&bits, values, sizeof values);
        *reinterpret_cast<uint2*>(to) = bits;
    }
}

__device__ __forceinline__ bool is_aligned(const void* pointer) { return (reinterpret_cast<uintptr_t>(pointer) & 15) == 0; }

// Calls visit(first value, values there, whether that is all four) for the parts of the block's chunk.
template <class Visit>
__device__ __forceinline__ void each_four(const Slot& slot, const Chunk& chunk, bool aligned, Visit visit) {
    int last = min(slot.count, chunk.first + kChunk);
    for (int at = chunk.first + kAtOnce * threadIdx.x; at < last; at += kAtOnce * kThreads)
        visit(at, last - at, aligned && at + kAtOnce <= last);
}

// The sum over the block, for its first thread.
__device__ __forceinline__ double block_sum(double value) {
    SHARED_ARRAY(double, meeting, [kThreads / 32]);
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(all_lanes, value, offset);
    if (threadIdx.x % 32 == 0) meeting[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int warp = 1; warp < kThreads / 32; warp++) value += meeting[warp];
    return value;
}

template <class T>
struct AdamwSquares {
    const Slot* slots;
    const Chunk* chunks;
    const T* const* gradients;  // [slots], elsewhere in each step
    double* squares;  // [chunks]

    __device__ __forceinline__ void run() const {
        Chunk chunk = chunks[blockIdx.x];
        Slot slot = slots[chunk.slot];
        const T* gradients_here = gradients[chunk.slot];
        double sum = 0.0;
        each_four(slot, chunk, slot.whole && is_aligned(gradients_here), [&](int at, int count, bool whole) {
            float gradient[kAtOnce];
            load_four(gradients_here + at, count, whole, gradient);
            for (int i = 0; i < kAtOnce; i++) sum += double(gradient[i]) * double(gradient[i]);
        });
        sum = block_sum(sum);
        if (threadIdx.x == 0) squares[blockIdx.x] = sum;
    }
};

struct AdamwNorm {
    const double* squares;
    State* state;
    int chunks;
    float most;  // largest norm; infinity for no clipping
    double beta1, beta2;

    __device__ __forceinline__ void run() const {
        double sum = 0.0;
        for (int i = threadIdx.x; i < chunks; i += kThreads) sum += squares[i];
        sum = block_sum(sum);
        if (threadIdx.x != 0) return;
        double norm = sqrt(sum);
        state->norm = norm;
        state->applied = norm - norm == 0.0;  // false for NaN and infinity
        if (!state->applied) return;
        int steps = ++state->steps;
        state->clip = norm > most ? float(most / norm) : 1.0f;
        state->first_correction = float(1.0 / (1.0 - pow(beta1, double(steps))));
        state->second_correction = float(1.0 / sqrt(1.0 - pow(beta2, double(steps))));
    }
};

template <class T>
struct AdamwUpdate {
    const Slot* slots;
    const Chunk* chunks;
    const T* const* gradients;  // [slots], elsewhere in each step
    const State* state;
    float learning_rate, beta1, rest1, beta2, rest2, epsilon;

    __device__ __forceinline__ void run() const {
        if (!state->applied) return;
        Chunk chunk = chunks[blockIdx.x];
        Slot slot = slots[chunk.slot];
        const T* gradients_here = gradients[chunk.slot];
        float rate = learning_rate * slot.rate, decay = rate * slot.decay;
        float clip = state->clip, correction = state->second_correction;
        rate *= state->first_correction;
        each_four(slot, chunk, slot.whole && is_aligned(gradients_here), [&](int at, int count, bool whole) {
            float gradient[kAtOnce], parameter[kAtOnce], first[kAtOnce], second[kAtOnce];
            load_four(gradients_here + at, count, whole, gradient);
            load_four(slot.parameter + at, count, whole, parameter);
            load_four(slot.first + at, count, whole, first);
            load_four(slot.second + at, count, whole, second);
            for (int i = 0; i < kAtOnce; i++) {
                float g = gradient[i] * clip;
                first[i] = beta1 * first[i] + rest1 * g;
                second[i] = beta2 * second[i] + rest2 * (g * g);
                // One subtraction: `1 - rate * decay` would keep few digits of the decay.
                parameter[i] -= rate * first[i] / (sqrtf(second[i]) * correction + epsilon) + decay * parameter[i];
            }
            store_four(slot.parameter + at, count, whole, parameter);
            store_four(slot.first + at, count, whole, first);
            store_four(slot.second + at, count, whole, second);
            if (slot.copy) store_four(slot.copy + at, count, whole, parameter);
        });
    }
};

KERNEL(adamw_squares_f32, 256, AdamwSquares<float>)
KERNEL(adamw_squares_bf16, 256, AdamwSquares<bf16>)
KERNEL(adamw_norm, 256, AdamwNorm)
KERNEL(adamw_update_f32, 256, AdamwUpdate<float>)
KERNEL(adamw_update_bf16, 256, AdamwUpdate<bf16>)
