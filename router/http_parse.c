/* The parser. The head is gathered until its empty line and then read in place; of the body only
 * the data is kept.
 *
 *   state    input             next
 *   HEAD     empty line        LENGTH, SIZE or DONE
 *   LENGTH   all bytes         DONE
 *   SIZE     a chunk's line    DATA, or TRAILER after the last
 *   DATA     all bytes         DATA_END
 *   DATA_END CR LF             SIZE
 *   TRAILER  a line            TRAILER, or DONE after an empty one */
#include "router/http_parse.h"

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"

enum state { HEAD, LENGTH, SIZE, DATA, DATA_END, TRAILER, DONE, BAD };

struct http_parser {
    enum state state;
    struct buf head, body;
    char line[HTTP_CHUNK_LINE_MAX];
    size_t n_line;
    size_t body_max;
    size_t left; /* of the body, or of the chunk */
    size_t n_trailers;
    bool waits; /* for 100 Continue, and was not told yet */
    unsigned code;
    const char *why;
    struct http_request req;
};

/* ---- life ---- */

enum status http_parser_create(size_t body_max, struct http_parser **out)
{
    struct http_parser *parser = mem_alloc_zero(1, sizeof(*parser));

    if (!parser)
        return STATUS_NO_MEMORY;
    parser->body_max = body_max;
    buf_init(&parser->head, HTTP_HEAD_MAX);
    buf_init(&parser->body, body_max);
    *out = parser;
    return STATUS_OK;
}

void http_parser_destroy(struct http_parser *parser)
{
    if (!parser)
        return;
    buf_fini(&parser->head);
    buf_fini(&parser->body);
    mem_free(parser);
}

/* A body's memory is given back: connections are many, and few of them send much. */
void http_parser_reset(struct http_parser *parser)
{
    buf_clear(&parser->head);
    buf_fini(&parser->body);
    parser->state = HEAD;
    parser->n_line = 0;
    parser->left = 0;
    parser->n_trailers = 0;
    parser->waits = false;
    parser->req = (struct http_request){.n_headers = 0};
}

bool http_parser_begun(const struct http_parser *parser)
{
    return parser->state != HEAD || buf_len(&parser->head) > 0;
}

bool http_parser_in_body(const struct http_parser *parser)
{
    return parser->state != HEAD;
}

const struct http_request *http_parser_request(const struct http_parser *parser)
{
    CHECK(parser->state == DONE);
    return &parser->req;
}

unsigned http_parser_code(const struct http_parser *parser)
{
    CHECK(parser->state == BAD);
    return parser->code;
}

const char *http_parser_why(const struct http_parser *parser)
{
    CHECK(parser->state == BAD);
    return parser->why;
}

static void fail(struct http_parser *parser, unsigned code, const char *why)
{
    parser->state = BAD;
    parser->code = code;
    parser->why = why;
}

/* ---- texts ---- */

bool http_span_is(struct http_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

bool http_span_is_word(struct http_span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(span.at, text, span.len) == 0;
}

const struct http_span *http_header_find(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->n_headers; i++)
        if (http_span_is_word(req->headers[i].name, name))
            return &req->headers[i].value;
    return NULL;
}

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct http_span span)
{
    for (size_t i = 0; i < span.len; i++)
        if (!is_token_char((unsigned char)span.at[i]))
            return false;
    return span.len > 0;
}

/* No control characters but a tab; bytes above 127 are allowed in values. */
static bool is_plain(struct http_span span)
{
    for (size_t i = 0; i < span.len; i++) {
        const unsigned char c = (unsigned char)span.at[i];

        if ((c < ' ' && c != '\t') || c == 127)
            return false;
    }
    return true;
}

static struct http_span trim(struct http_span span)
{
    while (span.len > 0 && (*span.at == ' ' || *span.at == '\t')) {
        span.at++;
        span.len--;
    }
    while (span.len > 0 && (span.at[span.len - 1] == ' ' || span.at[span.len - 1] == '\t'))
        span.len--;
    return span;
}

/* Cuts off what comes before `mark`; false where there is none. */
static bool cut(struct http_span *rest, char mark, struct http_span *out)
{
    const char *found = rest->len > 0 ? memchr(rest->at, mark, rest->len) : NULL;

    if (!found)
        return false;
    out->at = rest->at;
    out->len = (size_t)(found - rest->at);
    rest->at = found + 1;
    rest->len -= out->len + 1;
    return true;
}

/* The next line of the head, without its CR LF. */
static bool cut_line(struct http_span *rest, struct http_span *line)
{
    if (!cut(rest, '\n', line) || line->len == 0 || line->at[line->len - 1] != '\r')
        return false;
    line->len--;
    return true;
}

/* ---- the head ---- */

