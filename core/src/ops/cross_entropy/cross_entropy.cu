// Softmax cross-entropy with label smoothing, per-row weights and rows that are left out. Shapes: logits [rows, classes],
// targets u32 [rows], weights f32 [rows] or null (all 1). With p = softmax(logits), t the target and s the smoothing,
//   loss of a row = -(1 - s) log p_t - s mean(log p),   loss = sum(weight loss) / sum(weight)
// over rows whose target is not 0xffffffff. No such row: loss and gradients are 0. Any other target without a class makes
// the loss NaN.
//
// Forward and backward: one row per group of 1 or 8 warps (many classes), 16 bytes a lane; logits are read once each.
// The mean is one block, in a fixed order. No dynamic shared memory. Bound by memory.
#include "gpu/kernel.cuh"

constexpr uint32_t kIgnored = 0xffffffffu;

// Largest value and sum of exponentials relative to it, of some of the logits.
struct Softmax {
    float largest, sum;

    __device__ __forceinline__ void join(float other_largest, float other_sum) {
        float most = fmaxf(largest, other_largest);
        float shift = most == -INFINITY ? 0.0f : most;
        sum = sum * expf(largest - shift) + other_sum * expf(other_largest - shift);
        largest = most;
    }
};

// `warps` warps work on a row; a block has 8 warps, so 8 / warps rows.
template <class T, int warps>
struct CrossEntropyForward {
    const T* logits;
    const uint32_t* targets;
    const float* weights;
    float2 *losses, *statistics;  // [rows]: (weight loss, weight), (largest logit, 1 / sum of exponentials)
    int rows, classes, whole;
    float smoothing;

    __device__ __forceinline__ void run() const {
        SHARED_ARRAY(float, meeting, [8][3]);
        int warp = threadIdx.x / 32, row = blockIdx.x * (8 / warps) + warp / warps, lane = threadIdx.x % (32 * warps);
        bool there = row < rows;
        const T* in = logits + size_t(there ? row : 0) * classes;
        Softmax softmax = {-INFINITY, 0.0f};
        float total = 0.0f;
        if (there) {
            for (int at = lane * Values<T>::size; at < classes; at += 32 * warps * Values<T>::size) {
                Values<T> x;
                x.load(in + at, classes - at, whole);
                float largest = -INFINITY, sum = 0.0f;
                for (int i = 0; i < Values<T>::size; i++)
                    if (at + i < classes) largest = fmaxf(largest, x.at[i]);
                float shift = largest == -INFINITY ? 0.0f : largest;
                for (int i = 0; i < Values<T>::size; i++) {
                    if (at + i >= classes) continue;
                    sum += expf(x.at[i] - shift);
                    total += x.at[i];
                }
                softmax.join(largest, sum);
            }
        }
        for (int offset = 16; offset > 0; offset /= 2) {
            float other_largest = __shfl_xor_sync(all_lanes, softmax.largest, offset);
            float other_sum = __shfl_xor_sync(all_lanes, softmax.sum, offset);
            // Both lanes join in the same order, so that they have the same bits.
            Softmax low = softmax, high = {other_largest, other_sum};
            if (threadIdx.x & offset) {
                low = {other_largest, other_sum};
                high = softmax;
            }
            low.join(high.largest, high.sum);
            softmax = low;
        }
        total = warp_sum(total);
        if (warps > 1) {
            if (threadIdx.x % 32 == 0) {
                meeting[warp][0] = softmax.largest;
                meeting[warp][1] = softmax.sum;
                meeting[warp][2] = total;
            }
            __syncthreads();
            softmax = {meeting[0][0], meeting[0][1]};
            total = meeting[0][2];
            for (int other = 1; other < warps; other++) {
                softmax.join(meeting[other][0], meeting[other][1]);
                total += meeting[other][2];
            }
        }
        if (!there || lane != 0) return;
        uint32_t target = targets[row];
        statistics[row] = make_float2(softmax.largest, 1.0f / softmax.sum);
        if (target == kIgnored) {
            losses[row] = make_float2(0.0f, 0.0f);
            return;
        }
        float weight = weights ? weights[row] : 1.0f, loss = NAN;
        if (target < uint32_t(classes)) {
            // Differences first: logits may be large.
            float of_target = softmax.largest - to_float(in[target]), of_mean = softmax.largest - total / classes;
            loss = (1.0f - smoothing) * of_target + (smoothing > 0.0f ? smoothing * of_mean : 0.0f) + logf(softmax.sum);
        }
        losses[row] = make_float2(weight * loss, weight);
    }
};

