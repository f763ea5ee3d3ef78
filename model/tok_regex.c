/* Oniguruma's patterns for PCRE2. The translation is one pass over the pattern that knows only
 * whether it is inside a character class. Compiling happens while a tokenizer opens; matching on
 * any thread. */
#include "model/tok_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/tok_error.h"
#include "model/tok_unicode_tables.h"

/* Steps of one search; PCRE2's own default. A search of this length takes about 0.1 s. */
#define MATCH_STEPS_MAX 10000000u
#define JIT_STACK_MIN (32u << 10)
#define JIT_STACK_MAX (1u << 20)
#define TRANSLATED_MAX ((size_t)1 << 20)

/* White_Space, for use inside a class; PCRE2's \s has U+180E too. */
#define SPACE_RANGES                                                                               \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"             \
    "\\x{202f}\\x{205f}\\x{3000}"

/* \w of Oniguruma, for use inside a class; PCRE2's has neither marks nor letter numbers. */
#define WORD_RANGES                                                                                \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"                        \
    "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORD_CATEGORIES "L M NdNlPc"

struct tok_regex {
    pcre2_code *code;
};

struct tok_regex_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

struct translator {
    const char *pattern; /* [len] */
    size_t len, pos;
    bool in_class;
    struct buf out;
    struct tokenizer_error *error;
    enum status status; /* of the appends; sticky */
};

static void put(struct translator *t, const char *text)
{
    if (t->status == STATUS_OK) {
        t->status = buf_append_str(&t->out, text);
    }
}

static void put_byte(struct translator *t, char byte)
{
    if (t->status == STATUS_OK) {
        t->status = buf_append(&t->out, &byte, 1);
    }
}

static enum status refuse(struct translator *t, const char *what)
{
    return tok_fail(t->error, STATUS_UNSUPPORTED,
                    "tokenizer.json: a regular expression has %s at its byte %zu, which is not "
                    "supported: %.*s",
                    what, t->pos, t->len > 120 ? 120 : (int)t->len, t->pattern);
}

/* Characters that got the category (one letter: the group) after PCRE2's Unicode version. */
static void put_newer(struct translator *t, const char *category, size_t n)
{
    static const char names[] = "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo";
    for (size_t i = 0; i < tok_category_patches_n; i++) {
        const struct tok_range *range = &tok_category_patches[i];
        if (n <= 2 && memcmp(names + 2 * range->category, category, n) == 0) {
            char text[64];
            snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", (unsigned)range->first,
                     (unsigned)range->last);
            put(t, text);
        }
    }
}

/* \p{..} and \P{..}; pos is behind the p. */
static enum status translate_property(struct translator *t, bool negated)
{
    const char *name = t->pattern + t->pos + 1;
    const char *end = t->pos < t->len && t->pattern[t->pos] == '{'
                          ? memchr(name, '}', t->len - t->pos - 1)
                          : NULL;
    if (end == NULL || end - name > 40) {
        return refuse(t, "a \\p without {name}");
    }
    t->pos = (size_t)(end + 1 - t->pattern);
    if (*name == '^') {
        negated = !negated;
        name++;
    }
    size_t n = (size_t)(end - name);
    char plain[64];
    snprintf(plain, sizeof plain, "\\%c{%.*s}", negated && t->in_class ? 'P' : 'p', (int)n, name);
    if (t->in_class) {
        put(t, plain);
        if (!negated) {
            put_newer(t, name, n);
        }
    } else {
        put(t, negated ? "[^" : "[");
        put(t, plain);
        put_newer(t, name, n);
        put(t, "]");
    }
    return STATUS_OK;
}

/* A class that is written without brackets inside a class and with them outside; `categories` are
 * those in `ranges`, two letters or a letter and a space each. */
static void put_class(struct translator *t, const char *ranges, const char *categories,
                      bool negated)
{
    if (!t->in_class) {
        put(t, negated ? "[^" : "[");
    }
    put(t, ranges);
    for (const char *category = categories; *category != 0; category += 2) {
        put_newer(t, category, category[1] == ' ' ? 1 : 2);
    }
    if (!t->in_class) {
        put(t, "]");
    }
}

