/* Attention over vec.h, for many query rows of one KV head. Included by rows_ISA.c.
 *
 * Lanes are query rows, so that everything is vertical: maxima, sums and exponentials need no
 * shuffle, and the order inside a row is the plain one. Both products are the same small one: a
 * packed matrix [items][32 rows] times numbers that are broadcast from K or V. An item is what one
 * step of DOT consumes: a pair of bf16 where there is vdpbf16ps, else one fp32; then a bf16 tile is
 * widened first, and the steps go through each pair odd first. V's pairs are of two tokens and are
 * interleaved once a tile. */
#pragma once

#include <float.h>
#include <math.h>

#include "kernels/cpu/rows_kernel.h"

#ifdef VEC_ANY

#define ATTN_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define ATTN_SUMS 16u /* registers of sums; 16 of 32 hide the latency of two products a cycle */
#define ATTN_WIDE 2u  /* vectors of rows at once */
#elif defined(__AVX2__)
#define ATTN_SUMS 4u /* of two registers each */
#define ATTN_WIDE 1u
#else
#define ATTN_SUMS 4u
#define ATTN_WIDE 1u
#endif

enum attn_items { ATTN_F32, ATTN_WIDENED, ATTN_PAIRS };

struct attn_state16 {
    float m[ATTN_ROWS], l[16][ATTN_ROWS], acc[OPS_HEAD_DIM_MAX][ATTN_ROWS];
};

struct attn_work {
    _Alignas(64) float q[OPS_HEAD_DIM_MAX][ATTN_ROWS]; /* [items][rows], fp32 or pairs */
    _Alignas(64) float s[64][ATTN_ROWS];               /* scores of a tile */
    _Alignas(64) float p[64][ATTN_ROWS];               /* [items][rows] */
    _Alignas(64) struct attn_state16 all, chunk;
    _Alignas(64) float k[64 * OPS_HEAD_DIM_MAX]; /* a widened tile */
    _Alignas(64) float v[64 * OPS_HEAD_DIM_MAX]; /* a widened or interleaved one */
    float first[ATTN_ROWS], end[ATTN_ROWS];      /* visible tokens of each row; none: 0, 0 */
};
_Static_assert(sizeof(struct attn_work) <= ATTN_WORK_BYTES, "a thread's work has room for it");

/* A task of attention on its way. */
struct attn_run {
    const struct attn_part *part;
    struct attn_work *work;
    enum attn_items items;
    uint32_t n_vecs;               /* vectors of 16 rows, 1 or 2 */
    uint32_t first, end;           /* tokens that any row sees */
    uint32_t full_first, full_end; /* tokens that every row sees */
};

/* What is broadcast: number (item, column) is at + item * item_bytes + column * column_bytes. */
struct attn_matrix {
    const char *at;
    size_t item_bytes, column_bytes;
    uint32_t n_items;
};

ATTN_INLINE v16 attn_broadcast(const char *p)
{
    float x;

    memcpy(&x, p, sizeof(x));
    v16 v = v_set1(x);
#if defined(__AVX512F__)
    /* One load for all rows, not one folded into each product: loads are what is short. */
    __asm__("" : "+v"(v));
#endif
    return v;
}

ATTN_INLINE v16 attn_step(v16 sum, v16 a, v16 b, enum attn_items items)
{
#if defined(__AVX512BF16__)
    if (items == ATTN_PAIRS)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#endif
    (void)items;
    return v_fma(a, b, sum);
}

/* sum[vector][column] goes on with all items. n_vecs and n_columns are constants to the compiler:
 * the sums stay in registers. */
ATTN_INLINE void attn_product(v16 sum[ATTN_SUMS], const float *a, const struct attn_matrix *b,
                              uint32_t n_vecs, enum attn_items items)
{
    const uint32_t n_columns = ATTN_SUMS / n_vecs, swap = items == ATTN_WIDENED;

    for (uint32_t i = 0; i < b->n_items; i++) {
        const float *a_at = a + (size_t)(i ^ swap) * ATTN_ROWS;
        const char *b_at = b->at + (i ^ swap) * b->item_bytes;
        v16 rows[ATTN_WIDE];

        for (uint32_t v = 0; v < n_vecs; v++)
            rows[v] = v_load(a_at + 16 * v);
        for (uint32_t c = 0; c < n_columns; c++) {
            v16 number = attn_broadcast(b_at + c * b->column_bytes);

            for (uint32_t v = 0; v < n_vecs; v++)
                sum[c * n_vecs + v] = attn_step(sum[c * n_vecs + v], rows[v], number, items);
        }
    }
}

