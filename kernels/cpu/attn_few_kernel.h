/* Attention for few query rows of one KV head: decode. Included by attn_kernel.h, for AVX-512.
 *
 * With few rows the lanes of attn_kernel.h would be empty, and reading K and V is what costs. Here
 * lanes are tokens for the scores (a tile of K is transposed, once for all rows) and numbers of the
 * head for the values. The order inside every sum is the same. The next tile is fetched on the
 * way. */
#pragma once

#include "kernels/cpu/vec_int.h"

#if defined(__AVX512F__)

#define ATTN_FEW 8u         /* rows at most */
#define ATTN_FEW_AT_ONCE 4u /* 4 rows by 64 tokens or numbers: 16 registers of sums */

struct attn_few_state {
    float acc[ATTN_FEW][OPS_HEAD_DIM_MAX], l[ATTN_FEW][16], m[ATTN_FEW];
};

struct attn_few {
    _Alignas(64) uint32_t q[ATTN_FEW][OPS_HEAD_DIM_MAX]; /* fp32, or pairs */
    _Alignas(64) uint32_t k[OPS_HEAD_DIM_MAX][64];       /* [items][tokens] */
    _Alignas(64) uint32_t p[ATTN_FEW][64];               /* [items]: fp32, or pairs */
    _Alignas(64) float s[ATTN_FEW_AT_ONCE][64];
    _Alignas(64) struct attn_few_state all, chunk;
    float first[ATTN_FEW], end[ATTN_FEW]; /* visible tokens of each row */
    const char *ahead, *ahead_end;        /* what is left to fetch of the next tile */
};
_Static_assert(sizeof(struct attn_few) <= ATTN_WORK_BYTES, "a thread's work has room for it");

/* Some lines at a time, all along the tile: a burst would wait for itself. The rates below add up
 * to one tile. */
ATTN_INLINE void few_fetch(struct attn_few *few, uint32_t lines)
{
    for (uint32_t i = 0; i < lines && few->ahead < few->ahead_end; i++, few->ahead += 64)
        __builtin_prefetch(few->ahead, 0, 2);
}

/* Loaded once, not folded into each product. */
ATTN_INLINE w16 few_broadcast(uint32_t x)
{
    w16 w = w_set1(x);

    __asm__("" : "+v"(w));
    return w;
}

/* A tile of K as [items][tokens]. A quarter of a register takes four items of one token. */
static inline void few_transpose(struct attn_few *few, const uint8_t *k, uint32_t items)
{
    for (uint32_t t = 0; t < 64; t += 16) {
        for (uint32_t i = 0; i < items; i += 4) {
            const uint8_t *from = k + ((size_t)t * items + i) * 4;
            size_t row = (size_t)items * 4;
            w16 w[4];

            for (uint32_t j = 0; j < 4; j++) {
                __m512i a = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(from + j * row)));

                a = _mm512_inserti32x4(a, _mm_loadu_si128((const void *)(from + (4 + j) * row)), 1);
                a = _mm512_inserti32x4(a, _mm_loadu_si128((const void *)(from + (8 + j) * row)), 2);
                w[j] = _mm512_inserti32x4(a, _mm_loadu_si128((const void *)(from + (12 + j) * row)),
                                          3);
            }
            w_transpose(w);
            for (uint32_t j = 0; j < 4; j++)
                w_store(&few->k[i + j][t], w[j]);
            few_fetch(few, 3);
        }
    }
}

/* One step of DOT: fp32, or a pair, the odd one first. */
ATTN_INLINE v16 few_step(v16 sum, w16 a, w16 b, bool pairs)
{
    if (!pairs)
        return v_fma(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
#if defined(__AVX512BF16__)
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
    const w16 upper = w_set1(0xffff0000u);

    sum = v_fma(_mm512_castsi512_ps(w_and(a, upper)), _mm512_castsi512_ps(w_and(b, upper)), sum);
    return v_fma(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)),
                 _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), sum);
#endif
}

