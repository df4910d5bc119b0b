// Gradients of attention_forward.cu in three kernels without atomics, so that results do not depend on order:
//   delta: sums of dout * out over each head's row, [heads][queries]
//   key:   dk and dv; one block per (64 keys, head, sequence), which visits the queries
//   query: dq; one block per (64 queries, head, sequence), which visits the keys
// The last two compute the weights again from the forward pass's statistics. Keys that are not valid and queries with
// nothing to attend to have gradients of 0. CPU twin: cpu.rs, packed_cpu.rs.
//
// 4 warps a block. Dynamic shared memory: the block's own rows, and two tiles of the other's, of which one is read while
// the next is copied. Bound by tensor cores.
#include "attention/fragments.cuh"

template <class T>
struct AttentionDelta {
    const T *out, *dout;
    float* delta;
    int queries, heads, width, out_stride, dout_stride;

    __device__ __forceinline__ void run() const {  // a warp per query and head
        int pair = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
        int query = pair / heads, head = pair % heads;
        if (query >= queries) return;
        const T* left = out + size_t(query) * out_stride + head * width;
        const T* right = dout + size_t(query) * dout_stride + head * width;
        float sum = 0.0f;
        for (int i = lane; i < width; i += 32) sum += to_float(left[i]) * to_float(right[i]);
        sum = warp_sum(sum);
        if (lane == 0) delta[size_t(head) * queries + query] = sum;
    }
};

template <class T, int width>
constexpr int other_rows() {  // more would not fit into registers
    return width <= 64 ? 64 : width > 96 && sizeof(T) == 4 ? 16 : 32;
}

template <class T, int width>
struct AttentionBackwardKey {
    static constexpr int kQueries = other_rows<T, width>();
    struct Shared {
        Tile<T, kBlockRows, width> k, v;
        Tile<T, kQueries, width> q[2], dout[2];
        float maximum[2][kQueries], inverse[2][kQueries], delta[2][kQueries];
    };

    Problem problem;
    const T *q, *k, *v, *dout;
    const float2* statistics;
    const float* delta;
    T *dk, *dv;
    int q_stride, k_stride, v_stride, dout_stride, dk_stride, dv_stride;

    __device__ __forceinline__ void run() const {
        DYNAMIC_SHARED(shared_bytes);
        Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
        const Place place(problem);
        int first_key = blockIdx.x * kBlockRows;
        if (first_key >= place.keys) return;
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32, columns = problem.width;
        size_t column = size_t(place.head) * columns;
        const T* queries = q + size_t(place.query_start) * q_stride + column;
        const T* gradients = dout + size_t(place.query_start) * dout_stride + column;
        size_t row_statistics = size_t(place.head) * problem.all_queries + place.query_start;

        int tiles = (place.queries + kQueries - 1) / kQueries;
        auto next = [&](int tile) {
            while (tile < tiles && !place.visits(tile * kQueries, first_key)) tile++;
            return tile;
        };
        auto load = [&](int buffer, int tile) {
            auto present = [&](int query) { return query < place.queries; };
            shared.q[buffer].start_load(queries, q_stride, tile * kQueries, columns, present);
            shared.dout[buffer].start_load(gradients, dout_stride, tile * kQueries, columns, present);
            if (threadIdx.x < kQueries) {
                int query = tile * kQueries + threadIdx.x;
                bool there = query < place.queries;
                float2 row = there ? statistics[row_statistics + query] : make_float2(INFINITY, 0.0f);
                shared.maximum[buffer][threadIdx.x] = row.x;
                shared.inverse[buffer][threadIdx.x] = row.y;
                shared.delta[buffer][threadIdx.x] = there ? delta[row_statistics + query] : 0.0f;
            }
        };
        auto present = [&](int key) { return place.usable(key); };
        shared.k.start_load(k + size_t(place.key_start) * k_stride + column, k_stride, first_key, columns, present);
        shared.v.start_load(v + size_t(place.key_start) * v_stride + column, v_stride, first_key, columns, present);
        // Queries before the first that may see the block's first key are not visited.
        int tile = next(first_key > place.offset ? (first_key - place.offset) / kQueries : 0);
        if (tile < tiles) load(0, tile);
        cp_async_commit();

        // Scores are transposed: rows are this warp's 16 keys, columns are queries.
        float dk_sum[width / 8][4] = {}, dv_sum[width / 8][4] = {};
        int key = first_key + 16 * warp + lane / 4;
        bool usable[2] = {place.usable(key), place.usable(key + 8)};
        float to_log2 = problem.scale * kLog2E;
        for (int now = 0; tile < tiles; now ^= 1) {
            int following = next(tile + 1);
            if (following < tiles) load(now ^ 1, following);
            cp_async_commit();
            cp_async_wait<1>();
            __syncthreads();

            float p[kQueries / 8][4], dp[kQueries / 8][4];
            multiply_transposed(p, shared.k, 16 * warp, shared.q[now]);
            multiply_transposed(dp, shared.v, 16 * warp, shared.dout[now]);
            int limit = key - place.offset - tile * kQueries;  // the first query that sees the key
#pragma unroll
            for (int n = 0; n < kQueries / 8; n++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int query = 8 * n + lane % 4 * 2 + r % 2;
                    bool seen = usable[r / 2] && query >= limit + r / 2 * 8;
                    float weight = fast_exp2(p[n][r] * to_log2 - shared.maximum[now][query]) * shared.inverse[now][query];
                    p[n][r] = seen ? weight : 0.0f;
                    dp[n][r] = p[n][r] * (dp[n][r] - shared.delta[now][query]);
                }
            }
            multiply_add(dv_sum, p, shared.dout[now]);
            multiply_add(dk_sum, dp, shared.q[now]);
            __syncthreads();
            tile = following;
        }
        cp_async_wait<0>();
        float one[2] = {1.0f, 1.0f}, scales[2] = {problem.scale, problem.scale};
        store_rows(dk + size_t(place.key_start) * dk_stride + column, dk_stride, dk_sum, scales, first_key + 16 * warp,
                   place.keys, columns);
        store_rows(dv + size_t(place.key_start) * dv_stride + column, dv_stride, dv_sum, one, first_key + 16 * warp,
                   place.keys, columns);
    }
};

