/* The codec: round trips of every kind, the bound, defaults, limits and refusals of every field,
 * what printing must not show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tests/wire/equal.h"
#include "tests/wire/sample.h"

#define ARENA_BYTES (64u << 20)

struct fixture {
    struct arena *arena;
    char *buf; /* [WIRE_CONTROL_BYTES_MAX] */
    const char *why;
    struct wire_msg out;
};

static int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    assert_int_equal(arena_create(1 << 16, ARENA_BYTES, &fixture->arena), STATUS_OK);
    fixture->buf = malloc(WIRE_CONTROL_BYTES_MAX);
    assert_non_null(fixture->buf);
    *state = fixture;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *fixture = *state;
    arena_destroy(fixture->arena);
    free(fixture->buf);
    free(fixture);
    return 0;
}

static enum status decode(struct fixture *fixture, const void *bytes, size_t len)
{
    fixture->why = "";
    /* A copy of exactly this size lets a sanitizer see every read past the end. */
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    memset(&fixture->out, 0x5a, sizeof(fixture->out));
    struct wire_msg untouched = fixture->out;
    enum status status = wire_msg_decode(copy, len, fixture->arena, &fixture->out, &fixture->why);
    if (status != STATUS_OK) {
        assert_memory_equal(&fixture->out, &untouched, sizeof(untouched));
        assert_true(fixture->why && fixture->why[0]);
        assert_true(status == STATUS_MALFORMED || status == STATUS_TOO_BIG ||
                    status == STATUS_NO_MEMORY);
    } else {
        char text[4096];
        wire_msg_print(&fixture->out, text, sizeof(text));
        assert_true(strlen(text) > 0);
    }
    free(copy);
    return status;
}

/* ---- round trips ---------------------------------------------------------------------------- */

static void every_kind_comes_back(void **state)
{
    struct fixture *fixture = *state;
    struct rand rng;
    rand_init(&rng, 1);
    for (uint32_t round = 0; round < 300; round++) {
        for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
            struct wire_msg msg, back;
            size_t len = 0;
            arena_reset(fixture->arena);
            sample_msg(&rng, fixture->arena, (enum wire_kind)kind, round * 3, &msg);
            size_t bound = wire_msg_bound(&msg);
            assert_true(bound <= WIRE_CONTROL_BYTES_MAX);
            assert_int_equal(wire_msg_encode(&msg, fixture->buf, bound, &len), STATUS_OK);
            assert_true(len <= bound);
            assert_int_equal(
                wire_msg_decode(fixture->buf, len, fixture->arena, &back, &fixture->why),
                STATUS_OK);
            assert_true(equal_msg(&msg, &back));
        }
    }
}

/* The encoding at any smaller capacity is refused, and writes nothing behind it. */
static void short_buffers_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct rand rng;
    rand_init(&rng, 2);
    for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
        struct wire_msg msg;
        size_t len = 0, shorter = 0;
        arena_reset(fixture->arena);
        sample_msg(&rng, fixture->arena, (enum wire_kind)kind, 8, &msg);
        assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1 << 20, &len), STATUS_OK);
        for (size_t capacity = 0; capacity < len; capacity++) {
            memset(fixture->buf, 0x77, len);
            assert_int_equal(wire_msg_encode(&msg, fixture->buf, capacity, &shorter),
                             STATUS_TOO_BIG);
            for (size_t i = capacity; i < len; i++) {
                assert_int_equal(fixture->buf[i], 0x77);
            }
        }
        assert_int_equal(shorter, 0);
    }
}

static void defaults_are_not_sent(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
        struct wire_msg msg;
        size_t len = 0;
        sample_msg(NULL, NULL, (enum wire_kind)kind, 0, &msg);
        const struct wire_table *table = wire_table_of((enum wire_kind)kind);
        assert_int_equal(wire_msg_encode(&msg, fixture->buf, 100, &len), STATUS_OK);
        size_t request = table->request ? 2 + 2 + 16 : 0;
        assert_int_equal(len, 1 + 2 + 1 + table->name_len + request);
    }
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    assert_int_equal(msg.generate.sampling.max_tokens, 16);
    assert_true(msg.generate.sampling.temperature == 1.0);
    wire_msg_init(&msg, WIRE_KIND_CANCEL);
    assert_int_equal(msg.cancel.code, STATUS_CANCELLED);
    wire_msg_init(&msg, WIRE_KIND_WELCOME);
    assert_int_equal(msg.welcome.heartbeat_ms, 250);
}

