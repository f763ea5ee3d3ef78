/* The HTTP door: OpenAI's API in front of the router's core. An answer that is being made is a call
 * (http_call.h); to the core it is a client on a link of its own that speaks the client protocol,
 * so that admission, streams and failures are the same for both doors. Everything on the loop's
 * thread but the reading of bodies, which is the clerk's. */
#pragma once

#include "router/clerk.h"
#include "router/http_server.h"
#include "router/prompt.h"
#include "router/router.h"
#include "router/tool_calls.h"

#define HTTP_KEYS_MAX 1024u
#define HTTP_KEY_MAX 256u

struct http_door;
struct meters;
struct access_who;

/* Who may ask; `name` is for logs and metrics. */
struct http_key {
    char name[64];
    char key[HTTP_KEY_MAX + 1];
};

struct http_door_cfg {
    const char *address;
    uint32_t conns_max;
    const struct prompt_reader *reader;
    enum tool_style tools;
    const char *model; /* what clients ask for */
    const char *root;  /* where it comes from */
    /* Of what a request leaves open, as the model's generation_config.json has it; NULL: OpenAI's.
     */
    const struct wire_sampling *defaults;
    const char *version;         /* of the program */
    const struct http_key *keys; /* [n_keys]; none: everybody may */
    size_t n_keys;
    uint32_t calls_max; /* bodies with the clerk at once; more get 429 */
    uint32_t *numbers;  /* the process's counter of links */
    int64_t unix_offset_s;
    struct meters *meters; /* what /metrics tells; NULL: there is none */
    bool access_log;       /* a line for each request */
};

/* What cfg points to must outlive the door. The clerk must be destroyed before it. */
enum status http_door_open(const struct http_door_cfg *cfg, struct loop *loop, struct router *core,
                           struct clerk *clerk, struct http_door **out, char why[HTTP_WHY_MAX]);
/* NULL is nothing. */
void http_door_close(struct http_door *door);
const char *http_door_endpoint(const struct http_door *door);
/* No more connections; calls that run go on. */
void http_door_drain(struct http_door *door);
/* Whether an answer is still being made, or sent. */
bool http_door_busy(const struct http_door *door);

/* Who asked over this link of the door's; the texts live as long as the call. False: it is none. */
bool http_door_who(const struct http_door *door, uint32_t link, struct access_who *out,
                   size_t *key_out);
/* What the core posts to a link; false, and nothing has happened, where it is none of the door's.
 */
bool http_door_take(struct http_door *door, uint32_t link, const void *bytes, size_t len);
