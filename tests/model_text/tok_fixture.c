/* The stored tokenizers for the tests. */
#include "tests/model_text/tok_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "model/tok_unicode.h"

#define X(kind) #kind,
const char *const tok_kinds[] = {TOK_KINDS(X)};
#undef X
const size_t tok_n_kinds = sizeof tok_kinds / sizeof *tok_kinds;

static void fixture_path(char *out, size_t cap, const char *name)
{
    const char *root = getenv("BATON_ROOT");
    snprintf(out, cap, "%s/tests/model_text/vectors/tokenizer/%s", root != NULL ? root : ".", name);
}

char *tok_fixture_read(const char *name, size_t *len)
{
    char path[4096];
    fixture_path(path, sizeof path, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s is not there; run from the repository or set BATON_ROOT", path);
    }
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*len + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, *len, file), *len);
    text[*len] = 0;
    fclose(file);
    return text;
}

struct tokenizer *tok_fixture_open(const char *kind)
{
    char name[64], path[4096];
    struct tokenizer *tok = NULL;
    struct tokenizer_error error = {""};
    snprintf(name, sizeof name, "%s.json", kind);
    fixture_path(path, sizeof path, name);
    if (tokenizer_open(path, &error, &tok) != STATUS_OK) {
        fail_msg("%s: %s", path, error.text);
    }
    return tok;
}

uint64_t tok_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

size_t tok_random_text(uint64_t *state, char *out, size_t cap)
{
    static const uint32_t ranges[][2] = {{0x20, 0x7f},       {0x20, 0x7f},       {'a', 'z'},
                                         {'A', 'Z'},         {'0', '9'},         {9, 14},
                                         {0x80, 0x250},      {0x300, 0x370},     {0x370, 0x600},
                                         {0x600, 0x700},     {0x900, 0xa00},     {0x1680, 0x1840},
                                         {0x1c80, 0x1c90},   {0x2000, 0x2070},   {0x2070, 0x2c00},
                                         {0x3000, 0x3100},   {0x4e00, 0x4f00},   {0xa7c0, 0xa7f0},
                                         {0xac00, 0xad00},   {0xe000, 0xffff},   {0x10000, 0x1ffff},
                                         {0x1f300, 0x1f700}, {0x20000, 0x10ffff}};
    static const char *const bits[] = {"'s",  "'S", "'ll", "'re", "'\xc5\xbf", " ",  "  ", "\r\n",
                                       "\n ", "\n", "/",   "'",   "123",       " (", "\t", "Ab"};
    size_t n = 0, wanted = tok_random(state) % cap;
    while (n + 4 <= wanted) {
        uint64_t r = tok_random(state);
        if (r % 3 == 0) {
            const char *bit = bits[(r >> 8) % (sizeof bits / sizeof *bits)];
            while (*bit != 0) {
                out[n++] = *bit++;
            }
            continue;
        }
        const uint32_t *range = ranges[(r >> 8) % (sizeof ranges / sizeof *ranges)];
        uint32_t c = range[0] + (uint32_t)(r >> 32) % (range[1] - range[0] + 1);
        if (c < 0xd800 || c >= 0xe000) {
            n += tok_utf8_put(c, out + n);
        }
    }
    return n;
}