/* The bytes themselves, written down once: a change here is another protocol. */
static void bytes_are_pinned(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t expected[] = "\x85\xa1t\xa5token\xa1r\xc4\x10\x01\x02\x03\x04\x05\x06\x07"
                                      "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\xa5index\x07"
                                      "\xa5token\xcd\x01\x04\xa4text\xa1z";
    struct wire_msg msg;
    size_t len = 0;
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    for (uint8_t i = 0; i < 16; i++) {
        msg.req.byte[i] = (uint8_t)(i + 1);
    }
    msg.token.index = 7;
    msg.token.token = 260;
    msg.token.text = wire_span_of("z");
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 100, &len), STATUS_OK);
    assert_int_equal(len, sizeof(expected) - 1);
    assert_memory_equal(fixture->buf, expected, len);
}

/* ---- hand-made messages --------------------------------------------------------------------- */

struct draft {
    msgpack_sbuffer bytes;
    msgpack_packer packer;
};

static void draft_text(struct draft *draft, const char *text)
{
    msgpack_pack_str_with_body(&draft->packer, text, strlen(text));
}

/* A map that will have n pairs: "t", a request id, and what the test adds. */
static void draft_open(struct draft *draft, const struct wire_table *table, size_t n_more)
{
    msgpack_sbuffer_init(&draft->bytes);
    msgpack_packer_init(&draft->packer, &draft->bytes, msgpack_sbuffer_write);
    msgpack_pack_map(&draft->packer, 2 + n_more);
    draft_text(draft, "t");
    draft_text(draft, table->name);
    draft_text(draft, "r");
    msgpack_pack_bin_with_body(&draft->packer, "0123456789abcdef", 16);
}

static enum status draft_decode(struct draft *draft, struct fixture *fixture)
{
    enum status status = decode(fixture, draft->bytes.data, draft->bytes.size);
    msgpack_sbuffer_destroy(&draft->bytes);
    return status;
}

static void must_name(const struct fixture *fixture, const char *first, const char *second)
{
    if (!strstr(fixture->why, first) || !strstr(fixture->why, second)) {
        fail_msg("expected %s and %s in: %s", first, second, fixture->why);
    }
}

/* Calls check() for every field, also those of nested maps; `path` is the nested table or NULL. */
typedef void field_check(struct fixture *fixture, const struct wire_table *table,
                         const struct wire_table *nested, const struct wire_field *field);

static void for_each_field(struct fixture *fixture, field_check *check)
{
    for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
        const struct wire_table *table = wire_table_of((enum wire_kind)kind);
        for (uint32_t i = 0; i < table->n_fields; i++) {
            const struct wire_field *field = &table->fields[i];
            const struct wire_table *nested = wire_table_nested(field->type);
            check(fixture, table, NULL, field);
            for (uint32_t j = 0; nested && j < nested->n_fields; j++) {
                check(fixture, table, nested, &nested->fields[j]);
            }
            arena_reset(fixture->arena);
        }
    }
}

/* Opens a draft up to the place of the field's key, `copies` times inside its map. */
static void draft_at(struct draft *draft, const struct wire_table *table,
                     const struct wire_table *nested, size_t copies)
{
    draft_open(draft, table, nested ? 1 : copies);
    if (nested) {
        draft_text(draft, nested->name);
        msgpack_pack_map(&draft->packer, copies);
    }
}

