/* Two tables beside this file: requests that must be refused, each with its status, its field and
 * words of its message (openai_bad.txt); and every field that the official client or vLLM knows,
 * each of which must be in exactly one of the three lists (openai_fields.txt). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "router/openai_fields.h"

#define VOCAB 50000
#define COLUMNS 6

/* A line of a table, cut into columns; false at the end. Comments are skipped. */
static bool next_row(FILE *file, char **line, size_t *cap, char **columns, size_t n)
{
    ssize_t len;

    do {
        len = getline(line, cap, file);
    } while (len > 0 && (*line)[0] == '#');
    if (len <= 0) {
        return false;
    }
    (*line)[strcspn(*line, "\n")] = '\0';
    columns[0] = *line;
    for (size_t i = 1; i < n; i++) {
        columns[i] = strchr(columns[i - 1], '\t');
        assert_non_null(columns[i]);
        *columns[i]++ = '\0';
    }
    return true;
}

static FILE *table_open(const char *name)
{
    char path[4096];
    FILE *file;

    assert_non_null(getenv("BATON_ROOT"));
    snprintf(path, sizeof(path), "%s/tests/router/%s", getenv("BATON_ROOT"), name);
    file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

static enum openai_api api_of(const char *name)
{
    static const char *const names[] = {"completions", "chat", "tokenize", "detokenize"};

    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum openai_api)i;
        }
    }
    fail_msg("what endpoint is %s?", name);
    return OPENAI_CHAT;
}

/* ---- bodies that are made ---- */

static void repeat(struct buf *out, const char *text, size_t n, const char *between)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(STATUS_OK, buf_append_str(out, i > 0 ? between : ""));
        assert_int_equal(STATUS_OK, buf_append_str(out, text));
    }
}

static void body_of(const char *column, struct buf *out)
{
    char kind[16];
    size_t n;
    int at = 0;

    if (sscanf(column, "@hex %n", &at) == 0 && at > 0) {
        for (const char *hex = column + at; hex[0] != '\0'; hex += 2) {
            const char pair[3] = {hex[0], hex[1], '\0'};
            const uint8_t byte = (uint8_t)strtoul(pair, NULL, 16);

            assert_int_equal(STATUS_OK, buf_append(out, &byte, 1));
        }
        return;
    }
    if (sscanf(column, "@%15s %zu", kind, &n) != 2) {
        assert_int_equal(STATUS_OK, buf_append_str(out, column));
        return;
    }
    if (strcmp(kind, "objects") == 0) {
        repeat(out, "{\"messages\":[", 1, "");
        repeat(out, "{}", n, ",");
    } else if (strcmp(kind, "bytes") == 0) {
        repeat(out, "{\"prompt\":\"x\"}", 1, "");
        repeat(out, " ", n - buf_len(out), "");
        return;
    } else {
        const bool is_nest = strcmp(kind, "nest") == 0, is_ids = strcmp(kind, "ids") == 0;

        repeat(out, is_nest ? "{\"prompt\":" : "{\"prompt\":[", 1, "");
        repeat(out, is_nest ? "[" : is_ids ? "7" : "\"x\"", n, is_nest ? "" : ",");
        repeat(out, is_nest ? "]" : "", n - 1, "");
    }
    repeat(out, "]}", 1, "");
}

/* ---- the tests ---- */

static void check_refused(char **row, struct arena *arena)
{
    const struct openai_request_cfg cfg = {.vocab = VOCAB};
    struct openai_error error = {0};
    struct openai_request req;
    struct buf body, answer;
    enum status status;

    buf_init(&body, (size_t)16 << 20);
    buf_init(&answer, 8192);
    body_of(row[5], &body);
    status = openai_request_read(&cfg, api_of(row[1]), (const char *)buf_data(&body),
                                 buf_len(&body), arena, &error, &req);
    if (status == STATUS_OK || error.http != atoi(row[2]) ||
        strcmp(error.param, strcmp(row[3], "-") == 0 ? "" : row[3]) != 0 ||
        strstr(error.message, row[4]) == NULL) {
        fail_msg("%s: expected %s, field %s, \"%s\"; got status %d, %d, field %s, \"%s\"", row[0],
                 row[2], row[3], row[4], status, error.http, error.param, error.message);
    }
    assert_int_equal(error.http == 413 ? STATUS_TOO_BIG : STATUS_INVALID, status);
    assert_string_equal("invalid_request_error", error.type);
    /* The body of the response is JSON whatever the message quotes. */
    assert_int_equal(STATUS_OK, openai_error_body(&error, &answer));
    json_t *json = json_loads(buf_text(&answer), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_int_equal(4, json_object_size(json_object_get(json, "error")));
    json_decref(json);
    buf_fini(&answer);
    buf_fini(&body);
}

static void bad_requests_are_refused(void **state)
{
    FILE *file = table_open("openai_bad.txt");
    char *line = NULL, *row[COLUMNS];
    struct arena *arena;
    size_t cap = 0, n = 0;

    (void)state;
    assert_int_equal(STATUS_OK, arena_create(16384, OPENAI_ARENA_MAX, &arena));
    for (; next_row(file, &line, &cap, row, COLUMNS); n++) {
        check_refused(row, arena);
        arena_reset(arena);
    }
    arena_destroy(arena);
    free(line);
    fclose(file);
    assert_true(n >= 200);
    assert_int_equal(0, mem_live());
}

static void known_fields_are_in_one_list(void **state)
{
    FILE *file = table_open("openai_fields.txt");
    char *line = NULL, *row[3];
    size_t cap = 0, n = 0, n_fields;
    const struct openai_field *fields = openai_fields(&n_fields);

    (void)state;
    for (; next_row(file, &line, &cap, row, 3); n++) {
        const enum openai_api api = api_of(row[0]);
        size_t lists = 0;

        for (size_t i = 0; i < n_fields; i++) {
            lists += (fields[i].apis & (1u << api)) && strcmp(fields[i].name, row[2]) == 0;
        }
        if (lists != 1) {
            fail_msg("%s of %s (%s) is in %zu lists: expected one", row[2], row[0], row[1], lists);
        }
    }
    free(line);
    fclose(file);
    assert_true(n >= 200);
}

static void table_is_sound(void **state)
{
    size_t n_fields, n[3] = {0};
    const struct openai_field *fields = openai_fields(&n_fields);

    (void)state;
    for (size_t i = 0; i < n_fields; i++) {
        n[fields[i].fate]++;
        assert_true(fields[i].apis != 0);
        assert_true((fields[i].read != NULL) == (fields[i].fate == OPENAI_HONOURED));
        assert_true((fields[i].instead != NULL) == (fields[i].fate == OPENAI_REFUSED));
        for (size_t k = 0; k < i; k++) {
            if ((fields[i].apis & fields[k].apis) && strcmp(fields[i].name, fields[k].name) == 0) {
                fail_msg("%s has two rows for one API", fields[i].name);
            }
        }
    }
    print_message("%zu honoured, %zu harmless, %zu refused\n", n[0], n[1], n[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(known_fields_are_in_one_list),
        cmocka_unit_test(table_is_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
