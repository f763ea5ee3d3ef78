/* What P gives: every row of the lend's and the hand-over's tables, and what wants may not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/kvtransfer/kvt_puppet.h"

static const uint32_t blocks[PUPPET_BLOCKS_MAX] = {9, 4, 30, 7, 11};

static int setup(void **state)
{
    struct puppet *puppet = puppet_create();
    puppet_bring(puppet, PUPPET_P_READY);
    *state = puppet;
    return 0;
}

static int teardown(void **state)
{
    puppet_destroy(*state);
    return 0;
}

static struct wire_msg want_msg(struct puppet *puppet, uint8_t number, uint32_t generation,
                                uint32_t n_blocks)
{
    static char layout[64];
    kvgeom_print(&puppet->cfg.geom, layout);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_WANT);
    msg.req = puppet_req(number);
    msg.attempt = 1;
    msg.generation = generation;
    msg.want.layout = wire_span_of(layout);
    msg.want.n_blocks = n_blocks;
    return msg;
}

static void want(struct puppet *puppet, uint8_t number, uint32_t generation)
{
    struct wire_msg msg = want_msg(puppet, number, generation, 3);
    puppet_say(puppet, &msg);
}

static void answer(struct puppet *puppet, enum wire_kind kind, uint8_t number, uint32_t generation)
{
    struct wire_msg msg;
    wire_msg_init(&msg, kind);
    msg.req = puppet_req(number);
    msg.attempt = 1;
    msg.generation = generation;
    if (kind == WIRE_KIND_REFUSED) {
        msg.refused.code = STATUS_FULL;
    }
    puppet_say(puppet, &msg);
}

static enum status open_out(struct puppet *puppet, uint8_t number)
{
    struct wire_id req = puppet_req(number);
    enum status status = kvt_out_open(puppet->kvt, &req, 1, blocks, 3, puppet->now_ns);
    puppet_drain(puppet);
    return status;
}

static void ready(struct puppet *puppet, uint8_t number, uint32_t block, uint32_t group)
{
    struct wire_id req = puppet_req(number);
    kvt_out_ready(puppet->kvt, &req, 1, block, group, 1000 + block * 10 + group, puppet->now_ns);
    puppet_drain(puppet);
}

static void ready_all(struct puppet *puppet, uint8_t number)
{
    for (uint32_t i = 0; i < 6; i++) {
        ready(puppet, number, i / PUPPET_GROUPS, i % PUPPET_GROUPS);
    }
}

static void seal(struct puppet *puppet, uint8_t number)
{
    struct wire_id req = puppet_req(number);
    kvt_out_seal(puppet->kvt, &req, 1, (const uint8_t *)"note", 4, puppet->now_ns);
    puppet_drain(puppet);
}

static void close_out(struct puppet *puppet, uint8_t number)
{
    struct wire_id req = puppet_req(number);
    kvt_out_close(puppet->kvt, &req, 1, puppet->now_ns);
    puppet_drain(puppet);
}

static uint64_t n_outs(const struct puppet *puppet)
{
    struct kvt_counts counts;
    kvt_counts(puppet->kvt, &counts);
    return counts.outs;
}

static void test_offers_as_it_gets_ready(void **state)
{
    struct puppet *puppet = *state;
    assert_int_equal(open_out(puppet, 1), STATUS_OK);
    ready(puppet, 1, 2, 1);
    struct wire_msg msg = want_msg(puppet, 1, 4, 3);
    static const uint32_t have[] = {1};
    msg.want.have = (struct wire_u32s){have, 1};
    puppet_say(puppet, &msg);
    const struct kvt_act *post = puppet_act(puppet, KVT_ACT_POST);
    size_t block_bytes = kvgeom_block_bytes(&puppet->cfg.geom);
    assert_ptr_equal(post->at, puppet->pool + 30 * block_bytes + puppet_piece_len(0));
    assert_int_equal(post->bytes, puppet_piece_len(1));
    assert_int_equal(post->header.bytes, post->bytes);
    assert_int_equal(post->header.block, 2);
    assert_int_equal(post->header.group, 1);
    assert_int_equal(post->header.generation, 4);
    assert_int_equal(post->header.attempt, 1);
    assert_int_equal(post->header.digest, 1021);
    assert_int_equal(post->header.from, PUPPET_SELF);
    assert_memory_equal(post->header.secret, puppet->secret, 16);
    assert_memory_equal(post->header.req, puppet_req(1).byte, 16);
    ready(puppet, 1, 1, 0); /* D has it */
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 1);
    ready(puppet, 1, 0, 0);
    ready(puppet, 1, 0, 1);
    ready(puppet, 1, 1, 1);
    ready(puppet, 1, 2, 0);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 4);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_SEAL), 0);
    seal(puppet, 1);
    const struct wire_msg *said = puppet_msg(puppet, WIRE_KIND_SEAL);
    static const uint64_t digests[] = {1000, 1001, 1020, 1021};
    assert_int_equal(said->seal.digests.n, 4);
    assert_memory_equal(said->seal.digests.at, digests, sizeof(digests));
    assert_memory_equal(said->seal.note.at, "note", 4);
    assert_int_equal(said->generation, 4);
}