/* s = q times k of a tile, scaled. */
ATTN_INLINE void attn_scores(const struct attn_run *run, const struct attn_matrix *k, uint32_t vec,
                             uint32_t n_vecs, enum attn_items items)
{
    const uint32_t n_columns = ATTN_SUMS / n_vecs;
    v16 scale = v_set1(run->part->op->scale * MATH_LOG2E);

    for (uint32_t t = 0; t < 64; t += n_columns) {
        struct attn_matrix columns = *k;
        v16 sum[ATTN_SUMS];

        columns.at += t * k->column_bytes;
        for (uint32_t i = 0; i < ATTN_SUMS; i++)
            sum[i] = v_zero();
        attn_product(sum, &run->work->q[0][16 * vec], &columns, n_vecs, items);
        for (uint32_t c = 0; c < n_columns; c++)
            for (uint32_t v = 0; v < n_vecs; v++)
                v_store(&run->work->s[t + c][16 * (vec + v)],
                        run->part->op->softcap > 0.0f ? sum[c * n_vecs + v]
                                                      : v_mul(sum[c * n_vecs + v], scale));
    }
}

/* acc = acc * factor + p times v of a tile. */
ATTN_INLINE void attn_values(const struct attn_run *run, const struct attn_matrix *values,
                             const v16 *factor, uint32_t vec, uint32_t n_vecs,
                             enum attn_items items)
{
    const uint32_t n_columns = ATTN_SUMS / n_vecs;
    struct attn_state16 *chunk = &run->work->chunk;

    for (uint32_t d = 0; d < run->part->op->head_dim; d += n_columns) {
        struct attn_matrix columns = *values;
        v16 sum[ATTN_SUMS];

        columns.at += d * 4;
        columns.column_bytes = 4;
        for (uint32_t c = 0; c < n_columns; c++)
            for (uint32_t v = 0; v < n_vecs; v++)
                sum[c * n_vecs + v] = v_mul(v_load(&chunk->acc[d + c][16 * (vec + v)]), factor[v]);
        attn_product(sum, &run->work->p[0][16 * vec], &columns, n_vecs, items);
        for (uint32_t c = 0; c < n_columns; c++)
            for (uint32_t v = 0; v < n_vecs; v++)
                v_store(&chunk->acc[d + c][16 * (vec + v)], sum[c * n_vecs + v]);
    }
}

/* What is subtracted in the exponent: m, or 0 while there is none. */
ATTN_INLINE v16 attn_base(v16 m)
{
    return v_select(v_less(m, v_set1(-FLT_MAX)), v_zero(), m);
}

/* Soft cap and mask of the tile's scores, as far as it needs them; returns their maximum and m. */
static inline v16 attn_mask(const struct attn_run *run, uint32_t tile, uint32_t vec)
{
    const struct op_attention *op = run->part->op;
    struct attn_work *work = run->work;
    bool masked = tile < run->full_first || tile + 64 > run->full_end;
    v16 m = v_load(&work->chunk.m[16 * vec]), out = v_set1(-INFINITY);
    v16 first = v_load(&work->first[16 * vec]), end = v_load(&work->end[16 * vec]);

    for (uint32_t t = 0; t < 64; t++) {
        float *at = &work->s[t][16 * vec];
        v16 s = v_load(at), token = v_set1((float)(tile + t));

        if (op->softcap > 0.0f)
            s = v_mul(v_set1(op->softcap * MATH_LOG2E),
                      v_tanh(v_mul(s, v_set1(op->scale / op->softcap))));
        if (masked) {
            s = v_select(v_less(token, end), s, out);
            s = v_select(v_less(token, first), out, s);
        }
        if (masked || op->softcap > 0.0f)
            v_store(at, s);
        m = v_max(s, m);
    }
    return m;
}

