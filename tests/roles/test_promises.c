/* What both worker roles promise a router: jobs refused while draining, a cancel that overtakes its
 * job, nobody else's cancel, a deadline of their own. The simulator's routers behave, so it does
 * not see when one of these is missing. The jobs are those of peer 0: the role computes them alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "decode/decode.h"
#include "engine/oracle.h"
#include "prefill/prefill.h"

#define SELF 0x51u /* incarnations */
#define ROUTER 0x77u
#define LINK 7u
#define OTHER_LINK 8u
#define LEN_MAX 256u
#define N_BLOCKS 16u

/* One worker in front of two routers. Exactly one of prefill and decode is there. */
struct rig {
    struct prefill *prefill;
    struct decode *decode;
    struct exec exec;
    struct arena *arena; /* of what was said */
    uint64_t now_ns;
    uint32_t seq[OTHER_LINK + 1]; /* sent by the router of that link */
};

static struct rig rig;

static void tell(uint32_t link, struct wire_msg *msg)
{
    msg->from = ROUTER + link;
    msg->to = SELF;
    msg->session = link == LINK ? 1 : 2; /* numbers go over all routers */
    msg->seq = ++rig.seq[link];
    if (rig.prefill)
        prefill_message(rig.prefill, link, msg, rig.now_ns);
    else
        decode_message(rig.decode, link, msg, rig.now_ns);
}

/* Takes what the role has said since the last call; the first message of the kind, or false. */
static bool heard(enum wire_kind kind, struct wire_msg *out)
{
    struct wire_out *list = rig.prefill ? prefill_out(rig.prefill) : decode_out(rig.decode);
    bool found = false;

    for (size_t i = 0; i < wire_out_count(list) && !found; i++) {
        const struct wire_out_item item = wire_out_at(list, i);
        void *bytes = arena_memdup(rig.arena, item.bytes, item.len);

        assert_int_equal(wire_msg_decode(bytes, item.len, rig.arena, out, NULL), STATUS_OK);
        found = out->kind == kind;
    }
    if (rig.prefill)
        prefill_clear(rig.prefill);
    else
        decode_clear(rig.decode);
    return found;
}

static uint32_t n_requests(void)
{
    return rig.prefill ? prefill_n_requests(rig.prefill) : decode_n_requests(rig.decode);
}

static uint32_t n_free(void)
{
    struct engine *engine = rig.prefill ? prefill_engine(rig.prefill) : decode_engine(rig.decode);

    return blocks_n_free(engine_blocks(engine));
}

static void join(uint32_t link)
{
    struct wire_msg msg;

    if (rig.prefill)
        prefill_router_up(rig.prefill, link, rig.now_ns);
    else
        decode_router_up(rig.decode, link, rig.now_ns);
    assert_true(heard(WIRE_KIND_JOIN, &msg));
    wire_msg_init(&msg, WIRE_KIND_WELCOME);
    msg.welcome.version = WIRE_VERSION_MAX;
    tell(link, &msg);
}

