/* Every row of the pair's state table, both sides, and what may not come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "tests/kvtransfer/kvt_puppet.h"

static int setup(void **state)
{
    *state = puppet_create();
    return 0;
}

static int teardown(void **state)
{
    puppet_destroy(*state);
    return 0;
}

static bool span_has(struct wire_span span, const char *text)
{
    char buf[WIRE_ERROR_MAX + 1] = {0};
    memcpy(buf, span.at, span.len < WIRE_ERROR_MAX ? span.len : WIRE_ERROR_MAX);
    return strstr(buf, text) != NULL;
}

static void test_d_pairs(void **state)
{
    struct puppet *puppet = *state;
    kvt_peer_up(puppet->kvt, PUPPET_PEER, PUPPET_LINK, KVT_PATH_LOCAL, puppet->now_ns);
    puppet_drain(puppet);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    assert_int_equal(puppet_act(puppet, KVT_ACT_OPEN)->path, KVT_PATH_LOCAL);
    assert_int_equal(puppet->n_msgs, 0);

    puppet_opened(puppet);
    const struct wire_msg *pair = puppet_msg(puppet, WIRE_KIND_PAIR);
    assert_int_equal(pair->session, 101);
    assert_int_equal(pair->to, PUPPET_PEER);
    assert_int_equal(pair->pair.secret.byte[3], 0x77);
    assert_true(pair->pair.local);
    puppet->session = pair->session;
    memset(puppet->secret, 0x77, sizeof(puppet->secret));

    /* No heartbeat before the connection stands: P takes the first for "connected". */
    puppet_wait(puppet, 1000, false);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_HEARTBEAT), 0);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_PAIRED);
    msg.paired.version = WIRE_VERSION_MAX;
    msg.paired.address = wire_span_of("address-of-p");
    puppet_say(puppet, &msg);
    assert_int_equal(puppet_act(puppet, KVT_ACT_CONNECT)->address_len, strlen("address-of-p"));
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_HEARTBEAT)->heartbeat.peers.n, 0);
    assert_false(kvt_paired(puppet->kvt, PUPPET_PEER));
}

static void test_d_is_ready_after_the_probe(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_D_READY);
    assert_true(kvt_paired(puppet->kvt, PUPPET_PEER));
    uint64_t peers[2];
    assert_int_equal(kvt_paired_list(puppet->kvt, peers, 2), 1);
    assert_int_equal(peers[0], PUPPET_PEER);
    puppet_wait(puppet, 250, true);
    const struct wire_msg *beat = puppet_msg(puppet, WIRE_KIND_HEARTBEAT);
    assert_int_equal(beat->heartbeat.peers.n, 1);
    assert_int_equal(beat->heartbeat.peers.at[0], PUPPET_PEER);
    size_t before = puppet_n_msgs(puppet, WIRE_KIND_HEARTBEAT);
    puppet_wait(puppet, 2500, true);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_HEARTBEAT) - before, 10);
}

static void test_probe_must_verify(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_D_PROBING);
    struct kvt_key key = {{{0}}, puppet->session + 1, 0};
    struct kvt_header header = puppet_header(puppet, &key, 0, 0);
    header.bytes = 4096;
    uint64_t handle = puppet_offered(puppet, &header, 4096); /* of another session */
    assert_int_equal(puppet_act(puppet, KVT_ACT_RELEASE)->handle, handle);
    header.attempt = puppet->session;
    puppet_offered(puppet, &header, 4096);
    handle = puppet_offered(puppet, &header, 4096); /* a second one */
    assert_int_equal(puppet_act(puppet, KVT_ACT_RELEASE)->handle, handle);
    puppet_fetched(puppet, puppet_act(puppet, KVT_ACT_FETCH)->op, STATUS_OK);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_MISMATCH);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_PAIR_READY), 0);
}

static void test_p_pairs(void **state)
{
    struct puppet *puppet = *state;
    puppet_say_pair(puppet, 5);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    assert_int_equal(puppet->n_msgs, 0);
    puppet_opened(puppet);
    const struct kvt_act *connect = puppet_act(puppet, KVT_ACT_CONNECT);
    assert_memory_equal(connect->address, "address-of-d", connect->address_len);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_PAIRED)->paired.version, WIRE_VERSION_MAX);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 0);

    puppet_say_heartbeat(puppet, false);
    const struct kvt_act *probe = puppet_act(puppet, KVT_ACT_POST);
    assert_int_equal(probe->bytes, 4096);
    assert_int_equal(probe->header.attempt, 5);
    assert_int_equal(probe->header.to, PUPPET_PEER);
    assert_memory_equal(probe->header.secret, puppet->secret, 16);

    puppet_say_heartbeat(puppet, false);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_PAIR_READY), 0);
    puppet_say_heartbeat(puppet, true);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_PAIR_READY), 1);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_POST), 1);
    assert_true(kvt_paired(puppet->kvt, PUPPET_PEER));
}