/* Packs p of two neighbouring tokens as an item, and widens what was rounded back into both. */
ATTN_INLINE void attn_round(float *item, v16 *even, v16 *odd, enum attn_items items)
{
#if defined(__AVX512BF16__)
    if (items == ATTN_PAIRS) {
        const __m512i order = _mm512_set_epi32(
            0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008,
            0x170007, 0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
        __m512i pairs = _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(*odd, *even));

        _mm512_storeu_si512(item, pairs);
        *even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        *odd = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
        return;
    }
#endif
    if (items == ATTN_WIDENED) {
        uint16_t h[16];

        v_store_bf16(h, *even);
        *even = v_load_bf16(h);
        v_store_bf16(h, *odd);
        *odd = v_load_bf16(h);
    }
    v_store(item, *even);
    v_store(item + ATTN_ROWS, *odd);
}

/* p = exp2(s - m) of a tile, and its sums. */
ATTN_INLINE void attn_exponents(const struct attn_run *run, v16 base, v16 factor, uint32_t vec,
                                enum attn_items items)
{
    struct attn_work *work = run->work;

    for (uint32_t j = 0; j < 16; j += 2) {
        v16 even[4], odd[4];

        for (uint32_t g = 0; g < 4; g++) {
            uint32_t t = 16 * g + j;
            float *item = &work->p[items == ATTN_PAIRS ? t / 2 : t][16 * vec];

            even[g] = v_exp2(v_sub(v_load(&work->s[t][16 * vec]), base));
            odd[g] = v_exp2(v_sub(v_load(&work->s[t + 1][16 * vec]), base));
            attn_round(item, &even[g], &odd[g], items);
        }
        for (uint32_t odds = 0; odds < 2; odds++) {
            const v16 *p = odds ? odd : even;
            float *l = &work->chunk.l[j + odds][16 * vec];
            v16 more = v_add(v_add(p[0], p[2]), v_add(p[1], p[3]));

            v_store(l, v_add(v_mul(v_load(l), factor), more));
        }
    }
}

/* The tile's K and V as the products want them. */
ATTN_INLINE void attn_matrices(const struct attn_run *run, const uint8_t *tile,
                               enum attn_items items, struct attn_matrix *k, struct attn_matrix *v)
{
    uint32_t dim = run->part->op->head_dim;
    const uint8_t *values = tile + run->part->op->kv.value_bytes;

    *k = (struct attn_matrix){(const char *)tile, 4, dim * 4, dim};
    *v = (struct attn_matrix){(const char *)values, dim * 4, 4, 64};
    if (items == ATTN_F32)
        return;
    v->at = (const char *)run->work->v;
#if defined(__AVX512BF16__)
    if (items == ATTN_PAIRS) {
        *k = (struct attn_matrix){(const char *)tile, 4, dim * 2, dim / 2};
        v->n_items = 32;
        for (uint32_t t = 0; t < 64; t += 2) {
            const uint8_t *row = values + t * dim * 2;

            for (uint32_t d = 0; d < dim; d += 16) {
                __m256i even = _mm256_loadu_si256((const void *)(row + 2 * d));
                __m256i odd = _mm256_loadu_si256((const void *)(row + 2 * (d + dim)));
                __m512i pairs = _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16);

                pairs = _mm512_or_si512(pairs, _mm512_cvtepu16_epi32(even));
                _mm512_storeu_si512(run->work->v + t / 2 * dim + d, pairs);
            }
        }
        return;
    }
#endif
    k->at = (const char *)run->work->k;
    for (uint32_t i = 0; i < 64 * dim; i += 16) {
        v_store(run->work->k + i, v_load_bf16((const uint16_t *)(const void *)tile + i));
        v_store(run->work->v + i, v_load_bf16((const uint16_t *)(const void *)values + i));
    }
}

