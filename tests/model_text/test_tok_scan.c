/* The hand-written scanners give exactly the matches that PCRE2 gives for the same patterns. */
#include "tests/model_text/tok_fixture.h"

#include <string.h>

#include "model/tok_regex.h"
#include "model/tok_scan.h"

#define N_TEXTS 20000

/* Walks both over the text; a gap between two matches is a piece of the scanner. */
static void compare(enum tok_scan_kind kind, const struct tok_regex *regex,
                    struct tok_regex_scratch *scratch, const char *text, size_t len)
{
    struct tok_regex_walk walk = {0};
    size_t pos = 0, start, end;
    while (pos < len) {
        enum status status = tok_regex_next(regex, scratch, text, len, &walk, &start, &end);
        assert_true(status == STATUS_OK || status == STATUS_DONE);
        if (status == STATUS_DONE) {
            start = end = len;
        }
        if (start > pos) {
            assert_int_equal(tok_scan_next(kind, text, len, pos), start);
        }
        if (end > start) {
            assert_int_equal(tok_scan_next(kind, text, len, start), end);
        }
        pos = end;
    }
}

static void scanners_equal_regex(void **state)
{
    (void)state;
    uint64_t seed = 2862933555777941757u;
    struct tok_regex_scratch *scratch;
    assert_int_equal(tok_regex_scratch_create(&scratch), STATUS_OK);
    for (enum tok_scan_kind kind = TOK_SCAN_GPT2; kind < TOK_SCAN_KINDS; kind++) {
        const char *pattern = tok_scan_pattern(kind);
        struct tok_regex *regex;
        struct tokenizer_error error = {""};
        assert_int_equal(tok_scan_recognise(pattern, strlen(pattern)), kind);
        if (tok_regex_create(pattern, strlen(pattern), &error, &regex) != STATUS_OK) {
            fail_msg("%s", error.text);
        }
        for (int i = 0; i < N_TEXTS; i++) {
            char text[200];
            size_t len = tok_random_text(&seed, text, sizeof text);
            compare(kind, regex, scratch, text, len);
        }
        tok_regex_destroy(regex);
    }
    tok_regex_scratch_destroy(scratch);
}

static void unknown_patterns_are_not_recognised(void **state)
{
    (void)state;
    assert_int_equal(tok_scan_recognise("\\s+", 3), TOK_SCAN_NONE);
    const char *gpt2 = tok_scan_pattern(TOK_SCAN_GPT2);
    assert_int_equal(tok_scan_recognise(gpt2, strlen(gpt2) - 1), TOK_SCAN_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scanners_equal_regex),
        cmocka_unit_test(unknown_patterns_are_not_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
