/* Sampling for all tables: one row a task, and what touches only the few ids that a request names.
 */
#include "kernels/cpu/sample.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "kernels/cpu/cpu.h"

size_t sample_work_bytes(uint32_t vocab)
{
    return 2 * (((size_t)vocab + 15) / 16 * 16) * sizeof(float);
}

struct sample_row sample_row_of(const struct op_sample *op, uint32_t row, void *work)
{
    struct op_sampled *out = &op->out[row];

    for (uint32_t i = 0; i < op->params[row].n_logprobs; i++) {
        out->top_tokens[i] = UINT32_MAX;
        out->top_logprobs[i] = 0.0;
    }
    return (struct sample_row){
        .params = &op->params[row],
        .z = op->logits + (size_t)row * op->stride,
        .vocab = op->vocab,
        .old = (float *)work,
        .spare = (float *)work + ((size_t)op->vocab + 15) / 16 * 16,
        .out = out,
    };
}

void sample_nothing(struct sample_row *row)
{
    row->out->token = UINT32_MAX;
    row->out->logprob = 0.0;
}

/* Larger logits first, of equal ones the smaller id. */
static bool sample_before(const struct sample_row *row, uint32_t a, uint32_t b)
{
    return row->z[a] > row->z[b] || (row->z[a] == row->z[b] && a < b);
}

void sample_top_insert(struct sample_row *row, uint32_t *n, uint32_t token)
{
    uint32_t *top = row->out->top_tokens, at = *n;

    if (at == row->params->n_logprobs && !sample_before(row, token, top[at - 1]))
        return;
    if (at < row->params->n_logprobs)
        *n = ++at;
    for (at = at - 1; at > 0 && sample_before(row, token, top[at - 1]); at--)
        top[at] = top[at - 1];
    top[at] = token;
}

static double sample_logprob(const struct sample_row *row, float z)
{
    double share = (double)row->weight * 0x1p-40;

    return ((double)z - (double)row->most) - math_log2_d(share) * MATH_LN2_D;
}

void sample_top_finish(struct sample_row *row, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        row->out->top_logprobs[i] = sample_logprob(row, row->z[row->out->top_tokens[i]]);
}

/* Keeps what the ids that are named had. Ids past the vocabulary cannot be sampled: they mean
 * nothing, here and below. */
static void keep_old(struct sample_row *row)
{
    const struct op_sampling *params = row->params;

    for (uint32_t i = 0; i < params->n_biases; i++)
        if (params->biases[i].token < row->vocab)
            row->old[params->biases[i].token] = row->z[params->biases[i].token];
    for (uint32_t i = 0; i < params->n_penalties; i++)
        if (params->penalties[i].token < row->vocab)
            row->old[params->penalties[i].token] = row->z[params->penalties[i].token];
}

static void allow_and_ban(struct sample_row *row)
{
    const struct op_sampling *params = row->params;

    if (params->allowed != NULL) {
        memcpy(row->spare, row->z, row->vocab * sizeof(row->z[0]));
        for (uint32_t i = 0; i < row->vocab; i++)
            row->z[i] = -INFINITY;
        for (uint32_t i = 0; i < params->n_allowed; i++)
            if (params->allowed[i] < row->vocab)
                row->z[params->allowed[i]] = row->spare[params->allowed[i]];
    }
    for (uint32_t i = 0; i < params->n_banned; i++)
        if (params->banned[i] < row->vocab)
            row->z[params->banned[i]] = -INFINITY;
}

void sample_adjust(struct sample_row *row)
{
    const struct op_sampling *params = row->params;

    keep_old(row);
    allow_and_ban(row);
    for (uint32_t i = 0; i < params->n_biases; i++)
        if (params->biases[i].token < row->vocab)
            row->z[params->biases[i].token] += params->biases[i].bias;
    for (uint32_t i = 0; i < params->n_penalties; i++) {
        const struct op_penalty *penalty = &params->penalties[i];
        float *z = &row->z[penalty->token];

        if (penalty->token >= row->vocab)
            continue;
        if (params->repetition != 1.0f)
            *z = *z > 0.0f ? *z / params->repetition : *z * params->repetition;
        if (penalty->emitted > 0) {
            *z = *z - params->frequency * (float)penalty->emitted;
            *z = *z - params->presence;
        }
    }
}

void sample_finish(struct sample_row *row, uint32_t token)
{
    const struct op_sampling *params = row->params;
    float z = row->z[token];

    for (uint32_t i = 0; i < params->n_biases; i++)
        if (params->biases[i].token == token)
            z = row->old[token];
    for (uint32_t i = 0; i < params->n_penalties; i++)
        if (params->penalties[i].token == token)
            z = row->old[token];
    row->out->token = token;
    row->out->logprob = sample_logprob(row, z);
}

struct sample_job {
    struct device *dev;
    const struct op_sample *op;
};

static void sample_task(void *ctx, uint32_t thread, uint32_t task)
{
    const struct sample_job *job = ctx;
    void *work = cpu_work(job->dev, thread, sample_work_bytes(job->op->vocab));

    job->dev->table->rows->sample(job->op, task, work);
}

void cpu_sample(struct device *dev, const struct op_sample *op)
{
    struct sample_job job = {dev, op};

    CHECK(op->vocab > 0 && op->vocab <= OPS_VOCAB_MAX && op->stride >= op->vocab);
    for (uint32_t row = 0; row < op->n_rows; row++) {
        CHECK(op->params[row].n_logprobs <= OPS_LOGPROBS_MAX);
        CHECK(op->params[row].n_logprobs <= op->vocab);
    }
    pool_run(dev->pool, op->n_rows, sample_task, &job);
}
