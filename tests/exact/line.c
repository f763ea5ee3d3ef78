/* See line.h. */
#include "tests/exact/line.h"

#include "base/rand.h"

/* Most are short, some lie about a block's border, few pass a chunk of attention. */
static uint32_t choose_length(struct rand *rng)
{
    switch (rand_below(rng, 32)) {
    case 0:
        return (uint32_t)rand_between(rng, 505, LINE_MAX);
    case 1:
    case 2:
    case 3:
        return (uint32_t)rand_between(rng, 62, 66);
    case 4:
    case 5:
        return (uint32_t)rand_between(rng, 126, 130);
    case 6:
    case 7:
    case 8:
    case 9:
        return (uint32_t)rand_between(rng, 67, 200);
    default:
        return (uint32_t)rand_between(rng, 1, 48);
    }
}

void line_make(struct line *line, uint64_t epoch, uint32_t number, uint32_t vocab, uint32_t len_max)
{
    const uint64_t family = (epoch << 32) + number / LINE_SIBLINGS;
    struct rand shared, own;

    rand_init(&shared, family);
    rand_init(&own, (family << 8) + number % LINE_SIBLINGS + 1);
    line->n_shared = choose_length(&shared);
    line->seed = rand_u64(&own);
    line->n = choose_length(&own);
    if (rand_chance(&own, 1, 3)) /* else few would use what they share */
        line->n += line->n_shared;
    if (line->n > LINE_MAX)
        line->n = LINE_MAX;
    if (line->n > len_max)
        line->n = len_max;
    for (uint32_t i = 0; i < line->n; i++)
        line->ids[i] = (uint32_t)rand_below(i < line->n_shared ? &shared : &own, vocab);
}

uint32_t line_common(const struct line *a, const struct line *b)
{
    uint32_t n = 0;

    while (n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static uint32_t list_penalties(const struct line *line, uint32_t n, struct op_penalty *list)
{
    uint32_t n_list = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;

        while (at < n_list && list[at].token != line->ids[i])
            at++;
        if (at == n_list)
            list[n_list++] = (struct op_penalty){.token = line->ids[i]};
        list[at].emitted += i >= line->n / 2;
    }
    return n_list;
}

static uint32_t list_ids(struct rand *rng, uint32_t vocab, uint32_t *list)
{
    const uint32_t n = (uint32_t)rand_between(rng, 1, LINE_LIST_MAX);

    for (uint32_t i = 0; i < n; i++)
        list[i] = (uint32_t)rand_below(rng, vocab);
    return n;
}

void line_sampling(const struct line *line, uint32_t position, uint32_t vocab,
                   struct line_lists *lists, struct op_sampling *out)
{
    struct rand rng;

    rand_init(&rng, line->seed + position);
    *out = (struct op_sampling){
        .seed = line->seed,
        .position = position,
        .temperature = rand_chance(&rng, 1, 3) ? 0 : (float)(0.3 + 1.5 * rand_unit(&rng)),
        .top_p = rand_chance(&rng, 1, 3) ? (float)(0.3 + 0.7 * rand_unit(&rng)) : 1,
        .min_p = rand_chance(&rng, 1, 5) ? (float)(0.1 * rand_unit(&rng)) : 0,
        .top_k = rand_chance(&rng, 1, 3) ? (uint32_t)rand_between(&rng, 1, 60) : 0,
        .repetition = 1,
        .n_logprobs = rand_chance(&rng, 1, 2) ? (uint32_t)rand_between(&rng, 0, 20) : 0,
        .penalties = lists->penalties,
        .biases = lists->biases,
        .banned = lists->banned,
    };
    if (rand_chance(&rng, 1, 4)) {
        out->repetition = (float)(0.7 + rand_unit(&rng));
        out->presence = (float)(rand_unit(&rng) - 0.3);
        out->frequency = (float)(rand_unit(&rng) - 0.3);
        out->n_penalties = list_penalties(line, position, lists->penalties);
    }
    if (rand_chance(&rng, 1, 4)) {
        out->n_biases = (uint32_t)rand_between(&rng, 1, LINE_LIST_MAX);
        for (uint32_t i = 0; i < out->n_biases; i++)
            lists->biases[i] = (struct op_bias){.token = (uint32_t)rand_below(&rng, vocab),
                                                .bias = (float)(10 * rand_unit(&rng) - 5)};
    }
    if (rand_chance(&rng, 1, 6)) {
        out->allowed = lists->allowed;
        out->n_allowed = list_ids(&rng, vocab, lists->allowed);
    }
    if (rand_chance(&rng, 1, 4))
        out->n_banned = list_ids(&rng, vocab, lists->banned);
}