/* A valid value that is not the default, or one just over the limit. False if there is no such. */
static bool draft_value(struct draft *draft, const struct wire_field *field, bool over)
{
    msgpack_packer *packer = &draft->packer;
    uint64_t limit = field->limit.u;
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
    case WIRE_TYPE_u64:
        if (over && limit == UINT64_MAX) {
            return false;
        }
        msgpack_pack_uint64(packer, over ? limit + 1 : limit);
        return true;
    case WIRE_TYPE_f64:
        msgpack_pack_double(packer, over ? -field->limit.f * (1 + DBL_EPSILON) : -field->limit.f);
        return true;
    case WIRE_TYPE_flag:
        msgpack_pack_true(packer);
        return !over;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
    case WIRE_TYPE_id: {
        size_t len = over ? limit + 1 : limit;
        char *bytes = calloc(1, len);
        assert_non_null(bytes);
        if (field->type == WIRE_TYPE_text) {
            msgpack_pack_str_with_body(packer, bytes, len);
        } else {
            msgpack_pack_bin_with_body(packer, bytes, len);
        }
        free(bytes);
        return true;
    }
    case WIRE_TYPE_u32s:
    case WIRE_TYPE_u64s:
    case WIRE_TYPE_f64s:
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies: {
        size_t n = over ? limit + 1 : limit;
        msgpack_pack_array(packer, n);
        for (size_t i = 0; i < n; i++) {
            if (field->type == WIRE_TYPE_texts || field->type == WIRE_TYPE_bodies) {
                msgpack_pack_str(packer, 0);
            } else {
                msgpack_pack_uint8(packer, 3);
            }
        }
        return true;
    }
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        msgpack_pack_map(packer, 0);
        return !over;
    }
    return false;
}

static void check_limit(struct fixture *fixture, const struct wire_table *table,
                        const struct wire_table *nested, const struct wire_field *field)
{
    struct draft draft;
    draft_at(&draft, table, nested, 1);
    draft_text(&draft, field->key);
    assert_true(draft_value(&draft, field, false));
    if (draft_decode(&draft, fixture) != STATUS_OK) {
        fail_msg("%s.%s at its limit: %s", table->name, field->key, fixture->why);
    }
    draft_at(&draft, table, nested, 1);
    draft_text(&draft, field->key);
    if (!draft_value(&draft, field, true)) {
        msgpack_sbuffer_destroy(&draft.bytes);
        return;
    }
    assert_int_equal(draft_decode(&draft, fixture), STATUS_TOO_BIG);
    must_name(fixture, table->name, field->key);
    must_name(fixture, "expected at most", "found");
}

static void limits_hold(void **state)
{
    for_each_field(*state, check_limit);
}

/* Every format that is not the field's own, one after the other. */
static void check_type(struct fixture *fixture, const struct wire_table *table,
                       const struct wire_table *nested, const struct wire_field *field)
{
    for (uint32_t other = 0; other < 9; other++) {
        struct draft draft;
        draft_at(&draft, table, nested, 1);
        draft_text(&draft, field->key);
        msgpack_packer *packer = &draft.packer;
        bool number = field->type == WIRE_TYPE_u32 || field->type == WIRE_TYPE_u64;
        bool array = field->type == WIRE_TYPE_u32s || field->type == WIRE_TYPE_u64s ||
                     field->type == WIRE_TYPE_f64s || field->type == WIRE_TYPE_texts ||
                     field->type == WIRE_TYPE_bodies;
        bool good = false;
        switch (other) {
        case 0:
            msgpack_pack_nil(packer);
            break;
        case 1:
            msgpack_pack_false(packer);
            good = field->type == WIRE_TYPE_flag;
            break;
        case 2:
            msgpack_pack_uint8(packer, 0);
            good = number || field->type == WIRE_TYPE_f64;
            break;
        case 3:
            msgpack_pack_int8(packer, -1);
            good = field->type == WIRE_TYPE_f64;
            break;
        case 4:
            msgpack_pack_float(packer, 0.5f);
            good = field->type == WIRE_TYPE_f64;
            break;
        case 5:
            msgpack_pack_str_with_body(packer, "", 0);
            good = field->type == WIRE_TYPE_text;
            break;
        case 6:
            msgpack_pack_bin_with_body(packer, "0123456789abcdef", 16);
            good = field->type == WIRE_TYPE_bytes || field->type == WIRE_TYPE_id;
            break;
        case 7:
            msgpack_pack_array(packer, 0);
            good = array;
            break;
        default:
            msgpack_pack_map(packer, 0);
            good = wire_table_nested(field->type) != NULL;
            break;
        }
        enum status status = draft_decode(&draft, fixture);
        if (status != (good ? STATUS_OK : STATUS_MALFORMED)) {
            fail_msg("%s.%s with format %u: %s", table->name, field->key, other,
                     status_name(status));
        }
        if (!good) {
            must_name(fixture, table->name, field->key);
            must_name(fixture, "expected", "found");
        }
    }
}

