/* What D takes: every row of the hand-over's table, every check of an offer, and the fetch window.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "tests/kvtransfer/kvt_puppet.h"
#include "wire/kvdigest.h"

static const uint32_t blocks[PUPPET_BLOCKS_MAX] = {9, 4, 30, 7, 11};

static int setup(void **state)
{
    struct puppet *puppet = puppet_create();
    puppet_bring(puppet, PUPPET_D_READY);
    *state = puppet;
    return 0;
}

static int teardown(void **state)
{
    puppet_destroy(*state);
    return 0;
}

static struct kvt_key key_of(uint8_t number)
{
    return (struct kvt_key){puppet_req(number), 1, 3};
}

static enum status open_in(struct puppet *puppet, uint8_t number, uint32_t n_have)
{
    struct kvt_key key = key_of(number);
    enum status status =
        kvt_in_open(puppet->kvt, PUPPET_PEER, &key, blocks, 3, n_have, puppet->now_ns);
    puppet_drain(puppet);
    return status;
}

static void close_in(struct puppet *puppet, uint8_t number)
{
    struct kvt_key key = key_of(number);
    kvt_in_close(puppet->kvt, &key, STATUS_CANCELLED, puppet->now_ns);
    puppet_drain(puppet);
}

/* What P would have in that piece: bytes of one value. */
static uint64_t digest_of(uint8_t number, uint32_t block, uint32_t group)
{
    uint8_t bytes[4096];
    struct wire_id req = puppet_req(number);
    memset(bytes, (int)(block * 10 + group), sizeof(bytes));
    return kvdigest_piece(&req, 1, block, group * 2, bytes, puppet_piece_len(group));
}

static uint64_t offer(struct puppet *puppet, uint8_t number, uint32_t block, uint32_t group)
{
    struct kvt_key key = key_of(number);
    struct kvt_header header = puppet_header(puppet, &key, block, group);
    header.digest = digest_of(number, block, group);
    return puppet_offered(puppet, &header, header.bytes);
}

/* The mover writes what the last fetch asked for and says so. */
static void land(struct puppet *puppet, uint32_t block, uint32_t group)
{
    const struct kvt_act *fetch = puppet_act(puppet, KVT_ACT_FETCH);
    memset(fetch->at, (int)(block * 10 + group), fetch->bytes);
    puppet_fetched(puppet, fetch->op, STATUS_OK);
}

static void offer_and_land(struct puppet *puppet, uint8_t number, uint32_t block, uint32_t group)
{
    offer(puppet, number, block, group);
    land(puppet, block, group);
}

static void seal(struct puppet *puppet, uint8_t number, uint32_t first_block, uint64_t spoil)
{
    uint64_t digests[6];
    uint32_t n = 0;
    for (uint32_t block = first_block; block < 3; block++) {
        digests[n++] = digest_of(number, block, 0);
        digests[n++] = digest_of(number, block, 1) ^ spoil;
    }
    struct kvt_key key = key_of(number);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_SEAL);
    msg.req = key.req;
    msg.attempt = key.attempt;
    msg.generation = key.generation;
    msg.seal.digests = (struct wire_u64s){digests, n};
    msg.seal.note = (struct wire_span){"first token", 11};
    puppet_say(puppet, &msg);
}

static struct kvt_counts counts_of(const struct puppet *puppet)
{
    struct kvt_counts counts;
    kvt_counts(puppet->kvt, &counts);
    return counts;
}

