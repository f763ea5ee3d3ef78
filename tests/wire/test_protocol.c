/* wire/PROTOCOL.md says what the tables say: its generated part is made again here and compared.
 * `test_wire_protocol --print` prints that part, `--write FILE` puts it into the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/table.h"

#define BEGIN "<!-- made from wire/msg.h: begin -->\n"
#define END "<!-- made from wire/msg.h: end -->\n"

static bool is_client_kind(enum wire_kind kind)
{
    return kind == WIRE_KIND_HEARTBEAT || (kind <= WIRE_KIND_STATS_LIST && kind != WIRE_KIND_FIRST);
}

static const char *type_name(enum wire_type type)
{
    switch (type) {
    case WIRE_TYPE_u32:
    case WIRE_TYPE_u64:
        return "uint";
    case WIRE_TYPE_f64:
        return "float";
    case WIRE_TYPE_flag:
        return "bool";
    case WIRE_TYPE_text:
        return "str";
    case WIRE_TYPE_bytes:
        return "bin";
    case WIRE_TYPE_id:
        return "bin";
    case WIRE_TYPE_u32s:
        return "array of uint32";
    case WIRE_TYPE_u64s:
        return "array of uint64";
    case WIRE_TYPE_f64s:
        return "array of float";
    case WIRE_TYPE_texts:
        return "array of str";
    case WIRE_TYPE_bodies:
        return "array of long str";
    case WIRE_TYPE_sampling:
        return "map `sampling`";
    case WIRE_TYPE_ledger:
        return "map `ledger`";
    }
    return "";
}

static void print_limit(FILE *file, const struct wire_field *field)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
    case WIRE_TYPE_u64:
        fprintf(file, "%" PRIu64, field->limit.u);
        break;
    case WIRE_TYPE_f64:
        fprintf(file, "±%g", field->limit.f);
        break;
    case WIRE_TYPE_text:
    case WIRE_TYPE_bytes:
        fprintf(file, "%" PRIu64 " bytes", field->limit.u);
        break;
    case WIRE_TYPE_id:
        fprintf(file, "exactly 16 bytes");
        break;
    case WIRE_TYPE_u32s:
    case WIRE_TYPE_u64s:
    case WIRE_TYPE_f64s:
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        fprintf(file, "%" PRIu64 " elements", field->limit.u);
        break;
    case WIRE_TYPE_flag:
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        break;
    }
}

static void print_default(FILE *file, const struct wire_field *field)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
    case WIRE_TYPE_u64:
        fprintf(file, "%" PRIu64, field->dflt.u);
        break;
    case WIRE_TYPE_f64:
        fprintf(file, "%g", field->dflt.f);
        break;
    case WIRE_TYPE_flag:
        fprintf(file, "%s", field->dflt.u ? "true" : "false");
        break;
    case WIRE_TYPE_id:
        fprintf(file, "zeros");
        break;
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        fprintf(file, "its defaults");
        break;
    default:
        fprintf(file, "empty");
        break;
    }
}

static void print_table(FILE *file, const struct wire_table *table)
{
    fprintf(file, "| key | type | at most | default |\n| --- | --- | --- | --- |\n");
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        fprintf(file, "| `%s` | %s | ", field->key, type_name(field->type));
        print_limit(file, field);
        fprintf(file, " | ");
        print_default(file, field);
        fprintf(file, " |\n");
    }
    fprintf(file, "\n");
}

/* ---- examples ------------------------------------------------------------------------------- */

static void print_hex(FILE *file, const struct wire_msg *msg)
{
    uint8_t bytes[1024];
    size_t len = 0;
    char text[1024];
    if (wire_msg_encode(msg, bytes, sizeof(bytes), &len) != STATUS_OK) {
        abort();
    }
    wire_msg_print(msg, text, sizeof(text));
    fprintf(file, "```\n%s\n", text);
    for (size_t i = 0; i < len; i++) {
        fprintf(file, "%02x%s", bytes[i], i % 32 == 31 || i + 1 == len ? "\n" : " ");
    }
    fprintf(file, "```\n\n");
}

static struct wire_msg example(enum wire_kind kind)
{
    struct wire_msg msg;
    wire_msg_init(&msg, kind);
    if (wire_table_of(kind)->request) {
        for (uint8_t i = 0; i < 16; i++) {
            msg.req.byte[i] = (uint8_t)(0xa0 + i);
        }
    }
    return msg;
}