/* Exponentials of one row: s to p, m and l go on; returns the factor for what was before. */
ATTN_INLINE v16 few_softmax(const struct attn_run *run, struct attn_few *few, uint32_t tile,
                            uint32_t row, const float *scores, bool pairs)
{
    static const float lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const struct op_attention *op = run->part->op;
    v16 most = v_set1(few->chunk.m[row]), out = v_set1(-INFINITY), base, factor, l, s[4];

    for (uint32_t g = 0; g < 4; g++) {
        s[g] = v_load(scores + 16 * g);
        if (op->softcap > 0.0f)
            s[g] = v_mul(v_set1(op->softcap * MATH_LOG2E),
                         v_tanh(v_mul(s[g], v_set1(op->scale / op->softcap))));
        else
            s[g] = v_mul(s[g], v_set1(op->scale * MATH_LOG2E));
        if (tile < run->full_first || tile + 64 > run->full_end) {
            v16 token = v_add(v_set1((float)(tile + 16 * g)), v_load(lanes));

            s[g] = v_select(v_less(token, v_set1(few->end[row])), s[g], out);
            s[g] = v_select(v_less(token, v_set1(few->first[row])), out, s[g]);
        }
        most = v_max(s[g], most);
    }
    most = v_set1(_mm512_reduce_max_ps(most));
    base = attn_base(most);
    factor = v_exp2(v_sub(v_set1(few->chunk.m[row]), base));
    few->chunk.m[row] = _mm512_cvtss_f32(most);
    for (uint32_t g = 0; g < 4; g++) {
        s[g] = v_exp2(v_sub(s[g], base));
        if (pairs) {
            __m256i narrow = v_narrow(s[g]);

            _mm256_store_si256((__m256i *)(void *)&few->p[row][8 * g], narrow);
            s[g] = v_widen(narrow);
        } else {
            v_store((float *)(void *)&few->p[row][16 * g], s[g]);
        }
    }
    l = v_mul(v_load(few->chunk.l[row]), factor);
    v_store(few->chunk.l[row], v_add(l, v_add(v_add(s[0], s[2]), v_add(s[1], s[3]))));
    return factor;
}

/* Scores and exponentials of n rows from `row` on. */
ATTN_INLINE void few_scores(const struct attn_run *run, struct attn_few *few, uint32_t tile,
                            uint32_t row, uint32_t n, v16 *factor, bool pairs)
{
    uint32_t items = pairs ? run->part->op->head_dim / 2 : run->part->op->head_dim;
    v16 s[ATTN_FEW_AT_ONCE][4];

    for (uint32_t r = 0; r < n; r++)
        for (uint32_t g = 0; g < 4; g++)
            s[r][g] = v_zero();
    for (uint32_t i = 0; i < items; i++) {
        w16 k[4];

        for (uint32_t g = 0; g < 4; g++)
            k[g] = w_load(&few->k[i][16 * g]);
        few_fetch(few, 2);
        for (uint32_t r = 0; r < n; r++) {
            w16 q = few_broadcast(few->q[row + r][i]);

            for (uint32_t g = 0; g < 4; g++)
                s[r][g] = few_step(s[r][g], q, k[g], pairs);
        }
    }
    /* Through memory: a loop over rows that is not unrolled would keep all sums there. */
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t g = 0; g < 4; g++)
            v_store(&few->s[r][16 * g], s[r][g]);
    for (uint32_t r = 0; r < n; r++)
        factor[r] = few_softmax(run, few, tile, row + r, few->s[r], pairs);
}

/* 64 numbers of two tokens as 64 pairs. */
ATTN_INLINE void few_pairs_of_64(const uint8_t *even, const uint8_t *odd, w16 out[4])
{
    const w16 low = _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a,
                                     0x290009, 0x280008, 0x270007, 0x260006, 0x250005, 0x240004,
                                     0x230003, 0x220002, 0x210001, 0x200000);
    const w16 high = w_add(low, w_set1(0x100010));

    for (uint32_t i = 0; i < 2; i++) {
        w16 a = _mm512_loadu_si512(even + 64 * i), b = _mm512_loadu_si512(odd + 64 * i);

        out[2 * i] = _mm512_permutex2var_epi16(a, low, b);
        out[2 * i + 1] = _mm512_permutex2var_epi16(a, high, b);
    }
}