static void test_landed_waits_for_the_posts(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    want(puppet, 1, 1);
    ready_all(puppet, 1);
    seal(puppet, 1);
    answer(puppet, WIRE_KIND_LANDED, 1, 1);
    assert_int_equal(puppet->n_notes, 0);
    puppet_posted_all(puppet);
    const struct kvt_note *note = puppet_note(puppet, KVT_NOTE_OUT_LANDED);
    assert_int_equal(puppet->n_notes, 1);
    assert_int_equal(note->peer, PUPPET_PEER);
    assert_int_equal(note->key.generation, 1);
    assert_int_equal(note->bytes, 3 * kvgeom_block_bytes(&puppet->cfg.geom));
    assert_int_equal(n_outs(puppet), 0);
    /* It has ended here: a late want is refused, a late open too. */
    want(puppet, 1, 2);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_CANCELLED);
    assert_int_equal(open_out(puppet, 1), STATUS_STALE);
    close_out(puppet, 1);
    assert_int_equal(puppet->n_notes, 1);
}

static void test_refused_waits_and_the_next_want_is_served(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    want(puppet, 1, 1);
    ready(puppet, 1, 0, 0);
    uint64_t op = puppet_act(puppet, KVT_ACT_POST)->op;
    answer(puppet, WIRE_KIND_REFUSED, 1, 1);
    ready(puppet, 1, 0, 1);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 1);
    assert_int_equal(puppet->n_notes, 0);
    puppet_posted(puppet, op);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_OUT_REFUSED)->status, STATUS_FULL);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_OUT_REFUSED)->key.generation, 1);
    assert_int_equal(n_outs(puppet), 1);
    want(puppet, 1, 1); /* that one has ended */
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_STALE);
    want(puppet, 1, 2);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 3);
    want(puppet, 1, 2); /* being served: ignored */
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 3);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 1);
}

static void test_a_newer_want_replaces(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    ready(puppet, 1, 0, 0);
    want(puppet, 1, 2);
    uint64_t older = puppet_act(puppet, KVT_ACT_POST)->op;
    want(puppet, 1, 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->generation, 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_STALE);
    want(puppet, 1, 5);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->generation, 2);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_STALE);
    const struct kvt_act *newer = puppet_act(puppet, KVT_ACT_POST);
    assert_int_equal(newer->header.generation, 5);
    close_out(puppet, 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->generation, 5);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_CANCELLED);
    puppet_posted(puppet, newer->op);
    assert_int_equal(puppet->n_notes, 0); /* the older D may still read */
    puppet_posted(puppet, older);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 1);
    assert_int_equal(puppet->n_notes, 1);
    assert_int_equal(n_outs(puppet), 0);
}

static void test_wants_of_one_request_are_bounded(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    ready(puppet, 1, 0, 0);
    for (uint32_t i = 1; i <= KVT_LENDS_MAX; i++) {
        want(puppet, 1, i);
    }
    want(puppet, 1, 9);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_FULL);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->generation, 9);
    puppet_posted_all(puppet);
    want(puppet, 1, 9); /* it was never accepted, so it may come again */
    assert_int_equal(puppet_act(puppet, KVT_ACT_POST)->header.generation, 9);
}

