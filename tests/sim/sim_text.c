/* Stop strings of the simulated requests, and what their readers must see of a stream: the text
 * that comes with each token, where it ends, and why. Worked out by looking at the whole text again
 * and again, as nobody would do it in a router. */
#include <string.h>

#include "base/check.h"
#include "engine/seq.h"
#include "tests/sim/sim.h"

/* The whole text, and where each token's piece of it ends. */
struct whole {
    size_t len;
    size_t ends[SIM_LEN_MAX];
};

static void add(struct sim_text *text, struct whole *whole, const char *bytes, size_t len)
{
    CHECK(len <= sizeof(text->bytes) - whole->len);
    memcpy(text->bytes + whole->len, bytes, len);
    whole->len += len;
}

/* Without stop strings. */
static void read_ids(const struct sim *sim, struct sim_request *request, struct whole *whole)
{
    const struct wire_sampling *sampling = &request->generate.sampling;
    struct sim_text *text = &request->truth_text;
    struct detokenizer *detok;
    const char *bytes;
    size_t len;

    text->end = "";
    text->stop = (struct wire_span){NULL, 0};
    text->stop_id = WIRE_NO_ID;
    whole->len = 0;
    CHECK(detokenizer_create(sim->tok, true, &detok) == STATUS_OK);
    for (uint32_t i = 0; i < request->n_truth; i++) {
        const uint32_t id = request->truth[i];
        const bool last = i + 1 == request->n_truth && !request->truth_fails;
        bool by_id = false;

        if (last) {
            CHECK(seq_ends(sampling, oracle_eos, ORACLE_N_EOS, i, id, &by_id));
            text->end = by_id ? "stop" : "length";
            text->stop_id = by_id ? id : WIRE_NO_ID;
        }
        if (!by_id || request->generate.include_stop) {
            CHECK(detokenizer_push(detok, id, &bytes, &len) == STATUS_OK);
            add(text, whole, bytes, len);
        }
        if (last) {
            CHECK(detokenizer_flush(detok, &bytes, &len) == STATUS_OK);
            add(text, whole, bytes, len);
        }
        whole->ends[i] = whole->len;
    }
    detokenizer_destroy(detok);
}

/* Pieces of the answer itself, or a letter or two. */
static void draw_stops(struct rand *rng, struct sim_request *request, const struct whole *whole)
{
    const uint32_t n = 1 + (uint32_t)rand_below(rng, SIM_STOPS_MAX);

    for (uint32_t i = 0; i < n; i++) {
        char *bytes = request->stop_bytes[i];
        size_t len = 1 + rand_below(rng, 2);

        for (size_t k = 0; k < len; k++)
            bytes[k] = (char)('a' + rand_below(rng, 26));
        if (whole->len > 0 && rand_chance(rng, 1, 2)) {
            const size_t from = rand_below(rng, whole->len);

            len = 1 + rand_below(rng, SIM_STOP_BYTES_MAX);
            if (len > whole->len - from)
                len = whole->len - from;
            memcpy(bytes, request->truth_text.bytes + from, len);
        }
        request->stops[i] = (struct wire_span){bytes, len};
    }
    request->generate.stop = (struct wire_texts){request->stops, n};
}

/* The longest stop string that the text before `end` ends with, of those that begin at `from` or
 * later; none: its len is 0. */
static struct wire_span found_at(const struct sim_request *request, size_t from, size_t end)
{
    struct wire_span found = {NULL, 0};

    for (size_t i = 0; i < request->generate.stop.n; i++) {
        const struct wire_span *stop = &request->stops[i];

        if (stop->len <= end - from && stop->len > found.len &&
            memcmp(request->truth_text.bytes + end - stop->len, stop->at, stop->len) == 0)
            found = *stop;
    }
    return found;
}

/* How much of the text before `end` may become a stop string. */
static size_t held_at(const struct sim_request *request, size_t from, size_t end)
{
    size_t held = 0;

    for (size_t i = 0; i < request->generate.stop.n; i++)
        for (size_t k = 1; k < request->stops[i].len && k <= end - from; k++)
            if (k > held &&
                memcmp(request->truth_text.bytes + end - k, request->stops[i].at, k) == 0)
                held = k;
    return held;
}

static void cut(struct sim_request *request, const struct whole *whole)
{
    const uint32_t min = request->generate.sampling.min_tokens;
    struct sim_text *text = &request->truth_text;
    size_t from = whole->len, end = 0;
    uint32_t i = 0;

    for (; i < request->n_truth && i < min; i++)
        text->given[i] = from = end = whole->ends[i];
    if (min == 0)
        from = 0;
    for (; i < request->n_truth; i++) {
        while (end < whole->ends[i] && text->stop.len == 0)
            text->stop = found_at(request, from, ++end);
        if (text->stop.len > 0)
            break;
        text->given[i] = end - held_at(request, from, end);
    }
    if (text->stop.len > 0) {
        text->given[i] = request->generate.include_stop ? end : end - text->stop.len;
        text->end = "stop";
        text->stop_id = WIRE_NO_ID;
        request->n_truth = i + 1;
        request->truth_fails = false;
    } else if (request->n_truth > 0 && !request->truth_fails) {
        text->given[request->n_truth - 1] = whole->len;
    }
}

void sim_text_draw(struct sim *sim, struct sim_request *request)
{
    struct rand *rng = &sim->rng;
    struct whole whole;

    request->generate.include_stop = rand_chance(rng, 1, 4);
    read_ids(sim, request, &whole);
    if (rand_chance(rng, 1, 3))
        draw_stops(rng, request, &whole);
    cut(request, &whole);
}

bool sim_text_equal(const struct sim_request *request, const struct wire_token *token)
{
    const struct sim_text *text = &request->truth_text;
    const size_t from = token->index > 0 ? text->given[token->index - 1] : 0;
    const struct wire_span piece = {text->bytes + from, text->given[token->index] - from};
    const char *end = token->index + 1 == request->n_truth ? text->end : "";

    return wire_span_equal(token->text, piece) && wire_span_equal(token->end, wire_span_of(end));
}

bool sim_text_done(const struct sim_request *request, const struct wire_done *done)
{
    const struct sim_text *text = &request->truth_text;

    return wire_span_equal(done->reason, wire_span_of(text->end)) &&
           wire_span_equal(done->stop_text, text->stop) && done->stop_id == text->stop_id;
}