template <class T, int width>
struct AttentionBackwardQuery {
    static constexpr int kKeys = other_rows<T, width>();
    struct Shared {
        Tile<T, kBlockRows, width> q, dout;
        Tile<T, kKeys, width> k[2], v[2];
        uint8_t usable[2][kKeys];
    };

    Problem problem;
    const T *q, *k, *v, *dout;
    const float2* statistics;
    const float* delta;
    T* dq;
    int q_stride, k_stride, v_stride, dout_stride, dq_stride;

    __device__ __forceinline__ void run() const {
        DYNAMIC_SHARED(shared_bytes);
        Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
        const Place place(problem);
        int first_query = blockIdx.x * kBlockRows;
        if (first_query >= place.queries) return;
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32, columns = problem.width;
        size_t column = size_t(place.head) * columns;
        const T* keys = k + size_t(place.key_start) * k_stride + column;
        const T* values = v + size_t(place.key_start) * v_stride + column;

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
        auto present = [&](int query) { return query < place.queries; };
        shared.q.start_load(q + size_t(place.query_start) * q_stride + column, q_stride, first_query, columns, present);
        shared.dout.start_load(dout + size_t(place.query_start) * dout_stride + column, dout_stride, first_query, columns,
                               present);
        int tile = next(0);
        if (tile < tiles) load(0, tile);
        cp_async_commit();

        float dq_sum[width / 8][4] = {}, maximum[2], inverse[2], row_delta[2];
        int query = first_query + 16 * warp + lane / 4;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            bool there = query + 8 * half < place.queries;
            size_t at = size_t(place.head) * problem.all_queries + place.query_start + query + 8 * half;
            float2 row = there ? statistics[at] : make_float2(INFINITY, 0.0f);
            maximum[half] = row.x;
            inverse[half] = row.y;
            row_delta[half] = there ? delta[at] : 0.0f;
        }
        float to_log2 = problem.scale * kLog2E;
        for (int now = 0; tile < tiles; now ^= 1) {
            int following = next(tile + 1);
            if (following < tiles) load(now ^ 1, following);
            cp_async_commit();
            cp_async_wait<1>();
            __syncthreads();

            float p[kKeys / 8][4], dp[kKeys / 8][4];
            multiply_transposed(p, shared.q, 16 * warp, shared.k[now]);
            multiply_transposed(dp, shared.dout, 16 * warp, shared.v[now]);
            int limit = query + place.offset - tile * kKeys;
#pragma unroll
            for (int n = 0; n < kKeys / 8; n++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    int key = 8 * n + lane % 4 * 2 + r % 2;
                    bool usable = shared.usable[now][key] && key <= limit + r / 2 * 8;
                    float weight = fast_exp2(p[n][r] * to_log2 - maximum[r / 2]) * inverse[r / 2];
                    dp[n][r] = usable ? weight * (dp[n][r] - row_delta[r / 2]) : 0.0f;
                }
            }
            multiply_add(dq_sum, dp, shared.k[now]);
            __syncthreads();
            tile = following;
        }
        cp_async_wait<0>();
        float scales[2] = {problem.scale, problem.scale};
        store_rows(dq + size_t(place.query_start) * dq_stride + column, dq_stride, dq_sum, scales, first_query + 16 * warp,
                   place.queries, columns);
    }
};

KERNEL(attention_delta_f32, 128, AttentionDelta<float>)
KERNEL(attention_delta_bf16, 128, AttentionDelta<bf16>)
#define ATTENTION_BACKWARD(width)                                                     \
    KERNEL(attention_backward_key_##width##_f32, 128, AttentionBackwardKey<float, width>)  \
    KERNEL(attention_backward_key_##width##_bf16, 128, AttentionBackwardKey<bf16, width>)  \
    KERNEL(attention_backward_query_##width##_f32, 128, AttentionBackwardQuery<float, width>) \
    KERNEL(attention_backward_query_##width##_bf16, 128, AttentionBackwardQuery<bf16, width>)
ATTENTION_BACKWARD(16)
ATTENTION_BACKWARD(32)
ATTENTION_BACKWARD(64)
ATTENTION_BACKWARD(96)
ATTENTION_BACKWARD(128)
