/* One HTTP/1.1 request out of the bytes of a connection, as RFC 9112 has it and nothing beside:
 * lines end in CR LF, header names are tokens, a length is digits, what could be read in two ways
 * (two lengths, a length and chunks, a folded header, a space before a colon) is refused. Every
 * part has a limit. Pure: bytes go in as they come, in pieces of any size; no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define HTTP_HEAD_MAX ((size_t)16 << 10) /* request line and headers */
#define HTTP_HEADERS_MAX 64u
#define HTTP_CHUNK_LINE_MAX 256u /* a chunk's size with its extensions; a trailer's line */
#define HTTP_TRAILERS_MAX 16u

struct http_span {
    const char *at; /* [len], no end */
    size_t len;
};

struct http_header {
    struct http_span name, value; /* value without blanks around it */
};

/* A whole request; all spans lie in the parser until it is reset. */
struct http_request {
    struct http_span method, path, query; /* path begins with '/'; query without its '?' */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t n_headers;
    struct http_span body;
    bool keep_alive;
    bool head; /* HEAD: the answer has no body */
};

enum http_parse {
    HTTP_PARSE_MORE,     /* needs more bytes */
    HTTP_PARSE_CONTINUE, /* once: the client waits for "100 Continue" before it sends the body */
    HTTP_PARSE_DONE,     /* the request is complete; what is left belongs to the next */
    HTTP_PARSE_BAD       /* refused: http_parser_code, http_parser_why */
};

struct http_parser;

/* body_max: a longer body is refused with 413. NO_MEMORY. */
enum status http_parser_create(size_t body_max, struct http_parser **out);
void http_parser_destroy(struct http_parser *parser); /* NULL is nothing */
/* Ready for the next request of the connection. */
void http_parser_reset(struct http_parser *parser);
/* Whether any byte of a request has come since the last reset. */
bool http_parser_begun(const struct http_parser *parser);
/* Whether its head is complete. */
bool http_parser_in_body(const struct http_parser *parser);

/* Takes bytes; *taken_out of them are used up (all, unless it is DONE or BAD). After DONE or BAD:
 * reset first. */
enum http_parse http_parser_feed(struct http_parser *parser, const void *bytes, size_t len,
                                 size_t *taken_out);
/* After DONE. */
const struct http_request *http_parser_request(const struct http_parser *parser);
/* After BAD: 400, 413, 431, 501, 505 or 500 (out of memory), and a sentence. */
unsigned http_parser_code(const struct http_parser *parser);
const char *http_parser_why(const struct http_parser *parser);

/* The value of a header, its name in any case; NULL where there is none, the first of several. */
const struct http_span *http_header_find(const struct http_request *req, const char *name);
bool http_span_is(struct http_span span, const char *text);      /* equal */
bool http_span_is_word(struct http_span span, const char *text); /* equal in any case */