/* One tile for all vectors of rows. */
ATTN_INLINE void attn_tile(const struct attn_run *run, uint32_t tile, enum attn_items items)
{
    const struct attn_part *part = run->part;
    struct attn_work *work = run->work;
    struct attn_matrix k, values;
    v16 factor[2];

    attn_matrices(run, kv_tile(&part->op->batch, &part->op->kv, part->seq, part->kv_head, tile),
                  items, &k, &values);
    if (run->n_vecs == 2 && ATTN_WIDE == 2) {
        attn_scores(run, &k, 0, ATTN_WIDE, items);
    } else {
        for (uint32_t vec = 0; vec < run->n_vecs; vec++)
            attn_scores(run, &k, vec, 1, items);
    }
    for (uint32_t vec = 0; vec < run->n_vecs; vec++) {
        v16 m = attn_mask(run, tile, vec), base = attn_base(m);

        factor[vec] = v_exp2(v_sub(v_load(&work->chunk.m[16 * vec]), base));
        v_store(&work->chunk.m[16 * vec], m);
        attn_exponents(run, base, factor[vec], vec, items);
    }
    if (run->n_vecs == 2 && ATTN_WIDE == 2) {
        attn_values(run, &values, factor, 0, ATTN_WIDE, items);
    } else {
        for (uint32_t vec = 0; vec < run->n_vecs; vec++)
            attn_values(run, &values, &factor[vec], vec, 1, items);
    }
}

static void attn_tile_f32(const struct attn_run *run, uint32_t tile)
{
    attn_tile(run, tile, ATTN_F32);
}

#if defined(__AVX512BF16__)
#define ATTN_BF16 ATTN_PAIRS
#else
#define ATTN_BF16 ATTN_WIDENED
#endif

static void attn_tile_bf16(const struct attn_run *run, uint32_t tile)
{
    attn_tile(run, tile, ATTN_BF16);
}

static void attn_clear(const struct attn_run *run, struct attn_state16 *state)
{
    for (uint32_t r = 0; r < ATTN_ROWS; r++)
        state->m[r] = -INFINITY;
    memset(state->l, 0, sizeof(state->l));
    memset(state->acc, 0, run->part->op->head_dim * sizeof(state->acc[0]));
}

static void attn_fold(const struct attn_run *run, uint32_t vec)
{
    struct attn_state16 *all = &run->work->all, *chunk = &run->work->chunk;
    v16 m_all = v_load(&all->m[16 * vec]), m_chunk = v_load(&chunk->m[16 * vec]);
    v16 m = v_max(m_chunk, m_all), base = attn_base(m);
    v16 a = v_exp2(v_sub(m_all, base)), b = v_exp2(v_sub(m_chunk, base)), l[16];

    for (uint32_t j = 0; j < 16; j++)
        l[j] = v_load(&chunk->l[j][16 * vec]);
    for (uint32_t half = 8; half > 0; half /= 2)
        for (uint32_t j = 0; j < half; j++)
            l[j] = v_add(l[j], l[j + half]);
    for (uint32_t d = 0; d < run->part->op->head_dim; d++) {
        float *at = &all->acc[d][16 * vec];

        v_store(at, v_fma(v_load(&chunk->acc[d][16 * vec]), b, v_mul(v_load(at), a)));
    }
    v_store(&all->l[0][16 * vec], v_fma(l[0], b, v_mul(v_load(&all->l[0][16 * vec]), a)));
    v_store(&all->m[16 * vec], m);
}

/* Where the row of the part lies in q or y, in numbers. */
static inline size_t attn_place(const struct attn_part *part, uint32_t row, uint32_t stride)
{
    uint32_t group = part->op->n_heads / part->op->n_kv_heads, r = part->row + row;

    return (size_t)(part->seq->row + r / group) * stride +
           (size_t)(part->kv_head * group + r % group) * part->op->head_dim;
}

/* Tokens from first up to end, which is not one of them. */
struct attn_span {
    uint32_t first, end;
};