static void test_p_refuses_what_differs(void **state)
{
    static const char *const parts[] = {"version", "layout", "numerics", "fingerprint"};
    static const char *const theirs[] = {"9", "L9", "numerics-b", "model-b"};
    struct puppet *puppet = *state;
    for (uint32_t i = 0; i < 4; i++) {
        struct wire_msg msg = puppet_pair_msg(puppet, 5 + i);
        msg.pair.version_min = i == 0 ? 9 : WIRE_VERSION_MIN;
        msg.pair.version_max = i == 0 ? 9 : WIRE_VERSION_MAX;
        msg.pair.layout = i == 1 ? wire_span_of("L9") : msg.pair.layout;
        msg.pair.numerics = i == 2 ? wire_span_of("numerics-b") : msg.pair.numerics;
        msg.pair.fingerprint = i == 3 ? wire_span_of("model-b") : msg.pair.fingerprint;
        puppet_say_raw(puppet, PUPPET_LINK, &msg);
        const struct wire_msg *bye = puppet_msg(puppet, WIRE_KIND_BYE);
        assert_int_equal(bye->session, 5 + i);
        assert_int_equal(bye->bye.code, STATUS_INCOMPATIBLE);
        assert_true(span_has(bye->bye.text, parts[i]));
        assert_true(span_has(bye->bye.text, theirs[i]));
        assert_true(i == 0 || span_has(bye->bye.text, "the-peer"));
        assert_int_equal(puppet_pairs(puppet), 0);
        puppet_clear(puppet);
    }
}

static void test_d_notes_the_refusal_and_waits(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_D_ASKED);
    puppet_say_bye(puppet, STATUS_INCOMPATIBLE, "The layout differs.");
    const struct kvt_note *note = puppet_note(puppet, KVT_NOTE_PAIR_LOST);
    assert_int_equal(note->status, STATUS_INCOMPATIBLE);
    assert_memory_equal(note->note, "The layout differs.", note->note_len);
    assert_int_equal(puppet_n_msgs(puppet, WIRE_KIND_BYE), 0);
    puppet_wait(puppet, KVT_INCOMPATIBLE_MS - 100, false);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN), 0);
    puppet_wait(puppet, 200, false);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN), 1);
}

enum cause { CAUSE_ERROR, CAUSE_LINK, CAUSE_BYE, CAUSE_GONE, CAUSE_SILENCE, CAUSE_GAP, N_CAUSES };

static void strike(struct puppet *puppet, enum cause cause)
{
    struct kvt_event error = {.kind = KVT_EVENT_ERROR, .pair = puppet->pair, .status = STATUS_LOST};
    switch (cause) {
    case CAUSE_ERROR:
        puppet_event(puppet, &error);
        break;
    case CAUSE_LINK:
        kvt_link_down(puppet->kvt, PUPPET_LINK, puppet->now_ns);
        break;
    case CAUSE_BYE:
        puppet_say_bye(puppet, STATUS_LOST, "over");
        break;
    case CAUSE_GONE:
        kvt_peer_gone(puppet->kvt, PUPPET_PEER, puppet->now_ns);
        break;
    case CAUSE_SILENCE:
        puppet_wait(puppet, KVT_PAIRING_MS + 100, false);
        break;
    default:
        puppet->seq++;
        puppet_say_heartbeat(puppet, false);
    }
    puppet_drain(puppet);
}

/* In every state of either side, whatever breaks the pair closes its worker. D waits and opens the
 * next, unless the peer is gone or unreachable; P forgets. */
