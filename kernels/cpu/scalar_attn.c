/* Attention in plain C, row by row: the definition (NUMERICS.md). Chunks of 512 tokens have a state
 * each and are folded ascending; inside, tiles of 64 tokens go on with the state. */
#include "kernels/cpu/rows.h"

#include <math.h>

#include "kernels/cpu/scalar.h"

struct attn_state {
    float m, l[16], acc[OPS_HEAD_DIM_MAX];
};

/* One query row and what it sees. */
struct attn_row {
    const struct attn_part *part;
    const void *q;
    uint32_t first, last; /* visible tokens */
};

static float attn_score(const struct attn_row *row, const void *k)
{
    const struct op_attention *op = row->part->op;
    float s = 0.0f;

    for (uint32_t i = 0; i < op->head_dim; i++) {
        uint32_t d = scalar_dot_order(i, op->dtype);

        s = math_fma(scalar_read(row->q, d, op->dtype), scalar_read(k, d, op->dtype), s);
    }
    if (op->softcap > 0.0f)
        return op->softcap * MATH_LOG2E * math_tanh(s * (op->scale / op->softcap));
    return s * (op->scale * MATH_LOG2E);
}

/* exp2(x - m) where m may be that of an empty state. */
static float attn_exp(float x, float m)
{
    return math_exp2(x - (m == -INFINITY ? 0.0f : m));
}

static void attn_tile(const struct attn_row *row, uint32_t tile, struct attn_state *state)
{
    const struct op_attention *op = row->part->op;
    const uint8_t *k = kv_tile(&op->batch, &op->kv, row->part->seq, row->part->kv_head, tile);
    const uint8_t *v = k + op->kv.value_bytes;
    size_t token_bytes = op->head_dim * scalar_bytes(op->dtype);
    float p[64], m = state->m, factor;

    for (uint32_t t = 0; t < 64; t++) {
        p[t] = -INFINITY;
        if (tile + t >= row->first && tile + t <= row->last)
            p[t] = attn_score(row, k + t * token_bytes);
        m = p[t] > m ? p[t] : m;
    }
    factor = attn_exp(state->m, m);
    for (uint32_t t = 0; t < 64; t++)
        p[t] = scalar_round(attn_exp(p[t], m), op->dtype);
    for (uint32_t j = 0; j < 16; j++) {
        state->l[j] = state->l[j] * factor;
        state->l[j] = state->l[j] + ((p[j] + p[j + 32]) + (p[j + 16] + p[j + 48]));
    }
    for (uint32_t d = 0; d < op->head_dim; d++) {
        float acc = state->acc[d] * factor;

        for (uint32_t i = 0; i < 64; i++) {
            uint32_t t = scalar_dot_order(i, op->dtype);

            acc = math_fma(p[t], scalar_read(v + t * token_bytes, d, op->dtype), acc);
        }
        state->acc[d] = acc;
    }
    state->m = m;
}

/* Folds a chunk's state, its l reduced to l[0], into what came before. */
static void attn_fold(struct attn_state *all, struct attn_state *chunk, uint32_t head_dim)
{
    float m = chunk->m > all->m ? chunk->m : all->m;
    float a = attn_exp(all->m, m), b = attn_exp(chunk->m, m);

    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            chunk->l[j] = chunk->l[j] + chunk->l[j + half];
    for (uint32_t d = 0; d < head_dim; d++)
        all->acc[d] = math_fma(chunk->acc[d], b, all->acc[d] * a);
    all->l[0] = math_fma(chunk->l[0], b, all->l[0] * a);
    all->m = m;
}

static void attn_row(const struct attn_row *row, void *y)
{
    const struct op_attention *op = row->part->op;
    struct attn_state all = {.m = -INFINITY};

    for (uint32_t chunk = row->first / OPS_CHUNK_TOKENS; chunk <= row->last / OPS_CHUNK_TOKENS;
         chunk++) {
        struct attn_state state = {.m = -INFINITY};
        uint32_t from = chunk * OPS_CHUNK_TOKENS, to = from + OPS_CHUNK_TOKENS;

        from = from > row->first / 64 * 64 ? from : row->first / 64 * 64;
        for (uint32_t tile = from; tile < to && tile <= row->last; tile += 64)
            attn_tile(row, tile, &state);
        attn_fold(&all, &state, op->head_dim);
    }
    for (uint32_t d = 0; d < op->head_dim; d++)
        scalar_write(y, d, all.acc[d] * (1.0f / all.l[0]) + 0.0f, op->dtype);
}

void scalar_attention(const struct attn_part *part)
{
    const struct op_attention *op = part->op;
    uint32_t group = op->n_heads / op->n_kv_heads;
    size_t bytes = scalar_bytes(op->dtype);

    for (uint32_t r = part->row; r < part->row + part->n_rows; r++) {
        uint32_t position = part->seq->position + r / group;
        size_t row = part->seq->row + r / group;
        size_t head_at = (part->kv_head * group + r % group) * op->head_dim;
        struct attn_row at = {
            .part = part,
            .q = (const uint8_t *)op->q + (row * op->q_stride + head_at) * bytes,
            .first = op->window > 0 && position >= op->window ? position - op->window + 1 : 0,
            .last = position,
        };

        attn_row(&at, (uint8_t *)op->y + (row * op->y_stride + head_at) * bytes);
    }
}