/* What a row sees; adds it to what any and every row sees. */
static inline struct attn_span attn_see(struct attn_run *run, uint32_t row)
{
    const struct op_attention *op = run->part->op;
    uint32_t group = op->n_heads / op->n_kv_heads;
    uint32_t end = run->part->seq->position + (run->part->row + row) / group + 1;
    uint32_t first = op->window > 0 && end > op->window ? end - op->window : 0;

    run->first = first < run->first ? first : run->first;
    run->end = end > run->end ? end : run->end;
    run->full_first = first > run->full_first ? first : run->full_first;
    run->full_end = end < run->full_end ? end : run->full_end;
    return (struct attn_span){first, end};
}

/* Packs q and finds what the rows see. */
static void attn_begin(struct attn_run *run)
{
    const struct op_attention *op = run->part->op;
    uint32_t dim = op->head_dim;
    struct attn_work *work = run->work;

    memset(work->q, 0, dim * sizeof(work->q[0]));
    memset(work->end, 0, sizeof(work->end));
    memset(work->first, 0, sizeof(work->first));
    run->first = run->full_end = UINT32_MAX;
    run->end = run->full_first = 0;
    for (uint32_t r = 0; r < run->part->n_rows; r++) {
        struct attn_span span = attn_see(run, r);
        size_t at = attn_place(run->part, r, op->q_stride);

        work->end[r] = (float)span.end;
        work->first[r] = (float)span.first;
        if (run->items == ATTN_PAIRS) {
            for (uint32_t i = 0; i < dim / 2; i++)
                memcpy(&work->q[i][r], (const uint16_t *)op->q + at + 2 * (size_t)i, 4);
        } else {
            for (uint32_t i = 0; i < dim; i++)
                work->q[i][r] = op->dtype == OP_F32
                                    ? ((const float *)op->q)[at + i]
                                    : f32_of_bf16(((const uint16_t *)op->q)[at + i]);
        }
    }
}

/* y = acc / l, from lanes back to rows, 16 numbers of 16 rows at a time. */
static void attn_end(const struct attn_run *run, uint32_t vec)
{
    const struct op_attention *op = run->part->op;
    const struct attn_state16 *all = &run->work->all;
    v16 inverse = v_div(v_set1(1.0f), v_load(&all->l[0][16 * vec]));
    uint32_t n_rows = row_left(16 * vec, run->part->n_rows);

    for (uint32_t d = 0; d < op->head_dim; d += 16) {
        float out[16][16], row[16];

        for (uint32_t i = 0; i < 16; i++)
            v_store(out[i], v_add(v_mul(v_load(&all->acc[d + i][16 * vec]), inverse), v_zero()));
        for (uint32_t r = 0; r < n_rows; r++) {
            for (uint32_t i = 0; i < 16; i++)
                row[i] = out[i][r];
            row_write(op->y, attn_place(run->part, 16 * vec + r, op->y_stride) + d, v_load(row),
                      op->dtype, 16);
        }
    }
}

static void many_attention(const struct attn_part *part)
{
    struct attn_run run = {.part = part,
                           .work = part->work,
                           .items = part->op->dtype == OP_F32 ? ATTN_F32 : ATTN_BF16,
                           .n_vecs = (part->n_rows + 15) / 16};
    uint32_t tile, chunk;

    attn_begin(&run);
    attn_clear(&run, &run.work->all);
    tile = run.first / 64 * 64;
    while (tile < run.end) {
        attn_clear(&run, &run.work->chunk);
        for (chunk = tile / OPS_CHUNK_TOKENS; tile < run.end && tile / OPS_CHUNK_TOKENS == chunk;
             tile += 64) {
            if (run.items == ATTN_F32)
                attn_tile_f32(&run, tile);
            else
                attn_tile_bf16(&run, tile);
        }
        for (uint32_t vec = 0; vec < run.n_vecs; vec++)
            attn_fold(&run, vec);
    }
    for (uint32_t vec = 0; vec < run.n_vecs; vec++)
        attn_end(&run, vec);
}

#endif

#include "kernels/cpu/attn_few_kernel.h"

#ifdef VEC_ANY

static void rows_attention(const struct attn_part *part)
{
#ifdef ATTN_FEW
    if (part->n_rows <= ATTN_FEW) {
        few_attention(part);
        return;
    }
#endif
    many_attention(part);
}

#endif