/* 16 * vecs numbers from d on of V as items: those of a token, or the pairs of two. */
ATTN_INLINE void few_items(const uint8_t *v, uint32_t dim, uint32_t item, uint32_t d, uint32_t vecs,
                           w16 *out, bool pairs)
{
    const uint8_t *even = v + 2 * ((size_t)2 * item * dim + d), *odd = even + 2 * (size_t)dim;

    if (!pairs) {
        for (uint32_t i = 0; i < vecs; i++)
            out[i] = _mm512_loadu_si512(v + 4 * ((size_t)item * dim + d + 16 * i));
    } else if (vecs == 4) {
        few_pairs_of_64(even, odd, out);
    } else {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)even));
        __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)odd));

        out[0] = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    }
}

/* acc = acc * factor + p times v, 16 * vecs numbers from d on. */
ATTN_INLINE void few_values_of(struct attn_few *few, const uint8_t *v, uint32_t dim, uint32_t d,
                               uint32_t vecs, uint32_t row, uint32_t n, const v16 *factor,
                               bool pairs)
{
    v16 sum[ATTN_FEW_AT_ONCE][4];

    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < vecs; i++)
            sum[r][i] = v_mul(v_load(&few->chunk.acc[row + r][d + 16 * i]), factor[r]);
    for (uint32_t item = 0; item < (pairs ? 32 : 64); item++) {
        w16 values[4];

        few_items(v, dim, item, d, vecs, values, pairs);
        few_fetch(few, 3);
        for (uint32_t r = 0; r < n; r++) {
            w16 p = few_broadcast(few->p[row + r][item]);

            for (uint32_t i = 0; i < vecs; i++)
                sum[r][i] = few_step(sum[r][i], p, values[i], pairs);
        }
    }
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < vecs; i++)
            v_store(&few->chunk.acc[row + r][d + 16 * i], sum[r][i]);
}

/* n rows of a tile; n and pairs are constants to the compiler. */
ATTN_INLINE void few_rows(const struct attn_run *run, const uint8_t *values, uint32_t tile,
                          uint32_t row, uint32_t n, bool pairs)
{
    struct attn_few *few = run->part->work;
    uint32_t dim = run->part->op->head_dim, d = 0;
    v16 factor[ATTN_FEW_AT_ONCE];

    few_scores(run, few, tile, row, n, factor, pairs);
    for (; d + 64 <= dim; d += 64)
        few_values_of(few, values, dim, d, 4, row, n, factor, pairs);
    for (; d < dim; d += 16)
        few_values_of(few, values, dim, d, 1, row, n, factor, pairs);
}

typedef void (*few_rows_fn)(const struct attn_run *run, const uint8_t *values, uint32_t tile,
                            uint32_t row);

static void few_pairs_1(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 1, true);
}
static void few_pairs_2(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 2, true);
}
static void few_pairs_3(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 3, true);
}
static void few_pairs_4(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 4, true);
}
static void few_f32_1(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 1, false);
}
static void few_f32_2(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 2, false);
}
static void few_f32_3(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 3, false);
}
static void few_f32_4(const struct attn_run *run, const uint8_t *v, uint32_t tile, uint32_t row)
{
    few_rows(run, v, tile, row, 4, false);
}

