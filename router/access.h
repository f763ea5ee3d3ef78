/* The access log: one line at INFO for each request when it is over, through whichever door it
 * came. Never what was asked or answered, never a key: its name. Lines of what was served have no
 * rate limit. */
#pragma once

#include "router/http_parse.h"
#include "router/watch.h"

/* Who asked. */
struct access_who {
    const char *door;             /* "http", "zmq" */
    const char *api;              /* "chat", ...; "": not known */
    const char *key;              /* its name; "": none */
    const char *label;            /* as the client gave it, X-Request-Id of HTTP */
    const char *trace;            /* traceparent of HTTP; "": none */
    char text[WIRE_NAME_MAX + 1]; /* label may lie here */
};

/* A request that was admitted. An HTTP answer of several choices is several. */
void access_over(const struct access_who *who, const char *model, const struct router_over *over);
/* One that was not. */
void access_refused(const struct access_who *who, const char *model, enum status code,
                    const char *why);
/* What HTTP answered by itself; req is NULL where there was none. */
void access_http(const char *peer, const struct http_request *req, const char *key, unsigned code);
