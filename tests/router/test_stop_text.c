/* Stop strings against a naive reference: random strings over small alphabets, where beginnings,
 * borders and overlaps are frequent, cut into tokens at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "router/stop_text.h"

#define CASES 100000
#define TEXT_MAX 96u

/* ---- the reference ---- */

struct truth {
    bool matched;
    size_t string, end; /* of the match: one past its last byte */
    size_t len;         /* of the text that goes out */
};

static void truth_of(const struct wire_span *strings, size_t n, bool include, const char *text,
                     size_t len, struct truth *out)
{
    *out = (struct truth){.len = len};
    for (size_t end = 1; end <= len; end++) {
        for (size_t i = 0; i < n; i++) {
            const struct wire_span s = strings[i];

            if (s.len > end || memcmp(text + end - s.len, s.at, s.len) != 0)
                continue;
            if (out->matched && s.len <= strings[out->string].len)
                continue;
            *out = (struct truth){true, i, end, include ? end : end - s.len};
        }
        if (out->matched)
            return;
    }
}

/* The longest end of the text that some string begins with (and is longer than). */
static size_t truth_held(const struct wire_span *strings, size_t n, const char *text, size_t len)
{
    size_t held = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 1; k < strings[i].len && k <= len; k++)
            if (k > held && memcmp(text + len - k, strings[i].at, k) == 0)
                held = k;
    return held;
}

/* ---- random ---- */

static size_t random_text(struct rand *rng, const char *letters, size_t n_letters, size_t max,
                          char *out)
{
    const size_t len = rand_below(rng, max + 1);

    for (size_t i = 0; i < len; i++)
        out[i] = letters[rand_below(rng, n_letters)];
    return len;
}

/* One case: all texts of its tokens, together and one by one. */
static void one_case(struct rand *rng)
{
    char bytes[STOP_STRINGS_MAX][12], text[TEXT_MAX], got[2 * TEXT_MAX];
    struct wire_span strings[STOP_STRINGS_MAX];
    const size_t n = 1 + rand_below(rng, rand_below(rng, 4) ? 3 : STOP_STRINGS_MAX);
    const size_t n_letters = 2 + rand_below(rng, 3);
    const bool include = rand_below(rng, 2);
    size_t len, n_got = 0, at = 0;
    struct stop_match match;
    struct stop_text *stop;
    struct truth truth;
    uint32_t token = 0, last = 0;

    for (size_t i = 0; i < n; i++) {
        strings[i].at = bytes[i];
        do
            strings[i].len = random_text(rng, "ab\xc3\xa9", n_letters, sizeof(bytes[i]), bytes[i]);
        while (strings[i].len == 0);
    }
    len = random_text(rng, "ab\xc3\xa9", n_letters, TEXT_MAX, text);
    truth_of(strings, n, include, text, len, &truth);
    assert_int_equal(stop_text_create(strings, n, include, &stop), STATUS_OK);
    for (; at < len; token++) {
        const size_t max = len - at < 7 ? len - at : 7, piece = rand_below(rng, max + 1);
        const bool open = !truth.matched || at + piece < truth.end;
        size_t n_out = 999;

        assert_int_equal(
            stop_text_push(stop, text + at, piece, got + n_got, sizeof(got) - n_got, &n_out),
            STATUS_OK);
        if (truth.matched && at < truth.end && at + piece >= truth.end)
            last = token;
        n_got += n_out;
        at += piece;
        assert_int_equal(stop_text_matched(stop, &match), !open);
        if (open) { /* neither too early nor too late */
            assert_int_equal(stop_text_held(stop), truth_held(strings, n, text, at));
            assert_int_equal(n_got, at - stop_text_held(stop));
        }
    }
    if (!truth.matched) {
        size_t n_out = 999;

        assert_int_equal(stop_text_flush(stop, got + n_got, sizeof(got) - n_got, &n_out),
                         STATUS_OK);
        n_got += n_out;
    } else {
        assert_true(stop_text_matched(stop, &match));
        assert_int_equal(match.string, truth.string);
        assert_int_equal(match.token, last);
        assert_int_equal(match.text_len, truth.len);
    }
    assert_int_equal(n_got, truth.len);
    assert_memory_equal(got, text, truth.len);
    stop_text_destroy(stop);
}

static void random_cases(void **state)
{
    struct rand rng;

    (void)state;
    rand_init(&rng, 20261120);
    for (size_t i = 0; i < CASES; i++)
        one_case(&rng);
    assert_int_equal(mem_live(), 0);
}

/* ---- single cases ---- */

static struct stop_text *stop_of(bool include, const char *a, const char *b)
{
    const struct wire_span strings[] = {wire_span_of(a), wire_span_of(b ? b : "")};
    struct stop_text *stop;

    assert_int_equal(stop_text_create(strings, b ? 2 : 1, include, &stop), STATUS_OK);
    return stop;
}

static void expect_push(struct stop_text *stop, const char *text, const char *expected)
{
    char out[256];
    size_t n = 999;

    assert_int_equal(stop_text_push(stop, text, strlen(text), out, sizeof(out), &n), STATUS_OK);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
}