static void types_hold(void **state)
{
    for_each_field(*state, check_type);
}

static void check_once(struct fixture *fixture, const struct wire_table *table,
                       const struct wire_table *nested, const struct wire_field *field)
{
    if (field->limit.u > 100000 && field->type > WIRE_TYPE_flag) {
        return; /* twice this much is over the size of a message */
    }
    struct draft draft;
    draft_at(&draft, table, nested, 2);
    for (int i = 0; i < 2; i++) {
        draft_text(&draft, field->key);
        draft_value(&draft, field, false);
    }
    assert_int_equal(draft_decode(&draft, fixture), STATUS_MALFORMED);
    must_name(fixture, field->key, "twice");
}

static void doubles_are_refused(void **state)
{
    for_each_field(*state, check_once);
    struct fixture *fixture = *state;
    static const char *const twice[] = {"\x82\xa1t\xa5hello\xa1t\xa5hello",
                                        "\x83\xa1t\xa5hello\xa1n\x01\xa1n\x01"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(decode(fixture, twice[i], strlen(twice[i])), STATUS_MALFORMED);
        must_name(fixture, "twice", i ? "n" : "t");
    }
}

/* What the encoder lets out, the decoder lets in: over a limit nothing is sent. */
static void check_encode(struct fixture *fixture, const struct wire_table *table,
                         const struct wire_table *nested, const struct wire_field *field)
{
    static uint32_t many[1];
    struct wire_msg msg;
    size_t len;
    uint32_t kind = 0;
    while (wire_table_of((enum wire_kind)kind) != table) {
        kind++;
    }
    sample_msg(NULL, NULL, (enum wire_kind)kind, 0, &msg);
    char *at = (char *)&msg + WIRE_BODY_OFFSET + field->offset;
    for (uint32_t i = 0; nested && i < table->n_fields; i++) {
        at += strcmp(table->fields[i].key, nested->name) == 0 ? table->fields[i].offset : 0;
    }
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        if (field->limit.u == UINT32_MAX) {
            return;
        }
        *(uint32_t *)at = (uint32_t)field->limit.u + 1;
        break;
    case WIRE_TYPE_f64:
        *(double *)at = field->limit.f * (1 + DBL_EPSILON);
        assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1 << 20, &len), STATUS_TOO_BIG);
        *(double *)at = NAN;
        break;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        *(struct wire_span *)at = (struct wire_span){(char *)many, field->limit.u + 1};
        break;
    case WIRE_TYPE_u32s:
        *(struct wire_u32s *)at = (struct wire_u32s){many, field->limit.u + 1};
        break;
    case WIRE_TYPE_u64s:
        *(struct wire_u64s *)at = (struct wire_u64s){(uint64_t *)(void *)many, field->limit.u + 1};
        break;
    case WIRE_TYPE_f64s:
        *(struct wire_f64s *)at = (struct wire_f64s){(double *)(void *)many, field->limit.u + 1};
        break;
    default:
        return;
    }
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1 << 20, &len), STATUS_TOO_BIG);
}

