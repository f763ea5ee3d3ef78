/* A node's session with a router, row by row of bond.h's table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "wire/bond.h"
#include "wire/session.h"

#define SELF UINT64_C(0x5e1f)
#define ROUTER UINT64_C(0x4007)
#define LINK 3u

struct fixture {
    struct bond *bond;
    struct wire_out *out;
    struct arena *arena;
    uint64_t now_ns;
};

static void fixture_open(struct fixture *f)
{
    struct bond_cfg cfg = {.self = SELF};
    struct wire_msg join;
    wire_msg_init(&join, WIRE_KIND_JOIN);
    join.join.name = wire_span_of("d0");
    cfg.join = join.join;
    *f = (struct fixture){.now_ns = 100 * NS_PER_S};
    assert_int_equal(bond_create(&cfg, &f->bond), STATUS_OK);
    assert_int_equal(wire_out_create(1 << 16, &f->out), STATUS_OK);
    assert_int_equal(arena_create(4096, 1 << 20, &f->arena), STATUS_OK);
}

static void fixture_close(struct fixture *f)
{
    bond_destroy(f->bond);
    wire_out_destroy(f->out);
    arena_destroy(f->arena);
}

/* The one message that was posted. */
static struct wire_msg posted(struct fixture *f)
{
    struct wire_msg msg;
    assert_int_equal(wire_out_count(f->out), 1);
    struct wire_out_item item = wire_out_at(f->out, 0);
    assert_int_equal(item.link, LINK);
    assert_int_equal(wire_msg_decode(item.bytes, item.len, f->arena, &msg, NULL), STATUS_OK);
    wire_out_clear(f->out);
    return msg;
}

static enum status say(struct fixture *f, enum wire_kind kind, uint32_t session, uint64_t seq)
{
    struct wire_msg msg;
    wire_msg_init(&msg, kind);
    msg.session = session;
    msg.seq = seq;
    msg.from = ROUTER;
    msg.to = SELF;
    if (kind == WIRE_KIND_BYE) {
        msg.bye.code = STATUS_INCOMPATIBLE;
        msg.bye.text = wire_span_of("The model differs.");
    }
    return bond_take(f->bond, LINK, &msg, f->out, f->now_ns);
}

static uint32_t join(struct fixture *f)
{
    struct wire_msg msg = posted(f);
    assert_int_equal(msg.kind, WIRE_KIND_JOIN);
    assert_int_equal(msg.seq, 1);
    assert_int_equal(msg.from, SELF);
    assert_int_equal(msg.to, 0);
    assert_true(wire_span_equal(msg.join.name, wire_span_of("d0")));
    return msg.session;
}

static uint32_t come_up(struct fixture *f)
{
    assert_int_equal(bond_link_up(f->bond, LINK, f->out, f->now_ns), STATUS_OK);
    uint32_t session = join(f);
    assert_int_equal(bond_n_up(f->bond), 0);
    assert_int_equal(say(f, WIRE_KIND_WELCOME, session, 1), STATUS_AGAIN);
    assert_int_equal(bond_n_up(f->bond), 1);
    return session;
}

static void must_have_lost(struct fixture *f, bool expected)
{
    uint32_t link = 0;
    assert_int_equal(bond_take_lost(f->bond, &link), expected);
    assert_int_equal(link, expected ? LINK : 0);
    assert_false(bond_take_lost(f->bond, &link));
}

static void joins_and_hears(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    assert_false(bond_has(f.bond, LINK));
    uint32_t session = come_up(&f);
    assert_true(bond_has(f.bond, LINK));
    assert_int_equal(say(&f, WIRE_KIND_ROSTER, session, 2), STATUS_OK);
    assert_int_equal(say(&f, WIRE_KIND_ROSTER, session, 2), STATUS_AGAIN);
    assert_int_equal(say(&f, WIRE_KIND_HEARTBEAT, session, 3), STATUS_AGAIN);
    must_have_lost(&f, false);
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_LANDED);
    msg.req.byte[0] = 1;
    bond_post(f.bond, LINK, f.out, &msg);
    msg = posted(&f);
    assert_int_equal(msg.seq, 2);
    assert_int_equal(msg.to, ROUTER);
    fixture_close(&f);
}

