// Two-sided contrastive losses of n pairs, in tiles: the n x n similarities are never in memory. With s_ij = scale
// x_i . y_j (+ bias for the second):
//   InfoNCE  (1 / 2 n) sum_i [log sum_j exp s_ij - s_ii] + [log sum_j exp s_ji - s_ii]
//   sigmoid  (1 / n) sum_ij log(1 + exp(-z_ij s_ij)), z_ij = 1 for i = j and -1 else (Zhai et al. 2023, eq. 1)
// Shapes: x, y [n, width]; scale, bias, upstream f32 [1] on the device. One kernel serves both sides: it has rows and
// columns, and is launched again with x and y exchanged.
//
// 4 warps per block of 64 rows; similarities by tensor cores, 64 columns of `width` at a time, copied ahead. Dynamic shared
// memory: two chunks of rows and of columns, and for the gradient the columns' part that is multiplied. Sums over blocks
// are added in order by pair_sum. Bound by tensor cores.
#include "attention/fragments.cuh"

constexpr int kChunk = 64;   // of width
constexpr int kOut = 128;    // columns of a gradient per block

template <class T>
struct Pieces {
    Tile<T, kBlockRows, kChunk> rows[2], columns[2];
};

template <class T>
struct Pairs {
    const T *rows, *columns;  // [n, width]
    const float *scale, *bias;
    int n, width;

    // Products of 64 rows with 64 columns: each warp has 16 rows of them. All threads call it.
    __device__ __forceinline__ void products(float (&s)[8][4], Pieces<T>& shared, int first_row, int first_column) const {
        auto present = [&](int row) { return row < n; };
        auto load = [&](int buffer, int chunk) {
            int at = chunk * kChunk;
            shared.rows[buffer].start_load(rows + at, width, first_row, width - at, present);
            shared.columns[buffer].start_load(columns + at, width, first_column, width - at, present);
        };
        int chunks = (width + kChunk - 1) / kChunk;
#pragma unroll
        for (int t = 0; t < 8; t++) s[t][0] = s[t][1] = s[t][2] = s[t][3] = 0.0f;
        load(0, 0);
        cp_async_commit();
#pragma unroll 1  // two chunks at once would need more registers than there are
        for (int chunk = 0; chunk < chunks; chunk++) {
            if (chunk + 1 < chunks) load((chunk + 1) & 1, chunk + 1);
            cp_async_commit();
            cp_async_wait<1>();
            __syncthreads();
            add_transposed(s, shared.rows[chunk & 1], threadIdx.x / 32 * 16, shared.columns[chunk & 1]);
            __syncthreads();
        }
    }
};

// log(1 + exp(v)), for any v.
__device__ __forceinline__ float soft_plus(float v) { return fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v))); }

__device__ __forceinline__ float row_sum(float v) {  // over the four lanes of a row
    v += __shfl_xor_sync(all_lanes, v, 1);
    return v + __shfl_xor_sync(all_lanes, v, 2);
}

template <class T, bool sigmoid>
struct PairForward {
    Pairs<T> pairs;
    float* losses;       // [n]: of each row
    float2* statistics;  // [n]: largest similarity and 1 / sum of exponentials; not for sigmoid

    __device__ __forceinline__ void run() const {
        DYNAMIC_SHARED(shared_bytes);
        Pieces<T>& shared = *reinterpret_cast<Pieces<T>*>(shared_bytes);
        int lane = threadIdx.x % 32, row = blockIdx.x * kBlockRows + threadIdx.x / 32 * 16 + lane / 4;
        float scale = pairs.scale[0], bias = sigmoid ? pairs.bias[0] : 0.0f;
        float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {}, matched[2] = {};
        for (int first = 0; first < pairs.n; first += kBlockRows) {
            float s[8][4];
            pairs.products(s, shared, blockIdx.x * kBlockRows, first);
            float tile_maximum[2] = {-INFINITY, -INFINITY};
#pragma unroll
            for (int t = 0; t < 8; t++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int column = first + 8 * t + lane % 4 * 2 + r % 2;
                    bool match = column == row + r / 2 * 8;
                    s[t][r] = scale * s[t][r] + bias;
                    if (sigmoid) {
                        total[r / 2] += column < pairs.n ? soft_plus(match ? -s[t][r] : s[t][r]) : 0.0f;
                    } else {
                        if (match) matched[r / 2] = s[t][r];
                        s[t][r] = column < pairs.n ? s[t][r] : -INFINITY;
                        tile_maximum[r / 2] = fmaxf(tile_maximum[r / 2], s[t][r]);
                    }
                }
            }
#pragma unroll
            for (int half = 0; half < (sigmoid ? 0 : 2); half++) {
                float m = tile_maximum[half];
                m = fmaxf(m, __shfl_xor_sync(all_lanes, m, 1));
                m = fmaxf(m, __shfl_xor_sync(all_lanes, m, 2));
                m = fmaxf(m, maximum[half]);  // finite: the tile has a column
                total[half] *= expf(maximum[half] - m);
                maximum[half] = m;
#pragma unroll
                for (int t = 0; t < 8; t++) total[half] += expf(s[t][2 * half] - m) + expf(s[t][2 * half + 1] - m);
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = row_sum(total[half]), match = row_sum(matched[half]);
            int here = row + 8 * half;
            if (lane % 4 != 0 || here >= pairs.n) continue;
            losses[here] = sigmoid ? sum : (maximum[half] - match) + logf(sum);
            if (!sigmoid) statistics[here] = make_float2(maximum[half], 1.0f / sum);
        }
    }
};

