/* The HTTP parser: requests in pieces of every size, and what is refused with which code. */
#include "router/http_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BODY_MAX 64u

static struct http_parser *parser;

static int setup(void **state)
{
    (void)state;
    return http_parser_create(BODY_MAX, &parser) != STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    http_parser_destroy(parser);
    return 0;
}

/* Feeds in pieces of `step` bytes until something is decided; counts what was taken and how often
 * the client was to be told to go on. */
static enum http_parse feed(const char *text, size_t len, size_t step, size_t *taken_out,
                            unsigned *continues_out)
{
    enum http_parse result = HTTP_PARSE_MORE;
    size_t at = 0, end = 0;

    *continues_out = 0;
    http_parser_reset(parser);
    while (at < len && (result == HTTP_PARSE_MORE || result == HTTP_PARSE_CONTINUE)) {
        size_t taken;

        if (end <= at)
            end = at + step < len ? at + step : len;
        result = http_parser_feed(parser, text + at, end - at, &taken);
        assert_true(taken <= end - at);
        at += taken;
        *continues_out += result == HTTP_PARSE_CONTINUE;
        if (result == HTTP_PARSE_MORE)
            assert_int_equal(at, end);
    }
    *taken_out = at;
    return result;
}

static void assert_span(struct http_span span, const char *text)
{
    if (!http_span_is(span, text))
        fail_msg("expected '%s', found '%.*s'", text, (int)span.len, span.at);
}

/* The same at every step: what the whole says, with `more` behind it left alone. */
static void test_pieces(void **state)
{
    static const char text[] = "\r\nPOST /v1/x?a=b%20c HTTP/1.1\r\nHost: h\r\nX-A:  one two \t\r\n"
                               "Content-Length: 5\r\nEmpty:\r\n\r\nhelloGET";
    const size_t len = sizeof(text) - 1 - 3;

    (void)state;
    for (size_t step = 1; step <= sizeof(text) - 1; step++) {
        const struct http_request *req;
        unsigned continues;
        size_t taken;

        assert_int_equal(feed(text, sizeof(text) - 1, step, &taken, &continues), HTTP_PARSE_DONE);
        assert_int_equal(taken, len);
        assert_int_equal(continues, 0);
        req = http_parser_request(parser);
        assert_span(req->method, "POST");
        assert_span(req->path, "/v1/x");
        assert_span(req->query, "a=b%20c");
        assert_span(*http_header_find(req, "x-a"), "one two");
        assert_span(*http_header_find(req, "EMPTY"), "");
        assert_null(http_header_find(req, "X-B"));
        assert_span(req->body, "hello");
        assert_true(req->keep_alive);
        assert_false(req->head);
    }
}

static void test_chunks(void **state)
{
    static const char text[] =
        "PUT / HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n"
        "3;name=value\r\nabc\r\n0A\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n";

    (void)state;
    for (size_t step = 1; step < sizeof(text); step++) {
        unsigned continues;
        size_t taken;

        assert_int_equal(feed(text, sizeof(text) - 1, step, &taken, &continues), HTTP_PARSE_DONE);
        assert_int_equal(taken, sizeof(text) - 1);
        assert_int_equal(continues, 1);
        assert_span(http_parser_request(parser)->body, "abc0123456789");
    }
}

static void test_keep_alive(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade , close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"HEAD / HTTP/1.1\r\nHost:\r\n\r\n", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned continues;
        size_t taken;

        assert_int_equal(feed(cases[i].text, strlen(cases[i].text), 1000, &taken, &continues),
                         HTTP_PARSE_DONE);
        assert_int_equal(http_parser_request(parser)->keep_alive, cases[i].keep);
    }
    assert_true(http_parser_request(parser)->head);
}