static int setup(void **state)
{
    const struct kvgeom geom = {
        .n_layers = 1, .n_kv_heads = 1, .head_dim = 8, .elem_bytes = 2, .group_layers = 1};
    const struct oracle_cfg oracle = {.geom = geom, .n_blocks = N_BLOCKS};
    const struct engine_cfg engine = {.geom = geom,
                                      .n_blocks = N_BLOCKS,
                                      .seqs_max = 4,
                                      .batch_max = 4,
                                      .chunk_max = 64,
                                      .len_max = LEN_MAX,
                                      .chunk_ms = 500};
    struct kvt_cfg kvt = {.self = SELF,
                          .name = "w",
                          .fingerprint = "f",
                          .numerics = "n",
                          .geom = geom,
                          .n_blocks = N_BLOCKS,
                          .peers_max = 1,
                          .transfers_max = 4,
                          .blocks_max = 4,
                          .fetch_bytes = 4096};
    const struct bond_cfg bond = {.self = SELF, .join = {.name = wire_span_of("w")}};
    const bool is_prefill = *state != NULL;
    const char *why;

    rig = (struct rig){.now_ns = NS_PER_S};
    assert_int_equal(arena_create(4096, 1 << 20, &rig.arena), STATUS_OK);
    assert_int_equal(oracle_create(&oracle, &rig.exec), STATUS_OK);
    kvt.pool = rig.exec.ops->pool(rig.exec.self);
    if (is_prefill) {
        const struct prefill_cfg cfg = {engine, kvt, bond, oracle_eos, ORACLE_N_EOS, ORACLE_VOCAB};
        assert_int_equal(prefill_create(&cfg, &rig.prefill, &why), STATUS_OK);
    } else {
        const struct decode_cfg cfg = {engine,       kvt,          bond,  oracle_eos,
                                       ORACLE_N_EOS, ORACLE_VOCAB, "host"};
        assert_int_equal(decode_create(&cfg, &rig.decode, &why), STATUS_OK);
    }
    join(LINK);
    join(OTHER_LINK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    prefill_destroy(rig.prefill);
    decode_destroy(rig.decode);
    rig.exec.ops->destroy(rig.exec.self);
    arena_destroy(rig.arena);
    return 0;
}

static void say(uint32_t link, enum wire_kind kind, uint8_t id)
{
    static const uint32_t ids[100] = {1, 2, 3};
    struct wire_msg msg;

    wire_msg_init(&msg, kind);
    memset(msg.req.byte, id, sizeof(msg.req.byte));
    msg.attempt = msg.generation = 1;
    if (kind == WIRE_KIND_JOB) {
        msg.job.prompt = (struct wire_u32s){ids, 100};
        msg.job.sampling.max_tokens = 10;
        msg.job.deadline_ms = 1000;
    }
    tell(link, &msg);
}

static void tick(uint64_t ms)
{
    rig.now_ns += ms * NS_PER_MS;
    if (rig.prefill)
        prefill_tick(rig.prefill, 0, rig.now_ns);
    else
        decode_tick(rig.decode, 0, rig.now_ns);
}

static void job_is_taken_once(void **state)
{
    (void)state;
    say(LINK, WIRE_KIND_JOB, 1);
    say(LINK, WIRE_KIND_JOB, 1);
    assert_int_equal(n_requests(), 1);
    assert_true(n_free() < N_BLOCKS);
    say(LINK, WIRE_KIND_CANCEL, 1);
    assert_int_equal(n_requests(), 0);
    say(LINK, WIRE_KIND_JOB, 1); /* late */
    assert_int_equal(n_requests(), 0);
}

static void drain_refuses_jobs(void **state)
{
    struct wire_msg msg;

    (void)state;
    wire_msg_init(&msg, WIRE_KIND_DRAIN);
    tell(LINK, &msg);
    say(LINK, WIRE_KIND_JOB, 1);
    assert_int_equal(n_requests(), 0);
    assert_true(heard(WIRE_KIND_FAILED, &msg));
    assert_int_equal(msg.failed.code, STATUS_DRAINING);
    assert_int_equal(n_free(), N_BLOCKS);
}

static void cancel_overtakes_its_job(void **state)
{
    (void)state;
    say(LINK, WIRE_KIND_CANCEL, 1);
    say(LINK, WIRE_KIND_JOB, 1);
    assert_int_equal(n_requests(), 0);
    assert_int_equal(n_free(), N_BLOCKS);
}

static void cancel_of_another_router_is_nothing(void **state)
{
    (void)state;
    say(LINK, WIRE_KIND_JOB, 1);
    say(OTHER_LINK, WIRE_KIND_CANCEL, 1);
    assert_int_equal(n_requests(), 1);
}

/* The router says so too; but it may be gone without our having noticed. */
static void deadline_ends_a_job(void **state)
{
    (void)state;
    say(LINK, WIRE_KIND_JOB, 1);
    for (int i = 0; i < 19; i++)
        tick(50);
    assert_int_equal(n_requests(), 1);
    tick(50);
    assert_int_equal(n_requests(), 0);
}

/* The step that the role wants run, or NULL. */
static const struct engine_step *next_step(void)
{
    return rig.prefill ? prefill_step(rig.prefill, rig.now_ns)
                       : decode_step(rig.decode, rig.now_ns);
}

static void complete(void)
{
    if (rig.prefill)
        prefill_complete(rig.prefill, 0, rig.now_ns);
    else
        decode_complete(rig.decode, 0, rig.now_ns);
}

static void no_pieces(void *ctx, const struct engine_row *row, uint32_t block, uint32_t group,
                      uint64_t digest)
{
    (void)ctx, (void)row, (void)block, (void)group, (void)digest;
}

static void job_with(uint8_t id, const struct wire_sampling *sampling, const uint32_t *prompt,
                     size_t n)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_JOB);
    memset(msg.req.byte, id, sizeof(msg.req.byte));
    msg.attempt = msg.generation = 1;
    msg.job.prompt = (struct wire_u32s){prompt, n};
    msg.job.sampling = *sampling;
    msg.job.deadline_ms = 1000;
    tell(LINK, &msg);
}

static struct wire_sampling sampling_of(uint32_t max_tokens)
{
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_JOB);
    msg.job.sampling.max_tokens = max_tokens;
    return msg.job.sampling;
}

static void ids_outside_the_vocabulary_are_refused(void **state)
{
    static const uint32_t ids[] = {1, ORACLE_VOCAB};
    struct wire_sampling sampling = sampling_of(4);
    struct wire_msg msg;

    (void)state;
    job_with(1, &sampling, ids, 2);
    assert_true(heard(WIRE_KIND_FAILED, &msg));
    assert_int_equal(msg.failed.code, STATUS_INVALID);
    assert_non_null(memmem(msg.failed.text.at, msg.failed.text.len, "prompt[1] is 256", 16));
    sampling.bad_ids = (struct wire_u32s){ids, 2};
    job_with(2, &sampling, ids, 1);
    assert_true(heard(WIRE_KIND_FAILED, &msg));
    assert_non_null(memmem(msg.failed.text.at, msg.failed.text.len, "bad_ids[1]", 10));
    assert_int_equal(n_requests(), 0);
    assert_int_equal(n_free(), N_BLOCKS);
    assert_null(next_step());
    sampling.bad_ids.n = 1;
    job_with(3, &sampling, ids, 1);
    assert_int_equal(n_requests(), 1);
}