static void test_lands(void **state)
{
    struct puppet *puppet = *state;
    assert_int_equal(open_in(puppet, 1, 1), STATUS_OK);
    const struct wire_msg *want = puppet_msg(puppet, WIRE_KIND_WANT);
    assert_int_equal(want->want.n_blocks, 3);
    assert_int_equal(want->want.have.n, 1);
    assert_int_equal(want->want.have.at[0], 0);
    assert_int_equal(want->generation, 3);
    uint64_t handle = offer(puppet, 1, 2, 1);
    const struct kvt_act *fetch = puppet_act(puppet, KVT_ACT_FETCH);
    size_t block_bytes = kvgeom_block_bytes(&puppet->cfg.geom);
    assert_int_equal(fetch->handle, handle);
    assert_ptr_equal(fetch->at, puppet->pool + 30 * block_bytes + puppet_piece_len(0));
    assert_int_equal(fetch->bytes, puppet_piece_len(1));
    puppet->now_ns += 2 * NS_PER_MS;
    land(puppet, 2, 1);
    offer_and_land(puppet, 1, 1, 0);
    seal(puppet, 1, 1, 0); /* before the last pieces */
    offer_and_land(puppet, 1, 1, 1);
    assert_int_equal(puppet->n_notes, 0);
    offer_and_land(puppet, 1, 2, 0);
    const struct kvt_note *note = puppet_note(puppet, KVT_NOTE_IN_LANDED);
    assert_int_equal(puppet->n_notes, 1);
    assert_memory_equal(note->note, "first token", note->note_len);
    assert_int_equal(note->bytes, 2 * block_bytes);
    assert_int_equal(note->transfer_us, 2000);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_LANDED)->landed.bytes, 2 * block_bytes);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_LANDED), 1);
    assert_int_equal(counts_of(puppet).ins, 0);
    /* Late ones are no-ops. */
    puppet_clear(puppet);
    seal(puppet, 1, 1, 0);
    handle = offer(puppet, 1, 2, 0);
    assert_int_equal(puppet_act(puppet, KVT_ACT_RELEASE)->handle, handle);
    assert_int_equal(puppet->n_acts, 1);
    assert_int_equal(puppet->n_msgs + puppet->n_notes, 0);
}

static void test_nothing_lacked(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 3);
    seal(puppet, 1, 3, 0);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_LANDED), 1);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 0);
}

static void test_what_is_not_asked_goes_back_unread(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 1);
    struct kvt_key key = key_of(1);
    struct kvt_counts before = counts_of(puppet);
    for (uint32_t i = 0; i < 12; i++) {
        struct kvt_header header = puppet_header(puppet, &key, 1, 0);
        size_t bytes = header.bytes;
        switch (i) {
        case 0:
            header.magic++;
            break;
        case 1:
            header.version++;
            break;
        case 2:
            bytes++;
            break;
        case 3:
            header.secret[15] ^= 1;
            break;
        case 4:
            header.secret[0] ^= 0x80;
            break;
        case 5:
            header.from++;
            break;
        case 6:
            header.to++;
            break;
        case 7:
            header.req[5]++;
            break;
        case 8:
            header.attempt++;
            break;
        case 9:
            header.generation--;
            break;
        case 10:
            header.block = 0; /* D has it */
            break;
        default:
            memset(header.req, 0, sizeof(header.req)); /* a probe now */
        }
        puppet_offered(puppet, &header, bytes);
        assert_int_equal(puppet_n_acts(puppet, KVT_ACT_RELEASE), i + 1);
    }
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 0);
    struct kvt_counts after = counts_of(puppet);
    assert_int_equal(after.offers_malformed - before.offers_malformed, 3);
    assert_int_equal(after.offers_bad_secret - before.offers_bad_secret, 2);
    assert_int_equal(after.offers_stale - before.offers_stale, 2);
    assert_int_equal(after.offers_unknown - before.offers_unknown, 4);
    assert_int_equal(after.offers_duplicate - before.offers_duplicate, 1);
    /* Queued, fetched or verified: never twice. */
    offer(puppet, 1, 1, 0);
    offer(puppet, 1, 1, 0);
    land(puppet, 1, 0);
    offer(puppet, 1, 1, 0);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 1);
    assert_int_equal(puppet->n_notes, 0);
}