static bool read_target(struct http_parser *parser, struct http_span target)
{
    struct http_request *req = &parser->req;

    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.at[i] <= ' ' || (unsigned char)target.at[i] >= 127)
            return false;
    if (target.len == 0 || target.at[0] != '/')
        return false;
    if (!cut(&target, '?', &req->path)) {
        req->path = target;
        return true;
    }
    req->query = target;
    return true;
}

static bool read_request_line(struct http_parser *parser, struct http_span line)
{
    struct http_request *req = &parser->req;
    struct http_span target;

    if (!cut(&line, ' ', &req->method) || !is_token(req->method) || !cut(&line, ' ', &target)) {
        fail(parser, 400, "the request line is not METHOD PATH HTTP/1.1");
        return false;
    }
    if (!read_target(parser, target)) {
        fail(parser, 400, "the request's target is not a path that begins with '/'");
        return false;
    }
    if (!http_span_is(line, "HTTP/1.1") && !http_span_is(line, "HTTP/1.0")) {
        fail(parser, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
        return false;
    }
    req->keep_alive = http_span_is(line, "HTTP/1.1");
    req->head = http_span_is(req->method, "HEAD");
    return true;
}

static bool read_header(struct http_parser *parser, struct http_span line)
{
    struct http_request *req = &parser->req;
    struct http_header *header = &req->headers[req->n_headers];

    if (req->n_headers == HTTP_HEADERS_MAX) {
        fail(parser, 431, "the request has more than 64 headers");
        return false;
    }
    if (!cut(&line, ':', &header->name) || !is_token(header->name) || !is_plain(line)) {
        fail(parser, 400, "a header is not NAME: VALUE");
        return false;
    }
    header->value = trim(line);
    req->n_headers++;
    return true;
}

/* Digits only, and no more than fit. */
static bool read_length(struct http_span text, size_t *out)
{
    size_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || value > (SIZE_MAX - 9) / 10)
            return false;
        value = value * 10 + (size_t)(text.at[i] - '0');
    }
    *out = value;
    return text.len > 0;
}

/* What the headers say of the body's length. Any doubt is refused: a front end that reads it in
 * another way would let one client's bytes become another's request. */
static bool read_framing(struct http_parser *parser)
{
    const struct http_request *req = &parser->req;
    const struct http_span *length = NULL, *coding = NULL;
    size_t n_hosts = 0;

    for (size_t i = 0; i < req->n_headers; i++) {
        const struct http_header *header = &req->headers[i];

        n_hosts += http_span_is_word(header->name, "host");
        if (http_span_is_word(header->name, "content-length")) {
            if (length)
                goto ambiguous;
            length = &header->value;
        } else if (http_span_is_word(header->name, "transfer-encoding")) {
            if (coding)
                goto ambiguous;
            coding = &header->value;
        }
    }
    if (length && coding)
        goto ambiguous;
    if (n_hosts > 1 || (n_hosts == 0 && req->keep_alive)) {
        fail(parser, 400, "expected exactly one Host header");
        return false;
    }
    if (coding && !http_span_is_word(*coding, "chunked")) {
        fail(parser, 501, "of transfer encodings only chunked is known");
        return false;
    }
    if (length && !read_length(*length, &parser->left)) {
        fail(parser, 400, "Content-Length is not a number");
        return false;
    }
    if (parser->left > parser->body_max) {
        fail(parser, 413, "the body is over the limit");
        return false;
    }
    parser->state = coding ? SIZE : parser->left > 0 ? LENGTH : DONE;
    return true;
ambiguous:
    fail(parser, 400, "more than one header says how long the body is");
    return false;
}

/* Is `word` one of the comma-separated words of the header? */
static bool has_word(const struct http_span *value, const char *word)
{
    struct http_span rest, one;

    if (!value)
        return false;
    rest = *value;
    while (cut(&rest, ',', &one))
        if (http_span_is_word(trim(one), word))
            return true;
    return http_span_is_word(trim(rest), word);
}

/* What follows its first `len` bytes in the buffer is not ours. */
static void read_head(struct http_parser *parser, size_t len)
{
    struct http_request *req = &parser->req;
    struct http_span rest = {(const char *)buf_data(&parser->head), len}, line;
    const struct http_span *connection, *expect;

    if (!cut_line(&rest, &line)) {
        fail(parser, 400, "a line does not end in CR LF");
        return;
    }
    if (!read_request_line(parser, line))
        return;
    for (;;) {
        if (!cut_line(&rest, &line)) {
            fail(parser, 400, "a line does not end in CR LF");
            return;
        }
        if (line.len == 0)
            break;
        if (!read_header(parser, line))
            return;
    }
    if (!read_framing(parser))
        return;
    connection = http_header_find(req, "connection");
    if (has_word(connection, "close"))
        req->keep_alive = false;
    else if (has_word(connection, "keep-alive"))
        req->keep_alive = true;
    expect = http_header_find(req, "expect");
    parser->waits = expect && http_span_is_word(*expect, "100-continue") && parser->state != DONE;
}