struct CrossEntropyMean {
    const float2* losses;  // [rows]
    float* loss;           // [2]: the mean, and 1 / sum of weights (0 if that is 0)
    int rows;

    __device__ __forceinline__ void run() const {
        SHARED_ARRAY(double, meeting, [8][2]);
        double sum = 0.0, weight = 0.0;
        for (int row = threadIdx.x; row < rows; row += 256) {
            sum += losses[row].x;
            weight += losses[row].y;
        }
        for (int offset = 16; offset > 0; offset /= 2) {
            sum += __shfl_xor_sync(all_lanes, sum, offset);
            weight += __shfl_xor_sync(all_lanes, weight, offset);
        }
        if (threadIdx.x % 32 == 0) {
            meeting[threadIdx.x / 32][0] = sum;
            meeting[threadIdx.x / 32][1] = weight;
        }
        __syncthreads();
        if (threadIdx.x != 0) return;
        for (int warp = 1; warp < 8; warp++) {
            sum += meeting[warp][0];
            weight += meeting[warp][1];
        }
        loss[0] = weight > 0.0 ? float(sum / weight) : 0.0f;
        loss[1] = weight > 0.0 ? float(1.0 / weight) : 0.0f;
    }
};

template <class T>
struct CrossEntropyBackward {
    const T* logits;
    const uint32_t* targets;
    const float* weights;
    const float2* statistics;
    const float *loss, *upstream;  // [2] as above, and [1]: the gradient of the loss
    T* dlogits;
    int rows, classes, whole, warps;
    float smoothing;

    __device__ __forceinline__ void run() const {
        int row = blockIdx.x * (8 / warps) + threadIdx.x / (32 * warps), lane = threadIdx.x % (32 * warps);
        if (row >= rows) return;
        uint32_t target = targets[row];
        bool ignored = target == kIgnored;
        float factor = ignored ? 0.0f : upstream[0] * loss[1] * (weights ? weights[row] : 1.0f);
        float2 row_statistics = statistics[row];
        float everywhere = smoothing / classes;
        const T* in = logits + size_t(row) * classes;
        T* out = dlogits + size_t(row) * classes;
        for (int at = lane * Values<T>::size; at < classes; at += 32 * warps * Values<T>::size) {
            Values<T> x;
            x.load(in + at, classes - at, whole);
            for (int i = 0; i < Values<T>::size; i++) {
                float p = expf(x.at[i] - row_statistics.x) * row_statistics.y;
                float wanted = everywhere + (uint32_t(at + i) == target ? 1.0f - smoothing : 0.0f);
                // An ignored row may hold anything, also NaN.
                x.at[i] = ignored ? 0.0f : factor * (p - wanted);
            }
            x.store(out + at, classes - at, whole);
        }
    }
};

KERNEL(cross_entropy_forward_1_f32, 256, CrossEntropyForward<float, 1>)
KERNEL(cross_entropy_forward_1_bf16, 256, CrossEntropyForward<bf16, 1>)
KERNEL(cross_entropy_forward_8_f32, 256, CrossEntropyForward<float, 8>)
KERNEL(cross_entropy_forward_8_bf16, 256, CrossEntropyForward<bf16, 8>)
KERNEL(cross_entropy_mean, 256, CrossEntropyMean)
KERNEL(cross_entropy_backward_f32, 256, CrossEntropyBackward<float>)
KERNEL(cross_entropy_backward_bf16, 256, CrossEntropyBackward<bf16>)
