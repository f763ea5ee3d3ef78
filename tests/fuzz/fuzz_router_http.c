/* The HTTP parser: any bytes, in pieces whose sizes the first bytes choose. However they are cut,
 * the same is decided about them, and a request that is taken is whole. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "router/http_parse.h"
#include "tests/fuzz/fuzz.h"

#define BODY_MAX 256u

struct outcome {
    enum http_parse result;
    size_t taken;
    unsigned code;
    size_t n_headers, body_len;
};

static struct outcome parse(struct http_parser *parser, const uint8_t *data, size_t size,
                            size_t step)
{
    struct outcome out = {.result = HTTP_PARSE_MORE};
    size_t end = 0;

    http_parser_reset(parser);
    while (out.taken < size &&
           (out.result == HTTP_PARSE_MORE || out.result == HTTP_PARSE_CONTINUE)) {
        size_t taken;

        if (end <= out.taken)
            end = size - out.taken < step ? size : out.taken + step;
        out.result = http_parser_feed(parser, data + out.taken, end - out.taken, &taken);
        CHECK(taken <= end - out.taken);
        out.taken += taken;
    }
    if (out.result == HTTP_PARSE_BAD)
        out.code = http_parser_code(parser);
    if (out.result == HTTP_PARSE_CONTINUE)
        out.result = HTTP_PARSE_MORE;
    if (out.result != HTTP_PARSE_DONE)
        return out;
    out.n_headers = http_parser_request(parser)->n_headers;
    out.body_len = http_parser_request(parser)->body.len;
    CHECK(http_parser_request(parser)->path.at[0] == '/' && out.body_len <= BODY_MAX);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_parser *parser;
    struct outcome one, other;

    if (size < 1)
        return 0;
    CHECK(http_parser_create(BODY_MAX, &parser) == STATUS_OK);
    one = parse(parser, data + 1, size - 1, SIZE_MAX / 2);
    other = parse(parser, data + 1, size - 1, 1 + data[0] % 64);
    CHECK(one.result == other.result && one.code == other.code);
    if (one.result == HTTP_PARSE_DONE)
        CHECK(one.taken == other.taken && one.n_headers == other.n_headers &&
              one.body_len == other.body_len);
    http_parser_destroy(parser);
    return 0;
}