/* Elements of arrays have limits of their own. */
static void elements_have_limits(void **state)
{
    struct fixture *fixture = *state;
    double values[] = {0, INFINITY};
    struct wire_msg msg;
    size_t len;
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.sampling.bias_values = (struct wire_f64s){values, 2};
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1000, &len), STATUS_TOO_BIG);
    values[1] = NAN;
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1000, &len), STATUS_TOO_BIG);
    values[1] = DBL_MAX;
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1000, &len), STATUS_OK);
    static const char infinite[] = "\x82\xa1t\xa8generate\xa8sampling\x81\xab"
                                   "bias_values\x91\xcb\xff\xf0\0\0\0\0\0\0";
    assert_int_equal(decode(fixture, infinite, sizeof(infinite) - 1), STATUS_MALFORMED);
    must_name(fixture, "bias_values", "finite");

    struct draft draft;
    char *text = calloc(1, WIRE_TEXT_MAX + 1);
    struct wire_span content = {text, WIRE_TEXT_MAX + 1};
    assert_non_null(text);
    for (size_t over = 0; over < 2; over++) {
        draft_open(&draft, wire_table_of(WIRE_KIND_GENERATE), 1);
        draft_text(&draft, "contents");
        msgpack_pack_array(&draft.packer, 1);
        msgpack_pack_str_with_body(&draft.packer, text, WIRE_TEXT_MAX + over);
        assert_int_equal(draft_decode(&draft, fixture), over ? STATUS_TOO_BIG : STATUS_OK);
    }
    must_name(fixture, "contents", "expected at most");
    char *room = malloc(WIRE_TEXT_MAX + 1000);
    assert_non_null(room);
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.contents = (struct wire_texts){&content, 1};
    assert_int_equal(wire_msg_encode(&msg, room, WIRE_TEXT_MAX + 1000, &len), STATUS_TOO_BIG);
    content.len--;
    assert_int_equal(wire_msg_encode(&msg, room, WIRE_TEXT_MAX + 1000, &len), STATUS_OK);
    free(room);
    free(text);
}

static void nothing_over_a_limit_is_sent(void **state)
{
    for_each_field(*state, check_encode);
    struct fixture *fixture = *state;
    struct wire_msg msg;
    size_t len;
    char name[WIRE_NAME_MAX + 1] = {0};
    struct wire_span text = {name, sizeof(name)};
    wire_msg_init(&msg, WIRE_KIND_MODEL_LIST);
    msg.model_list.names = (struct wire_texts){&text, 1};
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1000, &len), STATUS_TOO_BIG);
    text.len--;
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1000, &len), STATUS_OK);
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1000, &len), STATUS_INVALID);
}

static void floats_are_finite(void **state)
{
    struct fixture *fixture = *state;
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        struct draft draft;
        draft_open(&draft, wire_table_of(WIRE_KIND_TOKEN), 1);
        draft_text(&draft, "logprob");
        msgpack_pack_double(&draft.packer, bad[i]);
        assert_int_equal(draft_decode(&draft, fixture), STATUS_MALFORMED);
        must_name(fixture, "token.logprob", "finite");
    }
    struct draft draft;
    draft_open(&draft, wire_table_of(WIRE_KIND_TOKEN), 1);
    draft_text(&draft, "logprob");
    msgpack_pack_int64(&draft.packer, -3);
    assert_int_equal(draft_decode(&draft, fixture), STATUS_OK);
    assert_true(fixture->out.token.logprob == -3.0);
}

/* Keys that we do not know, with values of any shape, change nothing; nor does the order. */
static void newer_peers_are_understood(void **state)
{
    struct fixture *fixture = *state;
    struct draft draft;
    msgpack_sbuffer_init(&draft.bytes);
    msgpack_packer_init(&draft.packer, &draft.bytes, msgpack_sbuffer_write);
    msgpack_pack_map(&draft.packer, 6);
    draft_text(&draft, "zz");
    msgpack_pack_array(&draft.packer, 2);
    msgpack_pack_map(&draft.packer, 1);
    msgpack_pack_nil(&draft.packer);
    msgpack_pack_array(&draft.packer, 1);
    msgpack_pack_double(&draft.packer, NAN);
    msgpack_pack_str_with_body(&draft.packer, "zzz", 3);
    draft_text(&draft, "q");
    msgpack_pack_int64(&draft.packer, -9);
    draft_text(&draft, "index");
    msgpack_pack_int64(&draft.packer, 12);
    draft_text(&draft, "zz");
    msgpack_pack_true(&draft.packer);
    draft_text(&draft, "r");
    msgpack_pack_bin_with_body(&draft.packer, "0123456789abcdef", 16);
    draft_text(&draft, "t");
    draft_text(&draft, "token");
    assert_int_equal(draft_decode(&draft, fixture), STATUS_OK);
    assert_int_equal(fixture->out.kind, WIRE_KIND_TOKEN);
    assert_int_equal(fixture->out.token.index, 12);
}