static void test_refused(void **state)
{
#define H "GET / HTTP/1.1\r\nHost: h\r\n"
    static const struct {
        unsigned code;
        const char *text;
    } cases[] = {
        {400, "GET\r\n\r\n"},
        {400, "GET /\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"},
        {400, "G(T / HTTP/1.1\r\nHost: h\r\n\r\n"},
        {400, "GET x HTTP/1.1\r\nHost: h\r\n\r\n"},
        {400, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"},
        {400, "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"},
        {505, "GET / http/1.1\r\nHost: h\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: h\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, H "Host: i\r\n\r\n"},
        {400, H "no colon\r\n\r\n"},
        {400, H "Name : x\r\n\r\n"},
        {400, H " folded: x\r\n\r\n"},
        {400, H ": x\r\n\r\n"},
        {400, H "A: \x01\r\n\r\n"},
        {400, H "A: \r x\r\n\r\n"},
        {400, H "Content-Length: -1\r\n\r\n"},
        {400, H "Content-Length: \r\n\r\n"},
        {400, H "Content-Length: 1 2\r\n\r\n"},
        {400, H "Content-Length: 0x10\r\n\r\n"},
        {400, H "Content-Length: 99999999999999999999999999\r\n\r\n"},
        {400, H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {400, H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {501, H "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {413, H "Content-Length: 65\r\n\r\n"},
        {413, H "Transfer-Encoding: chunked\r\n\r\n41\r\n"},
        {413, H "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n"},
        {400, H "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"},
        {400, H "Transfer-Encoding: chunked\r\n\r\n\r\n"},
        {400, H "Transfer-Encoding: chunked\r\n\r\n1 \r\n"},
        {400, H "Transfer-Encoding: chunked\r\n\r\n-1\r\n"},
        {400, H "Transfer-Encoding: chunked\r\n\r\n1\na\r\n"},
        {400, H "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step < 200; step += 7) {
            unsigned continues;
            size_t taken;

            if (feed(cases[i].text, strlen(cases[i].text), step, &taken, &continues) !=
                    HTTP_PARSE_BAD ||
                http_parser_code(parser) != cases[i].code)
                fail_msg("case %zu in steps of %zu is not refused with %u", i, step, cases[i].code);
            assert_true(strlen(http_parser_why(parser)) > 10);
        }
    }
}

/* Each limit: what just fits, and one more. */
static void test_limits(void **state)
{
    static char text[2 * HTTP_HEAD_MAX];
    unsigned continues;
    size_t taken, n;

    (void)state;
    for (size_t over = 0; over < 2; over++) {
        n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
        memset(text + n, 'a', HTTP_HEAD_MAX - 4 - n + over);
        strcpy(text + HTTP_HEAD_MAX - 4 + over, "\r\n\r\n");
        assert_int_equal(feed(text, strlen(text), 999, &taken, &continues),
                         over ? HTTP_PARSE_BAD : HTTP_PARSE_DONE);
        if (over)
            assert_int_equal(http_parser_code(parser), 431);
        n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: h\r\n");
        for (size_t i = 1; i < HTTP_HEADERS_MAX + over; i++)
            n += (size_t)sprintf(text + n, "A%zu: x\r\n", i);
        strcpy(text + n, "\r\n");
        assert_int_equal(feed(text, strlen(text), 999, &taken, &continues),
                         over ? HTTP_PARSE_BAD : HTTP_PARSE_DONE);
        n = (size_t)sprintf(text, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "0\r\n");
        for (size_t i = 0; i < HTTP_TRAILERS_MAX + over; i++)
            n += (size_t)sprintf(text + n, "T: x\r\n");
        strcpy(text + n, "\r\n");
        assert_int_equal(feed(text, strlen(text), 1, &taken, &continues),
                         over ? HTTP_PARSE_BAD : HTTP_PARSE_DONE);
    }
    n = (size_t)sprintf(text, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0;");
    memset(text + n, 'x', HTTP_CHUNK_LINE_MAX);
    text[n + HTTP_CHUNK_LINE_MAX] = '\0';
    assert_int_equal(feed(text, strlen(text), 1, &taken, &continues), HTTP_PARSE_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),     cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_keep_alive), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
