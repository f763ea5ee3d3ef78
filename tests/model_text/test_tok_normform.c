/* Normal forms: the cases in which a shortcut would show. Expected values are those of the
 * reference, which has Unicode 9: what is newer stays as it is. */
#include "tests/model_text/tok_fixture.h"

#include <string.h>

#include "base/mem.h"
#include "model/tok_normform.h"

static void check(enum tok_normform form, const char *text, const char *want)
{
    struct tok_block chars = {NULL, 0};
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(tok_normform_append(form, &chars, text, strlen(text), &out), STATUS_OK);
    assert_string_equal(buf_text(&out), want);
    buf_fini(&out);
    mem_free(chars.mem);
}

static void composition_is_blocked_by_equal_classes(void **state)
{
    (void)state;
    check(TOK_NFC, "xa\xcc\x81z", "x\xc3\xa1z");
    check(TOK_NFC, "a\xcc\x85\xcc\x81", "a\xcc\x85\xcc\x81");    /* overline, acute: both 230 */
    check(TOK_NFC, "a\xcc\xa3\xcc\x81", "\xe1\xba\xa1\xcc\x81"); /* dot below: 220 */
    check(TOK_NFC, "a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81"); /* and in the other order */
    check(TOK_NFC,
          "\xcc\x81"
          "a",
          "\xcc\x81"
          "a");
    check(TOK_NFC, "\xe2\x84\xab", "\xc3\x85");                 /* a singleton */
    check(TOK_NFC, "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"); /* an exclusion */
}

static void hangul_is_computed(void **state)
{
    (void)state;
    check(TOK_NFC, "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81");
    check(TOK_NFC, "\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81");
    check(TOK_NFD, "\xea\xb0\x81", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8");
}

static void compatibility_forms_expand(void **state)
{
    (void)state;
    check(TOK_NFKC, "\xef\xac\x81", "fi");
    check(TOK_NFC, "\xef\xac\x81", "\xef\xac\x81");
    check(TOK_NFKD, "\xe1\xba\x9b\xcc\xa3", "s\xcc\xa3\xcc\x87");
    check(TOK_NFKC, "\xe1\xba\x9b\xcc\xa3", "\xe1\xb9\xa9");
}

static void newer_characters_stay(void **state)
{
    (void)state;
    check(TOK_NFKC, "\xe3\x8b\xbf", "\xe3\x8b\xbf");        /* U+32FF, Unicode 12.1 */
    check(TOK_NFD, "\xf0\x91\xa4\xb8", "\xf0\x91\xa4\xb8"); /* U+11938, Unicode 13 */
    /* U+1AC6 (Unicode 14) has no class, so U+0316 does not move before it. */
    check(TOK_NFD, "a\xe1\xab\x86\xcc\x96", "a\xe1\xab\x86\xcc\x96");
    check(TOK_NFD, "a\xcc\x81\xcc\x96", "a\xcc\x96\xcc\x81");
}

/* More marks than are sorted by insertion: still stable, still by class. */
static void long_runs_of_marks_are_sorted(void **state)
{
    (void)state;
    char text[1024] = "a", want[1024] = "a";
    for (int i = 0; i < 60; i++) {
        strcat(text, i % 2 == 0 ? "\xcc\x85" : "\xcc\x96");
    }
    for (int i = 0; i < 60; i++) {
        strcat(want, i < 30 ? "\xcc\x96" : "\xcc\x85");
    }
    check(TOK_NFD, text, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(composition_is_blocked_by_equal_classes),
        cmocka_unit_test(hangul_is_computed),
        cmocka_unit_test(compatibility_forms_expand),
        cmocka_unit_test(newer_characters_stay),
        cmocka_unit_test(long_runs_of_marks_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