/* \b, or \B: between a word character and none, or between two alike. */
static void put_boundary(struct translator *t, bool differ)
{
    put(t, "(?:(?<=");
    put_class(t, WORD_RANGES, WORD_CATEGORIES, false);
    put(t, differ ? ")(?!" : ")(?=");
    put_class(t, WORD_RANGES, WORD_CATEGORIES, false);
    put(t, ")|(?<!");
    put_class(t, WORD_RANGES, WORD_CATEGORIES, false);
    put(t, differ ? ")(?=" : ")(?!");
    put_class(t, WORD_RANGES, WORD_CATEGORIES, false);
    put(t, "))");
}

static enum status translate_hex4(struct translator *t)
{
    char text[16];
    size_t n = 0;
    while (n < 4 && t->pos + n < t->len &&
           strchr("0123456789abcdefABCDEF", t->pattern[t->pos + n])) {
        n++;
    }
    if (n != 4) {
        return refuse(t, "a \\u without four digits");
    }
    snprintf(text, sizeof text, "\\x{%.4s}", t->pattern + t->pos);
    put(t, text);
    t->pos += 4;
    return STATUS_OK;
}

/* pos is behind the backslash. */
static enum status translate_escape(struct translator *t)
{
    if (t->pos >= t->len) {
        return refuse(t, "a backslash at its end");
    }
    char c = t->pattern[t->pos++];
    switch (c) {
    case 'p':
    case 'P':
        return translate_property(t, c == 'P');
    case 'u':
        return translate_hex4(t);
    case 's':
    case 'S':
        if (c == 'S' && t->in_class) {
            put(t, "\\S");
        } else {
            put_class(t, SPACE_RANGES, "", c == 'S');
        }
        return STATUS_OK;
    case 'd':
        put_class(t, "\\p{Nd}", "Nd", false);
        return STATUS_OK;
    case 'w':
    case 'W':
        if (c == 'W' && t->in_class) {
            return refuse(t, "\\W in a class");
        }
        put_class(t, WORD_RANGES, WORD_CATEGORIES, c == 'W');
        return STATUS_OK;
    case 'b':
    case 'B':
        if (t->in_class) {
            put(t, "\\b");
        } else {
            put_boundary(t, c == 'b');
        }
        return STATUS_OK;
    case 'h':
        put_class(t, "0-9A-Fa-f", "", false);
        return STATUS_OK;
    default:
        break;
    }
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter && strchr("nrtfvaexAzZ0", c) == NULL) {
        t->pos--;
        return refuse(t, "an escape of its own kind");
    }
    put_byte(t, '\\');
    put_byte(t, c);
    return STATUS_OK;
}

/* A '{' outside a class: an interval followed by '+' repeats it in Ruby, but is possessive in
 * PCRE2. With a minimum of 1 it means the plain '+'. */
static enum status translate_interval(struct translator *t)
{
    const char *start = t->pattern + t->pos;
    const char *end = memchr(start, '}', t->len - t->pos);
    if (end == NULL || end + 1 >= t->pattern + t->len || end[1] != '+') {
        put_byte(t, '{');
        t->pos++;
        return STATUS_OK;
    }
    if (end - start < 3 || start[1] != '1' || start[2] != ',') {
        return refuse(t, "an interval followed by '+'");
    }
    put(t, "+");
    t->pos = (size_t)(end + 2 - t->pattern);
    return STATUS_OK;
}

static enum status translate_class_byte(struct translator *t, char c)
{
    if (c == '[') {
        return refuse(t, "a class inside a class");
    }
    if (c == '&' && t->pos + 1 < t->len && t->pattern[t->pos + 1] == '&') {
        return refuse(t, "an intersection of classes");
    }
    t->in_class = c != ']';
    put_byte(t, c);
    t->pos++;
    return STATUS_OK;
}

