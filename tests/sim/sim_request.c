/* What the simulated clients ask: prompts as ids or chats, sampling of every kind, and the stream
 * that an undisturbed oracle gives for it. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/sim.h"

/* n ids that differ. */
static struct wire_u32s draw_ids(struct rand *rng, uint32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        bool again;

        do {
            ids[i] = (uint32_t)rand_below(rng, ORACLE_VOCAB);
            again = false;
            for (uint32_t k = 0; k < i; k++)
                again |= ids[k] == ids[i];
        } while (again);
    }
    return (struct wire_u32s){ids, n};
}

/* Seldom nothing is left to sample: the same ids are allowed and bad, or only stop ids are allowed
 * before min_tokens. */
static void draw_lists(struct rand *rng, struct sim_request *request)
{
    struct wire_sampling *sampling = &request->generate.sampling;

    if (rand_chance(rng, 1, 4)) {
        sampling->bias_ids = draw_ids(rng, request->bias_ids, 1 + (uint32_t)rand_below(rng, 3));
        for (uint32_t i = 0; i < sampling->bias_ids.n; i++)
            request->bias_values[i] = rand_unit(rng) * 200 - 100;
        sampling->bias_values = (struct wire_f64s){request->bias_values, sampling->bias_ids.n};
    }
    if (rand_chance(rng, 1, 4))
        sampling->allowed_ids =
            draw_ids(rng, request->allowed_ids, 1 + (uint32_t)rand_below(rng, SIM_LIST_MAX));
    if (rand_chance(rng, 1, 4))
        sampling->bad_ids =
            draw_ids(rng, request->bad_ids, 1 + (uint32_t)rand_below(rng, SIM_LIST_MAX));
    if (rand_chance(rng, 1, 4)) {
        sampling->stop_ids = draw_ids(rng, request->stop_ids, 1);
        request->stop_ids[0] = 'a' + request->stop_ids[0] % 26;
        sampling->min_tokens = (uint32_t)rand_below(rng, sampling->max_tokens);
    }
    if (rand_chance(rng, 1, 30)) {
        sampling->allowed_ids = draw_ids(rng, request->allowed_ids, 1);
        if (rand_chance(rng, 1, 2))
            sampling->bad_ids = sampling->allowed_ids;
        else
            sampling->stop_ids = sampling->allowed_ids;
    }
}

/* A chat instead of ids, with the prompt that SIM_TEMPLATE makes of it. */
static void draw_chat(struct rand *rng, struct sim_request *request, uint32_t n_prompt)
{
    const uint32_t n = n_prompt - SIM_TEMPLATE_BYTES;
    char text[SIM_LEN_MAX];

    for (uint32_t i = 0; i < n; i++)
        request->text[i] = (char)('a' + rand_below(rng, 26));
    request->role = wire_span_of("user");
    request->content = (struct wire_span){request->text, n};
    request->generate.roles = (struct wire_texts){&request->role, 1};
    request->generate.contents = (struct wire_texts){&request->content, 1};
    CHECK((uint32_t)snprintf(text, sizeof(text), "<user>%.*s", (int)n, request->text) == n_prompt);
    for (uint32_t i = 0; i < n_prompt; i++)
        request->prompt[i] = (uint8_t)text[i];
}

static void draw_prompt(struct sim *sim, struct sim_request *request)
{
    struct rand *rng = &sim->rng;
    struct wire_generate *generate = &request->generate;
    uint32_t n_prompt = 1 + (uint32_t)rand_below(rng, rand_chance(rng, 1, 2) ? 40 : 200);
    uint32_t max_tokens = 1 + (uint32_t)rand_below(rng, rand_chance(rng, 1, 3) ? 80 : 20);

    /* Long answers to short prompts make pools run dry: little is reserved, much is needed. */
    if ((sim->faults & SIM_FAULT_POOL) && rand_chance(rng, 1, 2)) {
        n_prompt = 1 + (uint32_t)rand_below(rng, 20);
        max_tokens = 100 + (uint32_t)rand_below(rng, 140);
    }
    if (n_prompt + max_tokens > SIM_LEN_MAX)
        max_tokens = SIM_LEN_MAX - n_prompt;
    generate->sampling.max_tokens = max_tokens;
    for (uint32_t i = 0; i < n_prompt; i++)
        request->prompt[i] = (uint32_t)rand_below(rng, ORACLE_VOCAB);
    request->n_prompt = n_prompt;
    if (n_prompt > SIM_TEMPLATE_BYTES && rand_chance(rng, 1, 5))
        draw_chat(rng, request, n_prompt);
    else
        generate->tokens = (struct wire_u32s){request->prompt, n_prompt};
}

void sim_request_draw(struct sim *sim, struct sim_request *request)
{
    struct rand *rng = &sim->rng;
    struct wire_generate *generate = &request->generate;
    struct oracle_stream truth = {.tokens = request->truth,
                                  .logprobs = request->truth_logprobs,
                                  .tops = request->truth_tops,
                                  .max = SIM_LEN_MAX};
    struct wire_msg msg;
    struct engine_job job;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    *generate = msg.generate;
    draw_prompt(sim, request);
    generate->sampling.temperature = rand_unit(rng) * 2;
    generate->sampling.top_k = (uint32_t)rand_below(rng, 50);
    generate->sampling.ignore_eos = rand_chance(rng, 1, 3);
    if (rand_chance(rng, 1, 3))
        generate->sampling.logprobs = 1 + (uint32_t)rand_below(rng, WIRE_TOPS_MAX);
    draw_lists(rng, request);
    generate->seeded = true;
    generate->seed = rand_u64(rng);
    generate->credits = rand_chance(rng, 1, 2) ? 0 : (uint32_t)rand_between(rng, 1, 30);
    job = (struct engine_job){.mode = ENGINE_WHOLE,
                              .prompt = {request->prompt, request->n_prompt},
                              .sampling = &generate->sampling,
                              .seed = generate->seed,
                              .eos = oracle_eos,
                              .n_eos = ORACLE_N_EOS};
    CHECK(oracle_stream(&sim->oracle, &job, &truth) == STATUS_OK);
    request->n_truth = truth.n;
    request->truth_fails = truth.failed;
    sim_text_draw(sim, request);
}

bool sim_request_tops_equal(const struct sim_request *request, const struct wire_token *token)
{
    const uint32_t n = request->generate.sampling.logprobs;
    const struct engine_top *tops = request->truth_tops + token->index * n;

    if (token->top_ids.n != n || token->top_logprobs.len != n * sizeof(double) ||
        memcmp(&token->logprob, &request->truth_logprobs[token->index], sizeof(double)) != 0)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (token->top_ids.at[i] != tops[i].token ||
            memcmp(token->top_logprobs.at + i * sizeof(double), &tops[i].logprob, sizeof(double)) !=
                0)
            return false;
    return true;
}
