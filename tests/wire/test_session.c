/* Sessions: each row of the table, and the promise over a wire that drops, doubles and swaps: the
 * receiver takes a prefix of what was sent, in order, or learns that something is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/rand.h"
#include "wire/session.h"

#define A UINT64_C(0xaaaa)
#define B UINT64_C(0xbbbb)

static struct wire_msg message(uint32_t session, uint64_t seq, uint64_t from, uint64_t to)
{
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
    msg.session = session;
    msg.seq = seq;
    msg.from = from;
    msg.to = to;
    return msg;
}

static void rows_of_the_table(void **state)
{
    (void)state;
    static const struct {
        uint32_t session;
        uint64_t seq, from, to;
        enum status expected;
    } rows[] = {
        {5, 1, B, A, STATUS_OK},      {5, 1, B, A, STATUS_AGAIN}, {5, 2, B, A, STATUS_OK},
        {4, 3, B, A, STATUS_AGAIN},   {6, 1, B, A, STATUS_STALE}, {5, 3, 0xc, A, STATUS_STALE},
        {5, 3, B, 0xc, STATUS_STALE}, {5, 3, 0, A, STATUS_STALE}, {5, 3, B, 0, STATUS_OK},
        {5, 0, B, A, STATUS_AGAIN},   {5, 4, B, A, STATUS_OK},    {5, 6, B, A, STATUS_LOST},
        {5, 5, B, A, STATUS_LOST},    {5, 4, B, A, STATUS_LOST},  {4, 5, B, A, STATUS_AGAIN},
        {6, 1, B, A, STATUS_STALE},
    };
    struct wire_session session;
    wire_session_open(&session, 1, 5, A, B, 100);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wire_msg msg = message(rows[i].session, rows[i].seq, rows[i].from, rows[i].to);
        enum status found = wire_session_take(&session, &msg, 200 + i);
        if (found != rows[i].expected) {
            fail_msg("row %zu: expected %s, found %s", i, status_name(rows[i].expected),
                     status_name(found));
        }
        if (found == STATUS_OK) {
            assert_int_equal(session.heard_ns, 200 + i);
        } else {
            assert_int_not_equal(session.heard_ns, 200 + i);
        }
    }
}

/* The opener learns the other's incarnation from the first answer, and keeps to it. */
static void the_peer_is_learnt_once(void **state)
{
    (void)state;
    struct wire_session session;
    wire_session_open(&session, 1, 1, A, 0, 0);
    struct wire_msg msg = message(1, 1, B, A);
    assert_int_equal(wire_session_take(&session, &msg, 1), STATUS_OK);
    assert_int_equal(session.peer, B);
    msg = message(1, 2, 0xc, A);
    assert_int_equal(wire_session_take(&session, &msg, 1), STATUS_STALE);
}

static void a_bye_needs_no_number(void **state)
{
    (void)state;
    struct wire_session session;
    wire_session_open(&session, 1, 3, A, B, 0);
    struct wire_msg msg = message(3, 0, B, A);
    msg.kind = WIRE_KIND_BYE;
    assert_int_equal(wire_session_take(&session, &msg, 1), STATUS_OK);
    msg.session = 2;
    assert_int_equal(wire_session_take(&session, &msg, 1), STATUS_AGAIN);
    msg = message(3, 1, B, A);
    assert_int_equal(wire_session_take(&session, &msg, 1), STATUS_OK);
}

static void silence_and_beats(void **state)
{
    (void)state;
    struct wire_session session;
    uint64_t start = 10 * NS_PER_S;
    wire_session_open(&session, 1, 1, A, B, start);
    assert_false(wire_session_silent(&session, start + (WIRE_SILENCE_MS - 1) * NS_PER_MS));
    assert_true(wire_session_silent(&session, start + WIRE_SILENCE_MS * NS_PER_MS));
    assert_false(wire_session_beat_due(&session, start + 249 * NS_PER_MS));
    assert_true(wire_session_beat_due(&session, start + 250 * NS_PER_MS));
    /* A clock that jumps back is no silence. */
    assert_false(wire_session_silent(&session, 0));
    assert_false(wire_session_beat_due(&session, 0));
}

static void a_failed_post_uses_no_number(void **state)
{
    (void)state;
    struct wire_out *out;
    struct wire_session session;
    struct wire_msg msg;
    assert_int_equal(wire_out_create(100, &out), STATUS_OK);
    wire_session_open(&session, 7, 1, A, B, 0);
    wire_msg_init(&msg, WIRE_KIND_BYE);
    char text[200] = {0};
    msg.bye.text = (struct wire_span){text, sizeof(text)};
    assert_int_equal(wire_session_post(&session, out, &msg), STATUS_TOO_BIG);
    assert_int_equal(session.sent, 0);
    assert_int_equal(wire_out_count(out), 0);
    msg.bye.text.len = 1;
    assert_int_equal(wire_session_post(&session, out, &msg), STATUS_OK);
    assert_int_equal(session.sent, 1);
    assert_int_equal(msg.seq, 1);
    assert_int_equal(msg.from, A);
    assert_int_equal(msg.to, B);
    assert_int_equal(wire_out_at(out, 0).link, 7);
    session.broken = true;
    assert_int_equal(wire_session_post(&session, out, &msg), STATUS_LOST);
    assert_int_equal(wire_out_count(out), 1);
    wire_out_clear(out);
    assert_int_equal(wire_out_count(out), 0);
    wire_out_destroy(out);
}