/* Each token has its text, late but whole; a token whose text is held has an empty one. */
static void each_token_has_its_text(void **state)
{
    struct stop_text *stop = stop_of(false, "\n\nUser:", NULL);
    struct stop_match match;

    (void)state;
    expect_push(stop, "Hello", "Hello");
    expect_push(stop, ".\n", ".");
    expect_push(stop, "\n", "");
    expect_push(stop, "Use", "");
    expect_push(stop, "ful", "\n\nUseful");
    expect_push(stop, "", "");
    expect_push(stop, "\n\nUs", "");
    expect_push(stop, "er: x", "");
    assert_true(stop_text_matched(stop, &match));
    assert_int_equal(match.token, 7);
    assert_int_equal(match.text_len, strlen("Hello.\n\nUseful"));
    expect_push(stop, "no more", "");
    assert_int_equal(stop_text_held(stop), 0);
    stop_text_reset(stop);
    assert_false(stop_text_matched(stop, &match));
    expect_push(stop, "no more", "no more");
    stop_text_destroy(stop);
}

static void the_earliest_end_then_the_earliest_start(void **state)
{
    struct stop_text *stop = stop_of(true, "bcd", "abcde");
    struct stop_match match;

    (void)state;
    expect_push(stop, "xabcde", "xabcd"); /* complete one byte before the other */
    assert_true(stop_text_matched(stop, &match));
    assert_int_equal(match.string, 0);
    stop_text_destroy(stop);
    stop = stop_of(false, "cd", "abcd");
    expect_push(stop, "xab", "x");
    expect_push(stop, "cde", ""); /* both at once: from the earlier start */
    assert_true(stop_text_matched(stop, &match));
    assert_int_equal(match.string, 1);
    stop_text_destroy(stop);
}

static void characters_stay_whole(void **state)
{
    /* The second bytes differ: what is held back ends inside of a character only as long as the
     * text itself does. */
    struct stop_text *stop = stop_of(false, "\xc3\xa9nd", NULL);

    (void)state;
    expect_push(stop, "caf\xc3\xa9", "caf");
    expect_push(stop, "!", "\xc3\xa9!");
    expect_push(stop, "\xc3\xa8", "\xc3\xa8");
    stop_text_destroy(stop);
}

static void limits(void **state)
{
    static char long_bytes[STOP_BYTES_MAX + 1], out[2 * STOP_BYTES_MAX];
    struct wire_span strings[STOP_STRINGS_MAX + 1];
    struct stop_text *stop;
    size_t n = 999;

    (void)state;
    memset(long_bytes, 'x', sizeof(long_bytes));
    for (size_t i = 0; i <= STOP_STRINGS_MAX; i++)
        strings[i] = (struct wire_span){long_bytes, STOP_BYTES_MAX};
    assert_int_equal(stop_text_create(strings, 0, false, &stop), STATUS_INVALID);
    assert_int_equal(stop_text_create(strings, STOP_STRINGS_MAX + 1, false, &stop), STATUS_INVALID);
    strings[1].len++;
    assert_int_equal(stop_text_create(strings, 2, false, &stop), STATUS_TOO_BIG);
    strings[1].len = 0;
    assert_int_equal(stop_text_create(strings, 2, false, &stop), STATUS_INVALID);
    strings[1].len = STOP_BYTES_MAX;
    mem_fail_after(0);
    assert_int_equal(stop_text_create(strings, 2, false, &stop), STATUS_NO_MEMORY);
    mem_fail_after(MEM_FAIL_NEVER);
    assert_int_equal(stop_text_create(strings, STOP_STRINGS_MAX, false, &stop), STATUS_OK);
    assert_int_equal(stop_text_push(stop, long_bytes, 500, out, sizeof(out), &n), STATUS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(stop_text_push(stop, "yz", 2, out, 501, &n), STATUS_TOO_BIG);
    assert_int_equal(stop_text_flush(stop, out, 499, &n), STATUS_TOO_BIG);
    assert_int_equal(stop_text_held(stop), 500);
    assert_int_equal(stop_text_push(stop, "yz", 2, out, 502, &n), STATUS_OK);
    assert_int_equal(n, 502);
    stop_text_destroy(stop);
}

static uint64_t now_ns(void)
{
    const struct clock clock = clock_monotonic();

    return clock_now_ns(&clock);
}

/* The worst text for 16 strings of 512 bytes: all but the last byte, over and over. */
static void worst_text_is_quick(void **state)
{
    static char bytes[STOP_STRINGS_MAX][STOP_BYTES_MAX], text[4096], out[8192];
    struct wire_span strings[STOP_STRINGS_MAX];
    struct stop_text *stop;
    const uint64_t from_ns = now_ns();
    uint64_t took_ns;
    size_t n;

    (void)state;
    for (size_t i = 0; i < STOP_STRINGS_MAX; i++) {
        memset(bytes[i], 'a', STOP_BYTES_MAX);
        bytes[i][STOP_BYTES_MAX - 1] = (char)('b' + i);
        strings[i] = (struct wire_span){bytes[i], STOP_BYTES_MAX};
    }
    memset(text, 'a', sizeof(text));
    for (size_t i = STOP_BYTES_MAX - 1; i < sizeof(text); i += STOP_BYTES_MAX)
        text[i] = 'A';
    assert_int_equal(stop_text_create(strings, STOP_STRINGS_MAX, false, &stop), STATUS_OK);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(stop_text_push(stop, text, sizeof(text), out, sizeof(out), &n), STATUS_OK);
    took_ns = now_ns() - from_ns;
    print_message("16 strings of 512 bytes, worst text: %.1f ns a byte\n",
                  (double)took_ns / (64.0 * sizeof(text)));
    assert_true(took_ns < 5 * NS_PER_S); /* naive: 512 times as much */
    stop_text_destroy(stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_token_has_its_text),
        cmocka_unit_test(the_earliest_end_then_the_earliest_start),
        cmocka_unit_test(characters_stay_whole),
        cmocka_unit_test(limits),
        cmocka_unit_test(worst_text_is_quick),
        cmocka_unit_test(random_cases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
