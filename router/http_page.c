/* See http_page.h. */
#include "router/http_page.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "router/http_call.h"
#include "router/page_files.h"
#include "router/view.h"

/* Nothing of anybody else's is loaded, run, sent to or framed. */
#define PAGE_HEADERS                                                                               \
    "Content-Security-Policy: default-src 'self'; img-src 'self' data:; object-src 'none'; "       \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"                              \
    "X-Content-Type-Options: nosniff\r\n"                                                          \
    "Referrer-Policy: no-referrer\r\n"                                                             \
    "Cache-Control: no-cache\r\n"
#define FLEET_HEADERS "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"

void page_get_file(struct http_door *door, struct http_conn *conn, const struct http_request *req)
{
    (void)door;
    for (size_t i = 0; i < page_n_files; i++) {
        const struct page_file *file = &page_files[i];

        if (!http_span_is(req->path, file->path))
            continue;
        http_reply(conn, 200, file->type, PAGE_HEADERS, file->bytes, file->len);
        return;
    }
    CHECK(false); /* a route without its file */
}

/* The number of "since=N"; 0 where the query is anything else. */
static uint64_t since_of(struct http_span query)
{
    const size_t skip = strlen("since=");
    uint64_t since = 0;

    if (query.len <= skip || query.len > skip + 19 || memcmp(query.at, "since=", skip) != 0)
        return 0;
    for (size_t i = skip; i < query.len; i++) {
        if (query.at[i] < '0' || query.at[i] > '9')
            return 0;
        since = 10 * since + (uint64_t)(query.at[i] - '0');
    }
    return since;
}

void page_get_fleet(struct http_door *door, struct http_conn *conn, const struct http_request *req)
{
    struct openai_error error;
    struct buf body;
    enum status status;

    buf_init(&body, VIEW_BYTES_MAX);
    status = view_write(door->core, since_of(req->query), &body);
    if (status == STATUS_OK) {
        http_reply(conn, 200, "application/json", FLEET_HEADERS, buf_data(&body), buf_len(&body));
    } else {
        openai_error_set(&error, 500, "internal_error", NULL, "%s", status_text(status));
        call_refuse(conn, &error, (struct wire_span){"", 0});
    }
    buf_fini(&body);
}