static void print_examples(FILE *file)
{
    static const uint32_t tokens[] = {1, 127, 128, 65536};
    struct wire_msg msg = example(WIRE_KIND_HELLO);
    msg.hello.version_min = 1;
    msg.hello.version_max = 1;
    msg.hello.agent = wire_span_of("example");
    print_hex(file, &msg);
    msg = example(WIRE_KIND_WELCOME);
    msg.from = UINT64_C(0x0123456789abcdef);
    msg.welcome.version = 1;
    msg.welcome.heartbeat_ms = 1000;
    msg.welcome.server = wire_span_of("baton");
    print_hex(file, &msg);
    msg = example(WIRE_KIND_GENERATE);
    msg.generate.label = wire_span_of("one");
    msg.generate.tokens = (struct wire_u32s){tokens, 4};
    msg.generate.sampling.max_tokens = 2;
    msg.generate.sampling.temperature = 0.5;
    msg.generate.seeded = true;
    msg.generate.seed = 7;
    print_hex(file, &msg);
    msg = example(WIRE_KIND_ACCEPTED);
    msg.accepted.label = wire_span_of("one");
    memset(&msg.accepted.resume, 0x5e, sizeof(msg.accepted.resume));
    msg.accepted.seed = 7;
    msg.accepted.prompt_tokens = 4;
    print_hex(file, &msg);
    msg = example(WIRE_KIND_TOKEN);
    msg.token.index = 1;
    msg.token.token = 262;
    msg.token.text = wire_span_of(" the");
    msg.token.logprob = -0.25;
    msg.token.end = wire_span_of("length");
    print_hex(file, &msg);
    msg = example(WIRE_KIND_DONE);
    msg.done.reason = wire_span_of("length");
    msg.done.n_tokens = 2;
    msg.done.seed = 7;
    msg.done.ledger.total_us = 12500;
    msg.done.ledger.attempts = 1;
    print_hex(file, &msg);
    msg = example(WIRE_KIND_FAILED);
    msg.failed.label = wire_span_of("one");
    msg.failed.code = STATUS_FULL;
    msg.failed.text = wire_span_of("Try again later.");
    msg.failed.retry_ms = 1000;
    print_hex(file, &msg);
    msg = example(WIRE_KIND_CANCEL);
    memset(&msg.cancel.resume, 0x5e, sizeof(msg.cancel.resume));
    print_hex(file, &msg);
}

static void print_part(FILE *file)
{
    fprintf(file, BEGIN "\n## Tables\n\nEnvelope (beside `t`, str, the message's name):\n\n");
    print_table(file, wire_table_envelope());
    for (int client = 1; client >= 0; client--) {
        fprintf(file, client ? "### Messages of clients\n\n"
                             : "### Messages among Baton's own processes (not for clients)\n\n");
        for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
            const struct wire_table *table = wire_table_of((enum wire_kind)kind);
            if (is_client_kind((enum wire_kind)kind) == (client == 1)) {
                fprintf(file, "#### `%s`%s\n\n", table->name, table->request ? " (needs `r`)" : "");
                print_table(file, table);
            }
        }
    }
    fprintf(file, "### Nested maps\n\n#### `sampling`\n\n");
    print_table(file, wire_table_nested(WIRE_TYPE_sampling));
    fprintf(file, "#### `ledger`\n\n");
    print_table(file, wire_table_nested(WIRE_TYPE_ledger));
    fprintf(file, "## Status codes\n\n| code | name | meaning |\n| --- | --- | --- |\n");
#define X(name, number, text) fprintf(file, "| %d | %s | %s |\n", number, #name, text);
    STATUS_TABLE(X)
#undef X
    fprintf(file, "\n## Examples in bytes\n\nEach as a line to read, then as it is sent.\n\n");
    print_examples(file);
    fprintf(file, END);
}

/* ---- the test ------------------------------------------------------------------------------- */

static char *make_part(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    if (!file) {
        abort();
    }
    print_part(file);
    fclose(file);
    return text;
}

static char *read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (!file || !text || fread(text, 1, (1 << 20) - 1, file) == 0) {
        fprintf(stderr, "cannot read %s\n", path);
        abort();
    }
    fclose(file);
    return text;
}

static void the_document_is_the_table(void **state)
{
    (void)state;
    const char *root = getenv("BATON_ROOT");
    char path[4096];
    if (!root) {
        skip();
    }
    snprintf(path, sizeof(path), "%s/wire/PROTOCOL.md", root);
    char *document = read_all(path);
    char *part = make_part();
    const char *found = strstr(document, BEGIN);
    const char *end = found ? strstr(found, END) : NULL;
    if (!end || strncmp(found, part, strlen(part)) != 0) {
        fail_msg("%s differs from wire/msg.h: run test_wire_protocol --write %s", path, path);
    }
    free(part);
    free(document);
}

/* What the prose promises by number. */
static void the_prose_has_its_numbers(void **state)
{
    (void)state;
    assert_int_equal(WIRE_VERSION_MIN, 1);
    assert_int_equal(WIRE_VERSION_MAX, 1);
    assert_int_equal(WIRE_CONTROL_BYTES_MAX, 8 * 1024 * 1024);
    assert_int_equal(WIRE_TOKEN_BYTES_MAX, 64 * 1024);
    assert_int_equal(WIRE_DEPTH_MAX, 4);
    assert_int_equal(WIRE_NAME_MAX, 128);
    /* A token message of the largest fields keeps the promise of its size. */
    struct wire_msg msg = example(WIRE_KIND_TOKEN);
    static char text[WIRE_ERROR_MAX];
    msg.token.text = (struct wire_span){text, sizeof(text)};
    msg.token.end = (struct wire_span){text, WIRE_NAME_MAX};
    assert_true(wire_msg_bound(&msg) <= WIRE_TOKEN_BYTES_MAX);
}

static int write_part(const char *path)
{
    char *document = read_all(path), *part = make_part();
    char *found = strstr(document, BEGIN);
    const char *end = found ? strstr(found, END) : NULL;
    FILE *file = end ? fopen(path, "wb") : NULL;
    if (!file) {
        fprintf(stderr, "%s: expected the two marks\n", path);
        return EXIT_FAILURE;
    }
    *found = '\0';
    fprintf(file, "%s%s%s", document, part, end + strlen(END));
    fclose(file);
    free(part);
    free(document);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_is_the_table),
        cmocka_unit_test(the_prose_has_its_numbers),
    };
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_part(argv[2]);
    }
    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        print_part(stdout);
        return EXIT_SUCCESS;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