template <class T, bool sigmoid>
struct PairBackward {
    struct Shared {
        Pieces<T> pieces;
        Tile<T, kBlockRows, kOut> out;
        float sums[4][2];
    };

    Pairs<T> pairs;
    const float2 *statistics, *other_statistics;  // of rows and of columns
    const float* upstream;
    T* gradient;      // [n, width], of the rows
    float* partial;   // [2][blocks]: of scale and of bias; null: not asked for

    __device__ __forceinline__ void run() const {
        DYNAMIC_SHARED(shared_bytes);
        Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first_row = blockIdx.x * kBlockRows;
        int row = first_row + warp * 16 + lane / 4, first_out = blockIdx.y * kOut;
        int n = pairs.n, width = pairs.width;
        float scale = pairs.scale[0], bias = sigmoid ? pairs.bias[0] : 0.0f;
        float factor = upstream[0] / (sigmoid ? float(n) : 2.0f * float(n));
        float2 mine[2] = {};
        for (int half = 0; half < 2; half++)
            if (!sigmoid && row + 8 * half < n) mine[half] = statistics[row + 8 * half];
        float sum[kOut / 8][4] = {}, scale_sum = 0.0f, bias_sum = 0.0f;
        for (int first = 0; first < n; first += kBlockRows) {
            shared.out.start_load(pairs.columns + first_out, width, first, width - first_out,
                                  [&](int column) { return column < n; });
            float s[8][4];
            pairs.products(s, shared.pieces, first_row, first);  // waits for shared.out, too
#pragma unroll
            for (int t = 0; t < 8; t++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int column = first + 8 * t + lane % 4 * 2 + r % 2, here = row + r / 2 * 8;
                    bool match = column == here;
                    float product = s[t][r], similarity = scale * product + bias, g = 0.0f;
                    if (column < n && here < n) {
                        if (sigmoid) {
                            float signed_similarity = match ? similarity : -similarity;
                            g = (match ? -1.0f : 1.0f) / (1.0f + expf(signed_similarity));
                        } else {
                            float2 other = other_statistics[column];
                            g = expf(similarity - mine[r / 2].x) * mine[r / 2].y + expf(similarity - other.x) * other.y -
                                (match ? 2.0f : 0.0f);
                        }
                    }
                    g *= factor;
                    scale_sum += g * product;
                    bias_sum += g;
                    s[t][r] = g * scale;
                }
            }
            multiply_add(sum, s, shared.out);
            __syncthreads();
        }
        float one[2] = {1.0f, 1.0f};
        store_rows(gradient + first_out, width, sum, one, first_row + 16 * warp, n, width - first_out);
        if (!partial || blockIdx.y != 0) return;  // the whole block
        scale_sum = warp_sum(scale_sum);
        bias_sum = warp_sum(bias_sum);
        if (lane == 0) {
            shared.sums[warp][0] = scale_sum;
            shared.sums[warp][1] = bias_sum;
        }
        __syncthreads();
        if (threadIdx.x < 2) {
            float total = 0.0f;
            for (int other = 0; other < 4; other++) total += shared.sums[other][threadIdx.x];
            partial[threadIdx.x * gridDim.x + blockIdx.x] = total;
        }
    }
};

struct PairSum {
    const float* values;
    float* out;  // [1]: factor * sum of values
    int count;
    float factor;

    __device__ __forceinline__ void run() const {
        SHARED_ARRAY(double, meeting, [8]);
        double sum = 0.0;
        for (int i = threadIdx.x; i < count; i += 256) sum += values[i];
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(all_lanes, sum, offset);
        if (threadIdx.x % 32 == 0) meeting[threadIdx.x / 32] = sum;
        __syncthreads();
        if (threadIdx.x != 0) return;
        for (int warp = 1; warp < 8; warp++) sum += meeting[warp];
        out[0] = float(sum * factor);
    }
};

KERNEL(pair_softmax_forward_f32, 128, PairForward<float, false>)
KERNEL(pair_softmax_forward_bf16, 128, PairForward<bf16, false>)
KERNEL(pair_sigmoid_forward_f32, 128, PairForward<float, true>)
KERNEL(pair_sigmoid_forward_bf16, 128, PairForward<bf16, true>)
KERNEL(pair_softmax_backward_f32, 128, PairBackward<float, false>)
KERNEL(pair_softmax_backward_bf16, 128, PairBackward<bf16, false>)
KERNEL(pair_sigmoid_backward_f32, 128, PairBackward<float, true>)
KERNEL(pair_sigmoid_backward_bf16, 128, PairBackward<bf16, true>)
KERNEL(pair_sum, 256, PairSum)