static void a_gap_joins_again(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint32_t session = come_up(&f);
    assert_int_equal(say(&f, WIRE_KIND_ROSTER, session, 3), STATUS_AGAIN);
    must_have_lost(&f, true);
    assert_true(join(&f) > session);
    assert_int_equal(bond_n_up(f.bond), 0);
    /* What is still said in the old session is nothing. */
    assert_int_equal(say(&f, WIRE_KIND_ROSTER, session, 4), STATUS_AGAIN);
    assert_int_equal(say(&f, WIRE_KIND_BYE, session, 0), STATUS_AGAIN);
    assert_int_equal(wire_out_count(f.out), 0);
    assert_int_equal(say(&f, WIRE_KIND_WELCOME, session + 1, 1), STATUS_AGAIN);
    assert_int_equal(bond_n_up(f.bond), 1);
    must_have_lost(&f, false);
    fixture_close(&f);
}

static void silence_joins_again(void **state)
{
    (void)state;
    struct fixture f;
    struct wire_heartbeat beat = {.tick = 5};
    fixture_open(&f);
    uint32_t session = come_up(&f);
    const uint64_t heard_ns = f.now_ns;
    while (wire_out_count(f.out) == 0) {
        f.now_ns += 25 * NS_PER_MS;
        bond_tick(f.bond, &beat, f.out, f.now_ns);
    }
    assert_int_equal(f.now_ns - heard_ns, WIRE_HEARTBEAT_MS * NS_PER_MS);
    struct wire_msg msg = posted(&f);
    assert_int_equal(msg.kind, WIRE_KIND_HEARTBEAT);
    assert_int_equal(msg.heartbeat.tick, 5);
    /* Ticks come often: one that is late itself is no silence of the other side. */
    while (bond_n_up(f.bond) == 1) {
        assert_true(f.now_ns - heard_ns < WIRE_SILENCE_MS * NS_PER_MS);
        f.now_ns += 25 * NS_PER_MS;
        wire_out_clear(f.out);
        bond_tick(f.bond, &beat, f.out, f.now_ns);
    }
    assert_true(f.now_ns - heard_ns >= WIRE_SILENCE_MS * NS_PER_MS);
    must_have_lost(&f, true);
    assert_int_equal(join(&f), session + 1);
    fixture_close(&f);
}

static void a_refusal_waits(void **state)
{
    (void)state;
    struct fixture f;
    struct wire_heartbeat beat = {.tick = 0};
    fixture_open(&f);
    assert_int_equal(bond_link_up(f.bond, LINK, f.out, f.now_ns), STATUS_OK);
    uint32_t session = join(&f);
    assert_int_equal(say(&f, WIRE_KIND_BYE, session, 0), STATUS_AGAIN);
    must_have_lost(&f, false);
    f.now_ns += (BOND_REFUSED_MS - 1) * NS_PER_MS;
    bond_tick(f.bond, &beat, f.out, f.now_ns);
    assert_int_equal(wire_out_count(f.out), 0);
    f.now_ns += NS_PER_MS;
    bond_tick(f.bond, &beat, f.out, f.now_ns);
    assert_int_equal(join(&f), session + 1);
    fixture_close(&f);
}

static void a_link_goes_down(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    (void)come_up(&f);
    bond_link_down(f.bond, LINK);
    assert_int_equal(bond_n_up(f.bond), 0);
    must_have_lost(&f, true);
    assert_false(bond_has(f.bond, LINK));
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_BYE);
    bond_post(f.bond, LINK, f.out, &msg);
    bond_leave(f.bond, STATUS_DRAINING, f.out);
    assert_int_equal(wire_out_count(f.out), 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_and_hears),     cmocka_unit_test(a_gap_joins_again),
        cmocka_unit_test(silence_joins_again), cmocka_unit_test(a_refusal_waits),
        cmocka_unit_test(a_link_goes_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