static void test_close(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    close_out(puppet, 1); /* nobody asked: at once */
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 1);
    open_out(puppet, 2);
    want(puppet, 2, 1); /* asked, nothing offered: at once, and D is told */
    close_out(puppet, 2);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 2);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 1);
    open_out(puppet, 3);
    want(puppet, 3, 1);
    ready_all(puppet, 3);
    seal(puppet, 3);
    close_out(puppet, 3);
    close_out(puppet, 3); /* once more changes nothing */
    ready(puppet, 3, 0, 0);
    answer(puppet, WIRE_KIND_LANDED, 3, 1); /* it crossed ours */
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 2);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 2);
    puppet_posted_all(puppet);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 3);
    assert_int_equal(puppet->n_notes, 3);
    open_out(puppet, 4);
    want(puppet, 4, 1);
    ready_all(puppet, 4);
    seal(puppet, 4);
    answer(puppet, WIRE_KIND_LANDED, 4, 1);
    close_out(puppet, 4); /* landed, posts pending */
    puppet_posted_all(puppet);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 4);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_LANDED), 0);
}

static void test_fences_end_lends(void **state)
{
    struct puppet *puppet = *state;
    for (uint8_t i = 1; i <= 3; i++) {
        open_out(puppet, i);
        want(puppet, i, 1);
        ready_all(puppet, i);
        seal(puppet, i);
    }
    close_out(puppet, 1);
    answer(puppet, WIRE_KIND_LANDED, 2, 1);
    assert_int_equal(puppet->n_notes, 0);
    struct kvt_event error = {.kind = KVT_EVENT_ERROR, .pair = puppet->pair, .status = STATUS_LOST};
    puppet_event(puppet, &error);
    assert_int_equal(puppet_act(puppet, KVT_ACT_CLOSE)->pair, puppet->pair);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_CLOSED), 1);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_LANDED), 1);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_OUT_REFUSED)->status, STATUS_LOST);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_OUT_REFUSED)->key.req.byte[0], 3);
    puppet_clear(puppet);
    puppet_bring(puppet, PUPPET_P_READY);
    want(puppet, 3, 2);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 6);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_SEAL), 1);
}

static void test_parked_wants(void **state)
{
    struct puppet *puppet = *state;
    want(puppet, 1, 2);
    want(puppet, 1, 2);
    want(puppet, 1, 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->generation, 1);
    want(puppet, 1, 3);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->generation, 2);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 2);
    open_out(puppet, 1);
    ready(puppet, 1, 0, 0);
    assert_int_equal(puppet_act(puppet, KVT_ACT_POST)->header.generation, 3);

    want(puppet, 2, 1); /* never opened */
    puppet_wait(puppet, KVT_WANT_PARK_MS - 100, true);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 2);
    puppet_posted_all(puppet);
    puppet_wait(puppet, 150, true);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_NOT_FOUND);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->req.byte[0], 2);

    want(puppet, 3, 1);
    answer(puppet, WIRE_KIND_REFUSED, 3, 1); /* D has given up */
    want(puppet, 4, 1);
    close_out(puppet, 4); /* cancelled before it was opened */
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_CANCELLED);
    size_t n = puppet_n_msgs(puppet, WIRE_KIND_REFUSED);
    for (uint8_t i = 0; i <= PUPPET_TRANSFERS; i++) {
        want(puppet, (uint8_t)(10 + i), 1);
    }
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), n + 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_FULL);
    puppet_clear(puppet);
    puppet_say_bye(puppet, STATUS_LOST, "over");
    open_out(puppet, 10); /* its want went with the pair */
    ready(puppet, 10, 0, 0);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 0);
}

static void test_bad_wants(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    static const uint32_t have[] = {1, 1, 2, 9};
    struct wire_msg msg;
    const enum status codes[] = {STATUS_INCOMPATIBLE, STATUS_TOO_BIG, STATUS_INVALID,
                                 STATUS_INVALID,      STATUS_INVALID, STATUS_INVALID};
    for (uint32_t i = 0; i < 6; i++) {
        msg = want_msg(puppet, 1, 1, i == 1 ? PUPPET_BLOCKS_MAX + 1 : i == 2 ? 0 : i == 5 ? 4 : 3);
        if (i == 0) {
            msg.want.layout = wire_span_of("L9");
        } else if (i == 3) {
            msg.want.have = (struct wire_u32s){have, 2}; /* not ascending */
        } else if (i == 4) {
            msg.want.have = (struct wire_u32s){have + 3, 1}; /* no such block */
        }
        puppet_say(puppet, &msg);
        assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), i + 1);
        assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, codes[i]);
    }
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
    want(puppet, 1, 1);
    ready(puppet, 1, 0, 0);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 1);
}