static void test_a_broken_p_fails_the_hand_over(void **state)
{
    struct puppet *puppet = *state;
    for (uint8_t i = 0; i < 3; i++) {
        open_in(puppet, (uint8_t)(i + 1), 0);
        struct kvt_key key = key_of((uint8_t)(i + 1));
        struct kvt_header header = puppet_header(puppet, &key, i == 0 ? 3 : 0, i == 1 ? 2 : 0);
        header.bytes -= i == 2;
        puppet_offered(puppet, &header, header.bytes);
        assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), i + 1);
        assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_PROTOCOL);
        assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_PROTOCOL);
    }
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 0);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
}

static void test_wrong_bytes(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 0);
    offer(puppet, 1, 0, 0);
    land(puppet, 0, 1);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_MISMATCH);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_REFUSED)->refused.code, STATUS_MISMATCH);
    assert_int_equal(counts_of(puppet).mismatches, 1);
    assert_int_equal(counts_of(puppet).ins, 0);
}

static void test_the_seal_must_agree(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 0); /* after the piece */
    offer_and_land(puppet, 1, 0, 1);
    seal(puppet, 1, 0, 1);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_MISMATCH);
    open_in(puppet, 2, 0); /* before the piece */
    seal(puppet, 2, 0, 1);
    offer(puppet, 2, 0, 1);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_MISMATCH);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), 2);
    open_in(puppet, 3, 0); /* of another length */
    seal(puppet, 3, 1, 0);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_PROTOCOL);
    open_in(puppet, 4, 0); /* a second seal changes nothing */
    seal(puppet, 4, 0, 0);
    seal(puppet, 4, 0, 1);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), 3);
}

static void test_close_waits_for_fetches(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 0);
    close_in(puppet, 1); /* nothing under way: at once */
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), 1);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 1);
    open_in(puppet, 2, 0);
    offer(puppet, 2, 0, 0);
    offer(puppet, 2, 1, 0);
    uint64_t queued = offer(puppet, 2, 2, 0); /* over the window of 4096 */
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 2);
    close_in(puppet, 2);
    assert_int_equal(puppet_act(puppet, KVT_ACT_RELEASE)->handle, queued);
    uint64_t late = offer(puppet, 2, 0, 1);
    assert_int_equal(puppet_act(puppet, KVT_ACT_RELEASE)->handle, late);
    seal(puppet, 2, 0, 0);
    close_in(puppet, 2);
    uint64_t first = puppet_act(puppet, KVT_ACT_FETCH)->op - 1;
    puppet_fetched(puppet, first + 1, STATUS_OK);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), 1);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 1);
    puppet_fetched(puppet, first, STATUS_OK);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), 2);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 2);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_CANCELLED);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 2);
}

static void refuse(struct puppet *puppet, uint8_t number)
{
    struct kvt_key key = key_of(number);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_REFUSED);
    msg.req = key.req;
    msg.attempt = key.attempt;
    msg.generation = key.generation;
    msg.refused.code = STATUS_NOT_FOUND;
    puppet_say(puppet, &msg);
}

static void test_refused_by_p_needs_no_answer(void **state)
{
    struct puppet *puppet = *state;
    refuse(puppet, 1); /* unknown: a no-op */
    open_in(puppet, 1, 0);
    offer(puppet, 1, 0, 0);
    refuse(puppet, 1);
    assert_int_equal(puppet->n_notes, 0);
    land(puppet, 0, 0);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_NOT_FOUND);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 0);
}

static void test_a_fence_ends_all(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 0);
    open_in(puppet, 2, 0);
    open_in(puppet, 3, 0);
    seal(puppet, 3, 0, 0);
    offer(puppet, 1, 0, 0);
    offer(puppet, 2, 0, 0);
    close_in(puppet, 2);
    assert_int_equal(puppet->n_notes, 0);
    puppet_fetched(puppet, puppet_act(puppet, KVT_ACT_FETCH)->op, STATUS_IO);
    assert_int_equal(puppet_act(puppet, KVT_ACT_CLOSE)->pair, puppet->pair);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_IN_CLOSED), 3);
    for (size_t i = 0; i < puppet->n_notes; i++) {
        if (puppet->notes[i].kind == KVT_NOTE_IN_CLOSED) {
            bool second = puppet->notes[i].key.req.byte[0] == 2;
            assert_int_equal(puppet->notes[i].status, second ? STATUS_CANCELLED : STATUS_IO);
        }
    }
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_REFUSED), 0);
    assert_int_equal(counts_of(puppet).fetches_pending, 0);
    assert_int_equal(open_in(puppet, 4, 0), STATUS_LOST);
    /* Its window is free again. */
    puppet_clear(puppet);
    puppet_wait(puppet, KVT_REPAIR_MS + 50, false);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_RELEASE), 0);
}

