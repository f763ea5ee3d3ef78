/* The one list of outcomes, grouped by how much is broken. Whoever detects an error logs it with
 * its details; callers pass the status up unchanged. Outputs of a function that returns a status
 * are written only on STATUS_OK. The numbers travel on the wire: append inside a group, never
 * renumber. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, text) */
#define STATUS_TABLE(X)                                                                            \
    /* nothing is broken */                                                                        \
    X(OK, 0, "ok")                                                                                 \
    X(AGAIN, 1, "not now, try again")                                                              \
    X(DONE, 2, "nothing more to come")                                                             \
    /* this call or input is wrong; asking again in the same way is useless */                     \
    X(INVALID, 10, "invalid argument or input")                                                    \
    X(NOT_FOUND, 11, "no such thing")                                                              \
    X(EXISTS, 12, "already there")                                                                 \
    X(TOO_BIG, 13, "over its limit")                                                               \
    X(UNSUPPORTED, 14, "not supported")                                                            \
    X(DENIED, 15, "not allowed")                                                                   \
    X(MALFORMED, 16, "malformed message or file")                                                  \
    /* this request has ended, others go on */                                                     \
    X(CANCELLED, 20, "cancelled")                                                                  \
    X(DEADLINE, 21, "deadline passed")                                                             \
    X(FULL, 22, "no room now")                                                                     \
    X(YIELDED, 23, "handed back to make room")                                                     \
    X(POISONED, 24, "quarantined: it crashed a node twice")                                        \
    X(MISMATCH, 25, "KV bytes differ from their digest")                                           \
    X(STALE, 26, "old incarnation, attempt or generation")                                         \
    X(SLOW_READER, 27, "the client reads too slowly")                                              \
    X(DRAINING, 28, "shutting down")                                                               \
    /* this peer is broken, others go on */                                                        \
    X(LOST, 40, "peer lost")                                                                       \
    X(STUCK, 41, "peer stuck in a step")                                                           \
    X(REFUSED, 42, "peer refused")                                                                 \
    X(PROTOCOL, 43, "peer broke the protocol")                                                     \
    X(INCOMPATIBLE, 44, "peer serves another model, layout or protocol")                           \
    X(UNREACHABLE, 45, "peer cannot be reached")                                                   \
    /* this process is broken */                                                                   \
    X(NO_MEMORY, 60, "out of memory")                                                              \
    X(IO, 61, "input or output error")                                                             \
    X(INTERNAL, 62, "a bug in Baton")

enum status {
#define X(name, number, text) STATUS_##name = number,
    STATUS_TABLE(X)
#undef X
};

/* Never NULL; a number outside the table gives "unknown status". */
const char *status_text(enum status status);
/* The bare name ("FULL"); for logs, metrics and the wire. */
const char *status_name(enum status status);

#ifdef __cplusplus
}
#endif
