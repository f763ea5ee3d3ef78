/* The HTTP door with a real core and clerk behind it, scripted nodes behind these, and clients on
 * real sockets in front, all turned by the test itself: waiting is turning. The clock stands still
 * unless http_rig_pass moves it. */
#pragma once

#include <semaphore.h>

#include "base/arena.h"
#include "model/template.h"
#include "model/tokenizer.h"
#include "router/http_door.h"
#include "wire/msg.h"

#define RIG_P_LINK 11u
#define RIG_D_LINK 12u
#define RIG_D2_LINK 13u
#define RIG_JOBS_MAX 64
#define RIG_DEADLINE_MS 10000u
#define RIG_HEARD_MAX ((size_t)4 << 20)
#define RIG_TURNS_MAX 4000

/* A job that a D has got. */
struct rig_job {
    uint32_t link;
    struct wire_id req;
    uint32_t attempt, generation, n_prompt, n_emitted, max_tokens;
    uint64_t seed;
    uint32_t n_told; /* tokens that http_rig_say has told of the answer */
    bool cancelled;  /* the router has told the node to forget it */
};

struct http_rig {
    struct loop *loop;
    struct tokenizer *tok;
    struct template *tmpl;
    struct prompt_reader reader;
    struct router *core;
    struct clerk *clerk;
    struct http_door *door;
    struct arena *arena;
    uint64_t now_ns, seq[32];
    uint32_t numbers;
    bool hold; /* what the core posts stays where it is */
    struct rig_job jobs[RIG_JOBS_MAX];
    size_t n_jobs;
    struct clerk_job block; /* keeps the clerk busy until `go` */
    sem_t go;
    char *heard; /* [RIG_HEARD_MAX], what the last client has read, with an end */
    size_t n_heard;
};

/* `keys` and `tools` as in http_door_cfg. The fleet is P, D and D2, ready. */
void http_rig_init(struct http_rig *rig, enum tool_style tools, const struct http_key *keys,
                   size_t n_keys);
void http_rig_fini(struct http_rig *rig);
void http_rig_turn(struct http_rig *rig);
/* Moves the clock; the nodes go on beating. */
void http_rig_pass(struct http_rig *rig, uint64_t ms);
void http_rig_node_down(struct http_rig *rig, uint32_t link);
/* The clerk begins nothing more until http_rig_unblock. */
void http_rig_block(struct http_rig *rig);
void http_rig_unblock(struct http_rig *rig);

/* ---- nodes ---- */
/* D tells the bytes of text as ids; the last with `end`, "" for none. */
void http_rig_say(struct http_rig *rig, size_t job, const char *text, const char *end);
void http_rig_fail(struct http_rig *rig, size_t job, enum status code);
/* Jobs that a D has and was not told to forget. */
size_t http_rig_running(const struct http_rig *rig);

/* ---- clients ---- */
/* A socket; receive_bytes 0: the system's buffer. What was heard before is forgotten. */
int http_rig_client(struct http_rig *rig, int receive_bytes);
void http_rig_send(int fd, const char *text);
/* A POST of a body; `headers` are whole lines. */
void http_rig_post(int fd, const char *path, const char *headers, const char *body);
/* Reads what there is; false at the end of the connection. */
bool http_rig_hear(struct http_rig *rig, int fd);
bool http_rig_heard(struct http_rig *rig, int fd, const char *text);
void http_rig_forget(struct http_rig *rig);
/* Of what was heard. */
size_t http_rig_count(const struct http_rig *rig, const char *text);

#define RIG_UNTIL(rig, condition)                                                                  \
    do {                                                                                           \
        int n_turns = 0;                                                                           \
        while (!(condition)) {                                                                     \
            http_rig_turn(rig);                                                                    \
            if (++n_turns > RIG_TURNS_MAX)                                                         \
                fail_msg("never: %s; heard so far: %s", #condition, (rig)->heard);                 \
        }                                                                                          \
    } while (0)
