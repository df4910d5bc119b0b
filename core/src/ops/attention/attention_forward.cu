// softmax(q k^T scale) v per head, with online softmax: weights are never in memory. Shapes: q, out [queries, heads x
// width] and k, v [keys, heads x width] with a stride of their own each; statistics [heads][queries] for the backward
// pass: largest score (times log2 e) and 1 / sum of exponentials. Queries with nothing to attend to give 0.
// CPU twin: cpu.rs, packed_cpu.rs.
//
// One block of 4 warps per (64 queries, head, sequence). Dynamic shared memory: the queries, and key and value tiles
// twice: one pair is read while the next is copied. Bound by tensor cores.
#include "attention/fragments.cuh"

template <class T, int width>
struct AttentionForward {
    static constexpr int kKeys = sizeof(T) * width > 256 ? 32 : 64;  // rows of a key tile
    struct Shared {
        Tile<T, kBlockRows, width> q;
        Tile<T, kKeys, width> k[2], v[2];
        uint8_t usable[2][kKeys];
    };

    Problem problem;
    const T *q, *k, *v;
    T* out;
    float2* statistics;
    int q_stride, k_stride, v_stride, out_stride;

    __device__ __forceinline__ void run() const {
        DYNAMIC_SHARED(shared_bytes);
        Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
        const Place place(problem);
        int first_query = blockIdx.x * kBlockRows;
        if (first_query >= place.queries) return;  // the whole block leaves
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32, columns = problem.width;
        const T* keys = k + size_t(place.key_start) * k_stride + place.head * columns;
        const T* values = v + size_t(place.key_start) * v_stride + place.head * columns;

        // Keys beyond what the block's last query may see are not visited.
        int seen = min(place.keys, min(first_query + kBlockRows, place.queries) + place.offset);
        int tiles = seen > 0 ? (seen + kKeys - 1) / kKeys : 0;
        auto next = [&](int tile) {
            while (tile < tiles && !place.visits(first_query, tile * kKeys)) tile++;
            return tile;
        };
        auto load = [&](int buffer, int tile) {
            auto present = [&](int key) { return place.usable(key); };
            shared.k[buffer].start_load(keys, k_stride, tile * kKeys, columns, present);
            shared.v[buffer].start_load(values, v_stride, tile * kKeys, columns, present);
            if (threadIdx.x < kKeys) shared.usable[buffer][threadIdx.x] = place.usable(tile * kKeys + threadIdx.x);
        };
        shared.q.start_load(q + size_t(place.query_start) * q_stride + place.head * columns, q_stride, first_query, columns,
                            [&](int query) { return query < place.queries; });
        int tile = next(0);
        if (tile < tiles) load(0, tile);
        cp_async_commit();

        float sum[width / 8][4] = {};                              // not yet divided
        float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {};  // of rows lane / 4 and lane / 4 + 8
        float to_log2 = problem.scale * kLog2E;
        for (int now = 0; tile < tiles; now ^= 1) {
            int following = next(tile + 1);
            if (following < tiles) load(now ^ 1, following);
            cp_async_commit();
            cp_async_wait<1>();  // all but the tile just asked for
            __syncthreads();     // what others copied is there too

            float score[kKeys / 8][4];
            multiply_transposed(score, shared.q, 16 * warp, shared.k[now]);
            float tile_maximum[2] = {-INFINITY, -INFINITY};
            int query = first_query + 16 * warp + lane / 4, limit = query + place.offset - tile * kKeys;
#pragma unroll
            for (int n = 0; n < kKeys / 8; n++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int column = 8 * n + lane % 4 * 2 + r % 2;
                    bool usable = shared.usable[now][column] && column <= limit + r / 2 * 8;
                    score[n][r] = usable ? score[n][r] * to_log2 : -INFINITY;
                    tile_maximum[r / 2] = fmaxf(tile_maximum[r / 2], score[n][r]);
                }
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float m = tile_maximum[half];
                m = fmaxf(m, __shfl_xor_sync(all_lanes, m, 1));  // the four lanes of a row
                m = fmaxf(m, __shfl_xor_sync(all_lanes, m, 2));
                m = fmaxf(m, maximum[half]);
                float shift = m == -INFINITY ? 0.0f : m;
                float rescale = fast_exp2(maximum[half] - shift);
                maximum[half] = m;
                total[half] *= rescale;
#pragma unroll
                for (int n = 0; n < kKeys / 8; n++) {
#pragma unroll
                    for (int r = 2 * half; r < 2 * half + 2; r++) {
                        score[n][r] = fast_exp2(score[n][r] - shift);
                        total[half] += score[n][r];
                    }
                }
#pragma unroll
                for (int n = 0; n < width / 8; n++) {
                    sum[n][2 * half] *= rescale;
                    sum[n][2 * half + 1] *= rescale;
                }
            }
            multiply_add(sum, score, shared.v[now]);
            __syncthreads();  // all are done with this tile before it is overwritten
            tile = following;
        }
        cp_async_wait<0>();

        float inverse[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum_of_lanes = total[half];
            sum_of_lanes += __shfl_xor_sync(all_lanes, sum_of_lanes, 1);
            sum_of_lanes += __shfl_xor_sync(all_lanes, sum_of_lanes, 2);
            inverse[half] = sum_of_lanes > 0.0f ? 1.0f / sum_of_lanes : 0.0f;
            int query = first_query + 16 * warp + lane / 4 + 8 * half;
            if (lane % 4 == 0 && query < place.queries)
                statistics[size_t(place.head) * problem.all_queries + place.query_start + query] =
                    make_float2(sum_of_lanes > 0.0f ? maximum[half] : INFINITY, inverse[half]);
        }
        store_rows(out + size_t(place.query_start) * out_stride + place.head * columns, out_stride, sum, inverse,
                   first_query + 16 * warp, place.queries, columns);
    }
};

KERNEL(attention_forward_16_f32, 128, AttentionForward<float, 16>)
KERNEL(attention_forward_32_f32, 128, AttentionForward<float, 32>)
KERNEL(attention_forward_64_f32, 128, AttentionForward<float, 64>)
KERNEL(attention_forward_96_f32, 128, AttentionForward<float, 96>)
KERNEL(attention_forward_128_f32, 128, AttentionForward<float, 128>)
KERNEL(attention_forward_16_bf16, 128, AttentionForward<bf16, 16>)
KERNEL(attention_forward_32_bf16, 128, AttentionForward<bf16, 32>)
KERNEL(attention_forward_64_bf16, 128, AttentionForward<bf16, 64>)
KERNEL(attention_forward_96_bf16, 128, AttentionForward<bf16, 96>)
KERNEL(attention_forward_128_bf16, 128, AttentionForward<bf16, 128>)