static void few_tile(const struct attn_run *run, uint32_t tile)
{
    static const few_rows_fn rows_fns[2][ATTN_FEW_AT_ONCE] = {
        {few_f32_1, few_f32_2, few_f32_3, few_f32_4},
        {few_pairs_1, few_pairs_2, few_pairs_3, few_pairs_4},
    };
    const struct attn_part *part = run->part;
    const struct op_attention *op = part->op;
    struct attn_few *few = part->work;
    bool pairs = op->dtype != OP_F32;
    const uint8_t *k = kv_tile(&op->batch, &op->kv, part->seq, part->kv_head, tile);

    few->ahead = few->ahead_end = NULL;
    if (tile + 64 < run->end) {
        few->ahead =
            (const char *)kv_tile(&op->batch, &op->kv, part->seq, part->kv_head, tile + 64);
        few->ahead_end = few->ahead + 2 * op->kv.value_bytes;
    }
    few_transpose(few, k, pairs ? op->head_dim / 2 : op->head_dim);
    for (uint32_t row = 0; row < part->n_rows; row += ATTN_FEW_AT_ONCE) {
        uint32_t n = part->n_rows - row;

        n = n < ATTN_FEW_AT_ONCE ? n : ATTN_FEW_AT_ONCE;
        rows_fns[pairs][n - 1](run, k + op->kv.value_bytes, tile, row);
    }
    few_fetch(few, UINT32_MAX);
}

static void few_fold(struct attn_few *few, uint32_t n_rows, uint32_t dim)
{
    for (uint32_t r = 0; r < n_rows; r++) {
        v16 m_all = v_set1(few->all.m[r]), m_chunk = v_set1(few->chunk.m[r]);
        v16 m = v_max(m_chunk, m_all), base = attn_base(m);
        v16 a = v_exp2(v_sub(m_all, base)), b = v_exp2(v_sub(m_chunk, base));
        v16 l = v_set1(v_sum(v_load(few->chunk.l[r])));

        for (uint32_t d = 0; d < dim; d += 16) {
            float *at = &few->all.acc[r][d];

            v_store(at, v_fma(v_load(&few->chunk.acc[r][d]), b, v_mul(v_load(at), a)));
        }
        v_store(few->all.l[r], v_fma(l, b, v_mul(v_load(few->all.l[r]), a)));
        few->all.m[r] = _mm512_cvtss_f32(m);
    }
}

static void few_clear(struct attn_few_state *state)
{
    memset(state, 0, sizeof(*state));
    for (uint32_t r = 0; r < ATTN_FEW; r++)
        state->m[r] = -INFINITY;
}

static void few_begin(struct attn_run *run)
{
    const struct op_attention *op = run->part->op;
    struct attn_few *few = run->part->work;
    size_t number = op->dtype == OP_F32 ? 4 : 2;

    run->first = run->full_end = UINT32_MAX;
    run->end = run->full_first = 0;
    for (uint32_t r = 0; r < run->part->n_rows; r++) {
        struct attn_span span = attn_see(run, r);

        few->first[r] = (float)span.first;
        few->end[r] = (float)span.end;
        memcpy(few->q[r], (const uint8_t *)op->q + attn_place(run->part, r, op->q_stride) * number,
               op->head_dim * number);
    }
    few_clear(&few->all);
}

static void few_attention(const struct attn_part *part)
{
    struct attn_run run = {.part = part};
    const struct op_attention *op = part->op;
    struct attn_few *few = part->work;
    uint32_t tile, chunk;

    few_begin(&run);
    for (tile = run.first / 64 * 64; tile < run.end;) {
        few_clear(&few->chunk);
        for (chunk = tile / OPS_CHUNK_TOKENS; tile < run.end && tile / OPS_CHUNK_TOKENS == chunk;
             tile += 64)
            few_tile(&run, tile);
        few_fold(few, part->n_rows, op->head_dim);
    }
    for (uint32_t r = 0; r < part->n_rows; r++) {
        v16 inverse = v_div(v_set1(1.0f), v_load(few->all.l[r]));
        size_t at = attn_place(part, r, op->y_stride);

        for (uint32_t d = 0; d < op->head_dim; d += 16)
            row_write(op->y, at + d, v_add(v_mul(v_load(&few->all.acc[r][d]), inverse), v_zero()),
                      op->dtype, 16);
    }
}

#endif