/* ---- the promise ---------------------------------------------------------------------------- */

#define FLIGHT_MAX 64

struct network {
    struct rand rng;
    uint32_t drop, twice, swap; /* chances in 1000 */
    struct wire_msg flight[FLIGHT_MAX];
    size_t n;
    bool dropped;
};

static void network_put(struct network *net, const struct wire_msg *msg)
{
    uint32_t copies = rand_chance(&net->rng, net->twice, 1000) ? 2 : 1;
    if (rand_chance(&net->rng, net->drop, 1000)) {
        net->dropped = true;
        copies = 0;
    }
    for (uint32_t i = 0; i < copies && net->n < FLIGHT_MAX; i++) {
        net->flight[net->n++] = *msg;
    }
}

static struct wire_msg network_get(struct network *net)
{
    size_t idx = rand_chance(&net->rng, net->swap, 1000) ? rand_below(&net->rng, net->n) : 0;
    struct wire_msg msg = net->flight[idx];
    memmove(&net->flight[idx], &net->flight[idx + 1], (net->n - idx - 1) * sizeof(msg));
    net->n--;
    return msg;
}

struct result {
    uint64_t taken;
    bool lost;
};

/* Sends n messages with their number as tick, and takes what comes. */
static struct result carry(struct network *net, struct arena *arena, uint64_t n)
{
    struct wire_out *out;
    struct wire_session sender, receiver;
    struct result result = {0, false};
    assert_int_equal(wire_out_create(1 << 16, &out), STATUS_OK);
    wire_session_open(&sender, 1, 9, A, B, 0);
    wire_session_open(&receiver, 1, 9, B, A, 0);
    uint64_t posted = 0;
    while (posted < n || net->n > 0) {
        if (posted < n && net->n < FLIGHT_MAX / 2 && rand_chance(&net->rng, 1, 2)) {
            struct wire_msg msg, decoded;
            wire_msg_init(&msg, WIRE_KIND_HEARTBEAT);
            msg.heartbeat.tick = ++posted;
            assert_int_equal(wire_session_post(&sender, out, &msg), STATUS_OK);
            struct wire_out_item item = wire_out_at(out, 0);
            assert_int_equal(wire_msg_decode(item.bytes, item.len, arena, &decoded, NULL),
                             STATUS_OK);
            wire_out_clear(out);
            network_put(net, &decoded);
        } else if (net->n > 0) {
            struct wire_msg msg = network_get(net);
            enum status status = wire_session_take(&receiver, &msg, 1);
            if (status == STATUS_OK) {
                assert_false(result.lost);
                assert_int_equal(msg.heartbeat.tick, ++result.taken);
            }
            assert_true(status == STATUS_OK || status == STATUS_AGAIN || status == STATUS_LOST);
            result.lost = result.lost || status == STATUS_LOST;
        }
    }
    wire_out_destroy(out);
    return result;
}

static void a_prefix_in_order_or_lost(void **state)
{
    (void)state;
    struct arena *arena;
    assert_int_equal(arena_create(4096, 1 << 20, &arena), STATUS_OK);
    uint32_t n_lost = 0, n_whole = 0;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        static struct network net;
        net = (struct network){.n = 0};
        rand_init(&net.rng, seed);
        net.drop = (uint32_t)rand_below(&net.rng, 3) * 10;
        net.twice = (uint32_t)rand_below(&net.rng, 3) * 100;
        net.swap = (uint32_t)rand_below(&net.rng, 3) * 20;
        struct result result = carry(&net, arena, 100);
        bool disturbed = net.drop > 0 || net.swap > 0;
        if (!disturbed) { /* doubles alone are no loss */
            assert_int_equal(result.taken, 100);
            assert_false(result.lost);
        }
        if (result.taken < 100 && !result.lost) {
            /* Only the end can be missing without a gap; the next heartbeat would show it. */
            assert_true(net.dropped);
        }
        n_lost += result.lost;
        n_whole += result.taken == 100;
    }
    assert_true(n_lost > 200);
    assert_true(n_whole > 200);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_the_table),
        cmocka_unit_test(the_peer_is_learnt_once),
        cmocka_unit_test(a_bye_needs_no_number),
        cmocka_unit_test(silence_and_beats),
        cmocka_unit_test(a_failed_post_uses_no_number),
        cmocka_unit_test(a_prefix_in_order_or_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