static void test_every_fence(void **state)
{
    (void)state;
    for (int stage = PUPPET_D_OPENING; stage <= PUPPET_P_READY; stage++) {
        for (int cause = 0; cause < N_CAUSES; cause++) {
            bool d = stage <= PUPPET_D_READY;
            if (stage == PUPPET_D_OPENING && (cause == CAUSE_BYE || cause == CAUSE_GAP)) {
                continue; /* no session yet */
            }
            struct puppet *puppet = puppet_create();
            puppet_bring(puppet, (enum puppet_stage)stage);
            uint32_t number = puppet->pair;
            strike(puppet, (enum cause)cause);
            assert_true(puppet_n_acts(puppet, KVT_ACT_CLOSE) >= 1);
            size_t first = 0;
            while (puppet->acts[first].kind != KVT_ACT_CLOSE) {
                first++;
            }
            assert_int_equal(puppet->acts[first].pair, number);
            bool ready = stage == PUPPET_D_READY || stage == PUPPET_P_READY;
            assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_PAIR_LOST), ready);
            assert_false(kvt_paired(puppet->kvt, PUPPET_PEER));
            bool known = d && cause != CAUSE_GONE;
            assert_int_equal(puppet_pairs(puppet), known);
            bool told = stage != PUPPET_D_OPENING && cause != CAUSE_LINK && cause != CAUSE_BYE;
            assert_true((puppet_n_msgs(puppet, WIRE_KIND_BYE) > 0) == told);
            size_t opens = puppet_n_acts(puppet, KVT_ACT_OPEN);
            puppet_wait(puppet, KVT_REPAIR_MS + 50, false);
            bool again = known && cause != CAUSE_LINK;
            if (cause != CAUSE_SILENCE) { /* that took so long that it may have tried already */
                assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN) - opens, again);
            }
            puppet_destroy(puppet);
        }
    }
}

static void test_d_waits_before_it_tries_again(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_D_READY);
    uint32_t old = puppet->pair;
    strike(puppet, CAUSE_ERROR);
    puppet_wait(puppet, KVT_REPAIR_MS - 50, false);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN), 0);
    puppet_wait(puppet, 100, false);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    assert_true(puppet->pair > old);
    puppet_opened(puppet);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_PAIR)->session, puppet->session + 1);
    /* Events of the old pair are nobody's. */
    struct kvt_event error = {.kind = KVT_EVENT_ERROR, .pair = old, .status = STATUS_LOST};
    puppet_clear(puppet);
    puppet_event(puppet, &error);
    assert_int_equal(puppet->n_acts, 0);
}

static void test_a_lost_link_waits_for_a_new_one(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_D_READY);
    strike(puppet, CAUSE_LINK);
    puppet_wait(puppet, 2000, false);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN), 0);
    kvt_peer_up(puppet->kvt, PUPPET_PEER, PUPPET_LINK + 1, KVT_PATH_NETWORK, puppet->now_ns);
    puppet_drain(puppet);
    assert_int_equal(puppet_act(puppet, KVT_ACT_OPEN)->path, KVT_PATH_NETWORK);
    puppet->pair = puppet_act(puppet, KVT_ACT_OPEN)->pair;
    puppet_opened(puppet);
    assert_int_equal(puppet->links[puppet->n_msgs - 1], PUPPET_LINK + 1);
    /* The same link again: nothing; another: anew. */
    puppet_clear(puppet);
    kvt_peer_up(puppet->kvt, PUPPET_PEER, PUPPET_LINK + 1, KVT_PATH_NETWORK, puppet->now_ns);
    puppet_drain(puppet);
    assert_int_equal(puppet->n_acts, 0);
    kvt_peer_up(puppet->kvt, PUPPET_PEER, PUPPET_LINK + 2, KVT_PATH_NETWORK, puppet->now_ns);
    puppet_drain(puppet);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN), 1);
}

static void test_p_takes_the_newer_pair(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_P_READY);
    uint32_t old = puppet->pair;
    uint32_t session = puppet->session;
    struct wire_msg msg = puppet_pair_msg(puppet, session); /* the old one once more */
    puppet_say_raw(puppet, PUPPET_LINK, &msg);
    assert_int_equal(puppet->n_acts + puppet->n_msgs, 0);
    puppet_say_pair(puppet, session + 1);
    assert_int_equal(puppet->acts[0].kind, KVT_ACT_CLOSE);
    assert_int_equal(puppet->acts[0].pair, old);
    assert_int_equal(puppet->acts[1].kind, KVT_ACT_OPEN);
    assert_int_equal(puppet_n_notes(puppet, KVT_NOTE_PAIR_LOST), 1);
    assert_int_equal(puppet_pairs(puppet), 1);
}