static void malformed_messages_are_named(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } cases[] = {
        {"", 0, "ends before"},
        {"\x80", 1, "\"t\""},
        {"\x90", 1, "expected a map"},
        {"\xc0", 1, "expected a map"},
        {"\x81\xa1t\xa3wat", 7, "expected the name of a message, found \"wat\""},
        {"\x81\xa1t\x05", 4, "message.t: expected a text"},
        {"\x81\x01\xa1t", 4, "expected a text as key"},
        {"\x81\xa1t\xa5token", 9, "token: expected a request id"},
        {"\x82\xa1t\xa5hello\xa1r\xc4\x0f"
         "123456789012345",
         28, "hello.r: expected 16 bytes"},
        {"\x82\xa1t\xa5hello\xa1n\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 20, "hello.n: expected at"},
        {"\xdd\xff\xff\xff\xff", 5, "more elements than bytes"},
        {"\xdf\xff\xff\xff\xff", 5, "more elements than bytes"},
        {"\xc6\xff\xff\xff\xff", 5, "cut off"},
        {"\xdb\xff\xff\xff\xff", 5, "cut off"},
        {"\x81\xa1t\xc1", 4, "no msgpack"},
        {"\x81\xa1t\xd4\x01\x02", 6, "extension"},
        {"\x81\xa1t\xa5hello\xc0", 10, "follow"},
        {"\x81\xa1z\x91\x91\x91\x91\x01", 8, "nested"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        arena_reset(fixture->arena);
        assert_true(decode(fixture, cases[i].bytes, cases[i].len) != STATUS_OK);
        must_name(fixture, cases[i].why, "");
        assert_true(arena_used_bytes(fixture->arena) <= 256);
    }
}

/* Every cut and every flipped byte of good messages: refused or understood, never worse. */
static void damage_is_survived(void **state)
{
    struct fixture *fixture = *state;
    struct rand rng;
    rand_init(&rng, 3);
    for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
        struct wire_msg msg;
        size_t len = 0;
        arena_reset(fixture->arena);
        sample_msg(&rng, fixture->arena, (enum wire_kind)kind, 6, &msg);
        assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1 << 20, &len), STATUS_OK);
        for (size_t i = 0; i < len; i++) {
            assert_int_not_equal(decode(fixture, fixture->buf, i), STATUS_OK);
            char kept = fixture->buf[i];
            for (uint32_t bit = 0; bit < 8; bit++) {
                fixture->buf[i] = (char)(kept ^ (1 << bit));
                (void)decode(fixture, fixture->buf, len);
            }
            fixture->buf[i] = kept;
            arena_reset(fixture->arena);
        }
    }
}

static void no_memory_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct wire_msg msg, back;
    size_t len = 0;
    static uint32_t prompt[10000], emitted[10000];
    wire_msg_init(&msg, WIRE_KIND_JOB);
    msg.req.byte[0] = 1;
    msg.job.prompt = (struct wire_u32s){prompt, 10000};
    msg.job.emitted = (struct wire_u32s){emitted, 10000};
    assert_int_equal(wire_msg_encode(&msg, fixture->buf, 1 << 20, &len), STATUS_OK);
    static const size_t limits[] = {64, 41000, 79000};
    for (size_t i = 0; i < 3; i++) {
        struct arena *arena;
        const char *why = NULL;
        assert_int_equal(arena_create(64, limits[i], &arena), STATUS_OK);
        assert_int_equal(wire_msg_decode(fixture->buf, len, arena, &back, &why), STATUS_NO_MEMORY);
        assert_non_null(strstr(why, "no memory"));
        /* And a fault without memory for its sentence still has one. */
        while (arena_alloc(arena, 1)) {
        }
        assert_int_equal(wire_msg_decode("\x80", 1, arena, &back, &why), STATUS_MALFORMED);
        assert_non_null(strstr(why, "no memory"));
        arena_destroy(arena);
    }
}

