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

int main(void)
{
    static int prefill; /* any address: the state of its tests */
#define BOTH(name)                                                                                 \
    {"prefill: " #name, name, setup, teardown, &prefill},                                          \
    {                                                                                              \
        "decode: " #name, name, setup, teardown, NULL                                              \
    }
    const struct CMUnitTest tests[] = {
        BOTH(job_is_taken_once),        BOTH(drain_refuses_jobs),
        BOTH(cancel_overtakes_its_job), BOTH(cancel_of_another_router_is_nothing),
        BOTH(deadline_ends_a_job),
    };
    const struct log_options silent = {.level = LOG_LEVEL_OFF};

    (void)log_open(&silent);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