static void test_a_new_incarnation_ends_the_old(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_P_READY);
    struct wire_msg msg = puppet_pair_msg(puppet, 1);
    msg.from = PUPPET_PEER + 1;
    puppet_say_raw(puppet, PUPPET_LINK, &msg);
    assert_int_equal(puppet_act(puppet, KVT_ACT_CLOSE)->pair, puppet->pair);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_OPEN), 1);
    assert_int_equal(puppet_pairs(puppet), 1);
}

static void test_peers_are_bounded(void **state)
{
    struct puppet *puppet = *state;
    for (uint32_t i = 0; i < 3; i++) {
        struct wire_msg msg = puppet_pair_msg(puppet, 1);
        msg.from = PUPPET_PEER + i;
        puppet_say_raw(puppet, PUPPET_LINK + i, &msg);
    }
    assert_int_equal(puppet_pairs(puppet), puppet->cfg.peers_max);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_FULL);
    kvt_peer_up(puppet->kvt, 0x9999, 99, KVT_PATH_LOCAL, puppet->now_ns);
    puppet_drain(puppet);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_PAIR_LOST)->status, STATUS_FULL);
    assert_int_equal(puppet_note(puppet, KVT_NOTE_PAIR_LOST)->peer, 0x9999);
}

static void test_strange_messages_change_nothing(void **state)
{
    struct puppet *puppet = *state;
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    puppet->session = 3;
    puppet_say(puppet, &msg); /* no such session */
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->session, 3);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->seq, 0);
    puppet_clear(puppet);
    puppet_say_bye(puppet, STATUS_LOST, "over"); /* never answered by another */
    assert_int_equal(puppet->n_msgs, 0);
    msg = puppet_pair_msg(puppet, 4);
    msg.to = PUPPET_SELF + 1; /* for the process that was here before */
    puppet_say_raw(puppet, PUPPET_LINK, &msg);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_STALE);
    msg = puppet_pair_msg(puppet, 4);
    memset(msg.pair.secret.byte, 0, 16);
    puppet_say_raw(puppet, PUPPET_LINK, &msg);
    assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_PROTOCOL);
    assert_int_equal(puppet_pairs(puppet), 0);

    puppet_bring(puppet, PUPPET_P_READY);
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    puppet_say(puppet, &msg);
    puppet_say_raw(puppet, PUPPET_LINK, &msg); /* a double */
    assert_int_equal(puppet->n_acts + puppet->n_msgs, 0);
    struct kvt_event event = {.kind = KVT_EVENT_OFFERED, .pair = puppet->pair, .handle = 5};
    puppet_event(puppet, &event); /* nobody offers to P */
    assert_int_equal(puppet_act(puppet, KVT_ACT_RELEASE)->handle, 5);
}

static void test_messages_of_the_other_side_fence(void **state)
{
    (void)state;
    static const enum wire_kind to_p[] = {WIRE_KIND_PAIRED, WIRE_KIND_SEAL};
    static const enum wire_kind to_d[] = {WIRE_KIND_WANT, WIRE_KIND_LANDED, WIRE_KIND_PAIRED};
    for (size_t i = 0; i < 5; i++) {
        struct puppet *puppet = puppet_create();
        puppet_bring(puppet, i < 2 ? PUPPET_P_READY : PUPPET_D_READY);
        struct wire_msg msg;
        wire_msg_init(&msg, i < 2 ? to_p[i] : to_d[i - 2]);
        msg.req = puppet_req(1);
        puppet_say(puppet, &msg);
        assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
        assert_int_equal(puppet_msg(puppet, WIRE_KIND_BYE)->bye.code, STATUS_PROTOCOL);
        puppet_destroy(puppet);
    }
}

static void test_pairing_has_its_bound(void **state)
{
    struct puppet *puppet = *state;
    puppet_bring(puppet, PUPPET_D_PROBING);
    puppet_wait(puppet, KVT_PAIRING_MS - 200, true);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 0);
    puppet_wait(puppet, 300, true);
    assert_int_equal(puppet_n_acts(puppet, KVT_ACT_CLOSE), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_d_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_d_is_ready_after_the_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probe_must_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p_pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p_refuses_what_differs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_d_notes_the_refusal_and_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_d_waits_before_it_tries_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_link_waits_for_a_new_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_p_takes_the_newer_pair, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_incarnation_ends_the_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strange_messages_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_of_the_other_side_fence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pairing_has_its_bound, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