/* ---- printing ------------------------------------------------------------------------------- */

static void secrets_are_not_printed(void **state)
{
    (void)state;
    char text[1024];
    struct wire_msg msg;
    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate.text = wire_span_of("my private question");
    msg.generate.label = wire_span_of("evil\n\"line\"");
    static const uint32_t ids[] = {424242, 434343};
    msg.generate.tokens = (struct wire_u32s){ids, 2};
    wire_msg_print(&msg, text, sizeof(text));
    assert_null(strstr(text, "private"));
    assert_null(strstr(text, "424242"));
    assert_null(strchr(text, '\n'));
    assert_non_null(strstr(text, "text=<19 bytes>"));
    assert_non_null(strstr(text, "tokens=[2]"));
    wire_msg_init(&msg, WIRE_KIND_TOKEN);
    msg.token.text = wire_span_of("private");
    wire_msg_print(&msg, text, sizeof(text));
    assert_null(strstr(text, "private"));
    wire_msg_init(&msg, WIRE_KIND_ACCEPTED);
    memset(&msg.accepted.resume, 0xab, 16);
    wire_msg_print(&msg, text, sizeof(text));
    assert_null(strstr(text, "abab"));
    wire_msg_init(&msg, WIRE_KIND_PAIR);
    memset(&msg.pair.secret, 0xcd, 16);
    wire_msg_print(&msg, text, sizeof(text));
    assert_null(strstr(text, "cdcd"));
    wire_msg_init(&msg, WIRE_KIND_FAILED);
    msg.req.byte[0] = 0xee;
    msg.failed.text = wire_span_of("Prompt too long.");
    wire_msg_print(&msg, text, sizeof(text));
    assert_non_null(strstr(text, "failed req=ee000000000000000000000000000000/0.0"));
    assert_non_null(strstr(text, "text=\"Prompt too long.\""));
}

static void prints_are_cut(void **state)
{
    struct fixture *fixture = *state;
    struct rand rng;
    rand_init(&rng, 4);
    char whole[8192], text[8192];
    for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
        struct wire_msg msg;
        arena_reset(fixture->arena);
        sample_msg(&rng, fixture->arena, (enum wire_kind)kind, 20, &msg);
        wire_msg_print(&msg, whole, sizeof(whole));
        size_t len = strlen(whole);
        wire_msg_print(&msg, text, 0);
        for (size_t capacity = 1; capacity <= len + 1; capacity++) {
            memset(text, 0x11, sizeof(text));
            wire_msg_print(&msg, text, capacity);
            assert_int_equal(strlen(text), capacity - 1);
            assert_memory_equal(text, whole, capacity - 1);
            assert_int_equal(text[capacity], 0x11);
        }
    }
}

static void names_are_known(void **state)
{
    (void)state;
    assert_string_equal(wire_kind_name(WIRE_KIND_HELLO), "hello");
    assert_string_equal(wire_kind_name(WIRE_N_KINDS), "unknown");
    assert_string_equal(wire_role_name(WIRE_ROLE_DECODE), "decode");
    for (uint32_t i = 0; i < WIRE_N_KINDS; i++) {
        const struct wire_table *table = wire_table_of((enum wire_kind)i);
        assert_true(table->n_fields <= 64);
        for (uint32_t j = 0; j < table->n_fields; j++) {
            /* One letter is the envelope's. */
            assert_true(table->fields[j].key_len > 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(short_buffers_are_refused),
        cmocka_unit_test(defaults_are_not_sent),
        cmocka_unit_test(bytes_are_pinned),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(types_hold),
        cmocka_unit_test(doubles_are_refused),
        cmocka_unit_test(elements_have_limits),
        cmocka_unit_test(nothing_over_a_limit_is_sent),
        cmocka_unit_test(floats_are_finite),
        cmocka_unit_test(newer_peers_are_understood),
        cmocka_unit_test(malformed_messages_are_named),
        cmocka_unit_test(damage_is_survived),
        cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(secrets_are_not_printed),
        cmocka_unit_test(prints_are_cut),
        cmocka_unit_test(names_are_known),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