/* Looks for the empty line. Where it may begin is 3 bytes before what is new. */
static size_t feed_head(struct http_parser *parser, const uint8_t *bytes, size_t len)
{
    const size_t before = buf_len(&parser->head);
    const size_t room = HTTP_HEAD_MAX - before, n = len < room ? len : room;
    const size_t from = before < 3 ? 0 : before - 3;
    const uint8_t *head, *end;
    size_t total;

    if (buf_append(&parser->head, bytes, n) != STATUS_OK) {
        fail(parser, 500, "out of memory");
        return 0;
    }
    head = buf_data(&parser->head);
    total = buf_len(&parser->head);
    /* An empty line before the request is a left-over of old clients. */
    if (total >= 2 && head[0] == '\r' && head[1] == '\n') {
        buf_clear(&parser->head);
        return 2 - before;
    }
    end = memmem(head + from, total - from, "\r\n\r\n", 4);
    if (!end) {
        if (total == HTTP_HEAD_MAX)
            fail(parser, 431, "request line and headers are over 16 KiB");
        return n;
    }
    total = (size_t)(end - head) + 4;
    read_head(parser, total);
    return total - before;
}

/* ---- the body ---- */

static size_t feed_data(struct http_parser *parser, const uint8_t *bytes, size_t len)
{
    const size_t n = len < parser->left ? len : parser->left;

    if (buf_append(&parser->body, bytes, n) != STATUS_OK) {
        fail(parser, 500, "out of memory");
        return 0;
    }
    parser->left -= n;
    if (parser->left == 0)
        parser->state = parser->state == LENGTH ? DONE : DATA_END;
    return n;
}

static void take_size(struct http_parser *parser, struct http_span line)
{
    size_t size = 0, n = 0;

    for (; n < line.len && n < 15; n++) {
        const char c = line.at[n];
        const char *digits = "0123456789abcdefABCDEF";
        const char *digit = c ? strchr(digits, c) : NULL;

        if (!digit)
            break;
        size = size * 16 + (size_t)(digit - digits > 15 ? digit - digits - 6 : digit - digits);
    }
    if (n == 0 || (n < line.len && line.at[n] != ';') || !is_plain(line)) {
        fail(parser, 400, "a chunk's size is not a hexadecimal number");
        return;
    }
    if (size > parser->body_max - buf_len(&parser->body)) {
        fail(parser, 413, "the body is over the limit");
        return;
    }
    parser->left = size;
    parser->state = size > 0 ? DATA : TRAILER;
}

/* Trailers are read over. */
static void take_trailer(struct http_parser *parser, struct http_span line)
{
    if (line.len == 0)
        parser->state = DONE;
    else if (++parser->n_trailers > HTTP_TRAILERS_MAX)
        fail(parser, 431, "the body has too many trailers");
}

static void take_line(struct http_parser *parser, struct http_span line)
{
    if (parser->state == SIZE)
        take_size(parser, line);
    else if (parser->state == TRAILER)
        take_trailer(parser, line);
    else if (line.len > 0)
        fail(parser, 400, "a chunk is longer than its size");
    else
        parser->state = SIZE;
}

/* Byte by byte: these lines are short and few. */
static size_t feed_line(struct http_parser *parser, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (parser->n_line == sizeof(parser->line)) {
            fail(parser, 400, "a chunk's line is too long");
            return i;
        }
        parser->line[parser->n_line++] = (char)bytes[i];
        if (bytes[i] != '\n')
            continue;
        if (parser->n_line < 2 || parser->line[parser->n_line - 2] != '\r') {
            fail(parser, 400, "a line does not end in CR LF");
            return i + 1;
        }
        take_line(parser, (struct http_span){parser->line, parser->n_line - 2});
        parser->n_line = 0;
        return i + 1;
    }
    return len;
}

enum http_parse http_parser_feed(struct http_parser *parser, const void *bytes, size_t len,
                                 size_t *taken_out)
{
    const uint8_t *at = bytes;
    size_t taken = 0;

    CHECK(parser->state != DONE && parser->state != BAD);
    while (taken < len && parser->state != DONE && parser->state != BAD && !parser->waits) {
        if (parser->state == HEAD)
            taken += feed_head(parser, at + taken, len - taken);
        else if (parser->state == LENGTH || parser->state == DATA)
            taken += feed_data(parser, at + taken, len - taken);
        else
            taken += feed_line(parser, at + taken, len - taken);
    }
    *taken_out = taken;
    if (parser->state == BAD)
        return HTTP_PARSE_BAD;
    if (parser->waits) {
        parser->waits = false;
        return HTTP_PARSE_CONTINUE;
    }
    if (parser->state != DONE)
        return HTTP_PARSE_MORE;
    parser->req.body.at = (const char *)buf_data(&parser->body);
    parser->req.body.len = buf_len(&parser->body);
    return HTTP_PARSE_DONE;
}
