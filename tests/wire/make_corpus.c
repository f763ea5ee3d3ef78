/* Writes the fuzzer's corpus: one message of each kind, and what attackers would try first. Run by
 * hand after the tables have changed: make_wire_corpus tests/fuzz/corpus/wire_message */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tests/wire/sample.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *name;
    const char *bytes;
    size_t len;
} malformed[] = {
    {"bomb_array", BYTES("\xdd\xff\xff\xff\xff")},
    {"bomb_map", BYTES("\xdf\xff\xff\xff\xff")},
    {"bomb_text", BYTES("\xdb\xff\xff\xff\xff")},
    {"bomb_bytes", BYTES("\xc6\xff\xff\xff\xff")},
    {"bomb_inside", BYTES("\x82\xa1t\xa3job\xa6prompt\xdd\x00\x00\xff\xff")},
    {"deep", BYTES("\x81\xa1z\x91\x91\x91\x91\x91\x91\x01")},
    {"empty_map", BYTES("\x80")},
    {"ext", BYTES("\x81\xa1t\xd4\x01\x02")},
    {"never_used", BYTES("\x81\xa1t\xc1")},
    {"unknown_kind", BYTES("\x81\xa1t\xa3wat")},
    {"twice", BYTES("\x83\xa1t\xa5hello\xa1n\x01\xa1n\x01")},
    {"cut", BYTES("\x82\xa1t\xa5hello\xa1n")},
    {"trailing", BYTES("\x81\xa1t\xa5hello\xc0")},
    {"nan", BYTES("\x82\xa1t\xa5"
                  "first\xa7logprob\xcb\x7f\xf8\0\0\0\0\0\0")},
    {"no_request", BYTES("\x81\xa1t\xa5token")},
    {"float_as_integer", BYTES("\x83\xa1t\xa5token\xa1r\xc4\x10"
                               "0123456789abcdef\xa7logprob\xff")},
    {"unknown_keys", BYTES("\x83\xa1z\x92\x81\xc0\x90\xc3\xa1t\xa5hello\xa4"
                           "food\xa0")},
    {"wide_numbers", BYTES("\x82\xa1t\xa5hello\xabversion_max\xd3\0\0\0\0\0\0\0\x01")},
};

static int write_file(const char *folder, const char *name, const void *bytes, size_t len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    static char buf[1 << 16];
    struct arena *arena;
    struct rand rng;
    rand_init(&rng, 42);
    if (arena_create(4096, 1 << 20, &arena) != STATUS_OK) {
        return EXIT_FAILURE;
    }
    int failed = EXIT_SUCCESS;
    for (uint32_t kind = 0; kind < WIRE_N_KINDS; kind++) {
        struct wire_msg msg;
        size_t len = 0;
        sample_msg(&rng, arena, (enum wire_kind)kind, 6, &msg);
        failed |= wire_msg_encode(&msg, buf, sizeof(buf), &len) != STATUS_OK;
        failed |= write_file(argv[1], wire_kind_name((enum wire_kind)kind), buf, len);
    }
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        failed |= write_file(argv[1], malformed[i].name, malformed[i].bytes, malformed[i].len);
    }
    arena_destroy(arena);
    return failed;
}