/* One of two sequences gets no id: it fails with a sentence, the other goes on. */
static void no_id_to_sample_is_a_failure(void **state)
{
    static const uint32_t ids[] = {1, 2, 3};
    const struct wire_sampling sampling = sampling_of(4);
    const struct engine_step *step;
    struct wire_msg msg;

    (void)state;
    job_with(1, &sampling, ids, 3);
    job_with(2, &sampling, ids, 3);
    while ((step = next_step()) && step->n_rows < 2) {
        assert_int_equal(rig.exec.ops->run(rig.exec.self, step, no_pieces, NULL), STATUS_OK);
        complete();
    }
    assert_non_null(step);
    for (uint32_t i = 0; i < 2; i++)
        step->rows[i].out_token = step->rows[i].req.byte[0] == 1 ? ENGINE_NO_TOKEN : 'a';
    (void)heard(WIRE_KIND_FAILED, &msg);
    complete();
    assert_true(heard(WIRE_KIND_FAILED, &msg));
    assert_int_equal(msg.req.byte[0], 1);
    assert_int_equal(msg.failed.code, STATUS_INVALID);
    assert_non_null(memmem(msg.failed.text.at, msg.failed.text.len, "no id was left", 14));
    assert_int_equal(n_requests(), 1);
    assert_int_equal(n_free(), N_BLOCKS - 1);
    assert_non_null(next_step());
}

/* Two tokens of a step, each with the likeliest ids that it asked for. */
static void tops_go_to_the_router(void **state)
{
    static const uint32_t ids[] = {1, 2, 3};
    struct wire_sampling sampling = sampling_of(40);
    uint32_t n_tokens = 0, n_steps = 0;
    struct wire_msg msg;

    (void)state;
    sampling.ignore_eos = true;
    for (uint8_t id = 1; id <= 2; id++) {
        sampling.logprobs = id == 1 ? 3 : 1;
        job_with(id, &sampling, ids, 3);
    }
    for (; n_steps < 8; n_steps++) {
        const struct engine_step *step = next_step();

        assert_non_null(step);
        assert_int_equal(rig.exec.ops->run(rig.exec.self, step, no_pieces, NULL), STATUS_OK);
        struct engine_top expected[2][3];
        uint32_t n_rows = step->n_rows, n_expected[2] = {0};
        for (uint32_t i = 0; i < n_rows; i++) {
            const uint32_t which = step->rows[i].req.byte[0] - 1u;
            n_expected[which] = step->rows[i].sampling->logprobs;
            memcpy(expected[which], step->rows[i].out_tops,
                   n_expected[which] * sizeof(struct engine_top));
        }
        complete();
        struct wire_out *list = rig.prefill ? prefill_out(rig.prefill) : decode_out(rig.decode);
        for (size_t i = 0; i < wire_out_count(list); i++) {
            const struct wire_out_item item = wire_out_at(list, i);

            assert_int_equal(wire_msg_decode(item.bytes, item.len, rig.arena, &msg, NULL),
                             STATUS_OK);
            const bool many = msg.kind == WIRE_KIND_TOKENS;
            if (!many && msg.kind != WIRE_KIND_TOKEN)
                continue;
            const struct wire_u32s got = many ? msg.tokens.top_ids : msg.token.top_ids;
            const char *logprobs = many ? msg.tokens.top_logprobs.at : msg.token.top_logprobs.at;
            size_t at = 0;
            for (size_t k = 0; k < (many ? msg.tokens.tokens.n : 1); k++) {
                const uint8_t *req =
                    many ? (const uint8_t *)msg.tokens.reqs.at + 16 * k : msg.req.byte;
                const uint32_t which = req[0] - 1u;
                for (uint32_t m = 0; m < n_expected[which]; m++, at++) {
                    assert_true(at < got.n);
                    assert_int_equal(got.at[at], expected[which][m].token);
                    assert_memory_equal(logprobs + 8 * at, &expected[which][m].logprob, 8);
                }
                n_tokens++;
            }
            assert_int_equal(at, got.n);
        }
        assert_false(heard(WIRE_KIND_FAILED, &msg));
    }
    assert_true(n_tokens >= 14);
}

int main(void)
{
    static int prefill; /* any address: the state of its tests */
#define BOTH(name)                                                                                 \
    {"prefill: " #name, name, setup, teardown, &prefill},                                          \
    {                                                                                              \
        "decode: " #name, name, setup, teardown, NULL                                              \
    }
    const struct CMUnitTest tests[] = {
        BOTH(job_is_taken_once),
        BOTH(drain_refuses_jobs),
        BOTH(cancel_overtakes_its_job),
        BOTH(cancel_of_another_router_is_nothing),
        BOTH(deadline_ends_a_job),
        BOTH(ids_outside_the_vocabulary_are_refused),
        BOTH(no_id_to_sample_is_a_failure),
        BOTH(tops_go_to_the_router),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