static enum status translate(struct translator *t)
{
    while (t->pos < t->len && t->status == STATUS_OK) {
        char c = t->pattern[t->pos];
        enum status status = STATUS_OK;
        if (c == '\\') {
            t->pos++;
            status = translate_escape(t);
        } else if (t->in_class) {
            status = translate_class_byte(t, c);
        } else if (c == '{') {
            status = translate_interval(t);
        } else if (c == '(' && t->pos + 2 < t->len && t->pattern[t->pos + 1] == '?' &&
                   strchr(":=!<>i", t->pattern[t->pos + 2]) == NULL) {
            status = refuse(t, "a group of its own kind");
        } else {
            put_byte(t, c);
            t->pos++;
            if (c == '[') {
                t->in_class = true;
                if (t->pos < t->len && t->pattern[t->pos] == '^') {
                    put_byte(t, '^');
                    t->pos++;
                }
                if (t->pos < t->len && t->pattern[t->pos] == ']') {
                    status = refuse(t, "a class that begins with ']'");
                }
            }
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return t->status;
}

enum status tok_regex_create(const char *pattern, size_t len, struct tokenizer_error *error,
                             struct tok_regex **out)
{
    struct translator t = {.pattern = pattern, .len = len, .error = error, .status = STATUS_OK};
    buf_init(&t.out, TRANSLATED_MAX);
    enum status status = len > TOK_REGEX_PATTERN_MAX ? refuse(&t, "too many bytes") : translate(&t);
    if (status != STATUS_OK) {
        goto fail_out;
    }
    struct tok_regex *regex = mem_alloc_zero(1, sizeof *regex);
    if (regex == NULL) {
        status = STATUS_NO_MEMORY;
        goto fail_out;
    }
    int code;
    size_t offset;
    regex->code = pcre2_compile(buf_data(&t.out), buf_len(&t.out),
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &code, &offset, NULL);
    if (regex->code == NULL) {
        char why[120] = "?";
        pcre2_get_error_message(code, (unsigned char *)why, sizeof why);
        status = tok_fail(error, STATUS_UNSUPPORTED,
                          "tokenizer.json: the regular expression %.*s cannot be compiled: %s",
                          len > 120 ? 120 : (int)len, pattern, why);
        goto fail_regex;
    }
    /* Without a JIT on this machine the interpreter does the same, slower. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    buf_fini(&t.out);
    *out = regex;
    return STATUS_OK;

fail_regex:
    mem_free(regex);
fail_out:
    buf_fini(&t.out);
    return status;
}

void tok_regex_destroy(struct tok_regex *regex)
{
    if (regex != NULL) {
        pcre2_code_free(regex->code);
        mem_free(regex);
    }
}

enum status tok_regex_scratch_create(struct tok_regex_scratch **out)
{
    struct tok_regex_scratch *scratch = mem_alloc_zero(1, sizeof *scratch);
    if (scratch == NULL) {
        return STATUS_NO_MEMORY;
    }
    scratch->match = pcre2_match_data_create(1, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    scratch->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (scratch->match == NULL || scratch->context == NULL) {
        tok_regex_scratch_destroy(scratch);
        return STATUS_NO_MEMORY;
    }
    pcre2_set_match_limit(scratch->context, MATCH_STEPS_MAX);
    if (scratch->stack != NULL) {
        pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    }
    *out = scratch;
    return STATUS_OK;
}

void tok_regex_scratch_destroy(struct tok_regex_scratch *scratch)
{
    if (scratch != NULL) {
        pcre2_match_data_free(scratch->match);
        pcre2_match_context_free(scratch->context);
        pcre2_jit_stack_free(scratch->stack);
        mem_free(scratch);
    }
}

enum status tok_regex_next(const struct tok_regex *regex, struct tok_regex_scratch *scratch,
                           const char *text, size_t len, struct tok_regex_walk *walk, size_t *start,
                           size_t *end)
{
    while (walk->from <= len) {
        int rc = pcre2_match(regex->code, (const unsigned char *)text, len, walk->from,
                             PCRE2_NO_UTF_CHECK, scratch->match, scratch->context);
        if (rc == PCRE2_ERROR_NOMATCH) {
            break;
        }
        if (rc == PCRE2_ERROR_NOMEMORY) {
            return STATUS_NO_MEMORY;
        }
        if (rc < 0) {
            return STATUS_UNSUPPORTED;
        }
        const size_t *bounds = pcre2_get_ovector_pointer(scratch->match);
        size_t first = bounds[0], last = bounds[1];
        if (first == last && walk->matched && walk->last_end == last) {
            do {
                walk->from = ++last;
            } while (last < len && ((unsigned char)text[last] & 0xc0) == 0x80);
            continue;
        }
        *walk = (struct tok_regex_walk){.from = last, .last_end = last, .matched = true};
        *start = first;
        *end = last;
        return STATUS_OK;
    }
    return STATUS_DONE;
}