static void test_a_stuck_fetch_fences(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 0);
    offer(puppet, 1, 0, 0);
    uint64_t stuck = puppet_act(puppet, KVT_ACT_FETCH)->op;
    close_in(puppet, 1);
    for (uint32_t i = 0; i < 4; i++) { /* others on the pair go on */
        puppet_wait(puppet, 500, true);
        open_in(puppet, (uint8_t)(2 + i), 0);
        offer_and_land(puppet, (uint8_t)(2 + i), 0, 0);
        assert_true(puppet_act(puppet, KVT_ACT_FETCH)->op > stuck);
        close_in(puppet, (uint8_t)(2 + i));
    }
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
    puppet_wait(puppet, KVT_FETCH_STALL_MS - 1900, true);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_CANCELLED);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->key.req.byte[0], 1);
}

static void test_the_window(void **state)
{
    struct puppet *puppet = *state;
    open_in(puppet, 1, 0);
    for (uint32_t i = 0; i < 6; i++) {
        offer(puppet, 1, i / 2, i % 2);
    }
    /* 2048 + 1024 fit 4096 bytes, the next 2048 do not; what came first goes first. */
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 2);
    assert_int_equal(counts_of(puppet).fetches_pending, 2);
    land(puppet, 0, 1);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_FETCH), 3);
    assert_ptr_equal(puppet_act(puppet, KVT_ACT_FETCH)->at,
                     puppet->pool + 4 * kvgeom_block_bytes(&puppet->cfg.geom));
}

static void test_offers_are_bounded(void **state)
{
    struct puppet *puppet = *state;
    uint32_t many[40];
    for (uint32_t i = 0; i < 40; i++) {
        many[i] = i;
    }
    struct kvt_key key = key_of(1);
    assert_int_equal(kvt_in_open(puppet->kvt, PUPPET_PEER, &key, many, 40, 0, puppet->now_ns),
                     STATUS_OK);
    puppet_drain(puppet);
    for (uint32_t i = 0; i < KVT_POSTS_MAX; i++) {
        offer(puppet, 1, i / 2, i % 2);
    }
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
    offer(puppet, 1, KVT_POSTS_MAX / 2, 0);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_IN_CLOSED)->status, STATUS_PROTOCOL);
}

static void test_opening_has_its_limits(void **state)
{
    struct puppet *puppet = *state;
    struct kvt_key key = key_of(1);
    assert_int_equal(kvt_in_open(puppet->kvt, PUPPET_PEER, &key, blocks, PUPPET_BLOCKS_MAX + 1, 0,
                                 puppet->now_ns),
                     STATUS_TOO_BIG);
    assert_int_equal(kvt_in_open(puppet->kvt, 0x9999, &key, blocks, 3, 0, puppet->now_ns),
                     STATUS_LOST);
    for (uint8_t i = 1; i <= PUPPET_TRANSFERS; i++) {
        assert_int_equal(open_in(puppet, i, 0), STATUS_OK);
    }
    assert_int_equal(open_in(puppet, 1, 0), STATUS_EXISTS);
    assert_int_equal(open_in(puppet, 20, 0), STATUS_FULL);
    close_in(puppet, 77); /* of nothing: a no-op */
    assert_int_equal(puppet->n_notes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_lacked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_asked_goes_back_unread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_broken_p_fails_the_hand_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_seal_must_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_waits_for_fetches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_by_p_needs_no_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fence_ends_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stuck_fetch_fences, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opening_has_its_limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