static void test_posts_are_bounded(void **state)
{
    struct puppet *puppet = *state;
    struct wire_id req = puppet_req(1);
    uint32_t many[40];
    for (uint32_t i = 0; i < 40; i++) {
        many[i] = i;
    }
    assert_int_equal(kvt_out_open(puppet->kvt, &req, 1, many, 40, puppet->now_ns), STATUS_OK);
    for (uint32_t i = 0; i < 80; i++) {
        ready(puppet, 1, i / 2, i % 2);
    }
    seal(puppet, 1);
    struct wire_msg msg = want_msg(puppet, 1, 1, 40);
    puppet_say(puppet, &msg);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), KVT_POSTS_MAX);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_SEAL), 0);
    puppet_posted(puppet, puppet->acts[0].op);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), KVT_POSTS_MAX + 1);
    puppet_posted_all(puppet);
    puppet_posted_all(puppet);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 80);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_SEAL), 1);
}

static void test_stalls_fence(void **state)
{
    (void)state;
    for (int answerless = 0; answerless < 2; answerless++) {
        struct puppet *puppet = puppet_create();
        puppet_bring(puppet, PUPPET_P_READY);
        open_out(puppet, 1);
        want(puppet, 1, 1);
        ready_all(puppet, 1);
        if (answerless) {
            seal(puppet, 1);
            puppet_posted_all(puppet);
        }
        puppet_wait(puppet, KVT_STALL_MS - 50, true);
        assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
        if (!answerless) { /* progress of others is no excuse */
            puppet_posted(puppet, puppet->acts[3].op);
        }
        puppet_wait(puppet, 150, true);
        assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
        assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_STUCK);
        assert_int_equal(puppet_note(puppet, KVT_NOTE_OUT_REFUSED)->status, STATUS_STUCK);
        puppet_destroy(puppet);
    }
}

static void test_a_slow_but_moving_pair_is_left_alone(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    want(puppet, 1, 1);
    ready_all(puppet, 1);
    for (size_t i = 0; i < 6; i++) {
        puppet_wait(puppet, KVT_STALL_MS - 500, true);
        puppet_posted(puppet, puppet->acts[i].op);
    }
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
}

static void test_landed_before_the_seal_is_a_lie(void **state)
{
    struct puppet *puppet = *state;
    open_out(puppet, 1);
    want(puppet, 1, 1);
    answer(puppet, WIRE_KIND_LANDED, 2, 1); /* of nothing we know: a no-op */
    assert_int_equal(puppet->n_acts, 0);
    answer(puppet, WIRE_KIND_LANDED, 1, 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_PROTOCOL);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_OUT_LANDED), 0);
}

static void test_opening_has_its_limits(void **state)
{
    struct puppet *puppet = *state;
    struct wire_id req = puppet_req(1);
    assert_int_equal(
        kvt_out_open(puppet->kvt, &req, 1, blocks, PUPPET_BLOCKS_MAX + 1, puppet->now_ns),
        STATUS_TOO_BIG);
    for (uint8_t i = 1; i <= PUPPET_TRANSFERS; i++) {
        assert_int_equal(open_out(puppet, i), STATUS_OK);
    }
    assert_int_equal(open_out(puppet, 1), STATUS_EXISTS);
    assert_int_equal(open_out(puppet, 20), STATUS_FULL);
}

static void test_creation_fails_cleanly(void **state)
{
    struct puppet *puppet = *state;
    struct kvt *kvt = NULL;
    struct kvt_cfg cfg = puppet->cfg;
    cfg.transfers_max = 0;
    assert_int_equal(kvt_create(&cfg, &kvt), STATUS_INVALID);
    int64_t live = mem_live();
    enum status status = STATUS_NO_MEMORY;
    int64_t n = 0;
    for (; status != STATUS_OK; n++) {
        mem_fail_after(n);
        status = kvt_create(&puppet->cfg, &kvt);
        mem_fail_after(MEM_FAIL_NEVER);
        assert_true(status == STATUS_OK || (status == STATUS_NO_MEMORY && mem_live() == live));
    }
    assert_true(n > 50);
    kvt_destroy(kvt);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_offers_as_it_gets_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(test_landed_waits_for_the_posts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_waits_and_the_next_want_is_served, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_newer_want_replaces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wants_of_one_request_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fences_end_lends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parked_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(test_posts_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stalls_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_slow_but_moving_pair_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_landed_before_the_seal_is_a_lie, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opening_has_its_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_creation_fails_cleanly, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
