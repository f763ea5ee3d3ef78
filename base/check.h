/* Assertions for our own bugs. They are always on, in every build: a server that goes on after its
 * own invariant broke may answer with a wrong token, and a crash is safer than that. Input from
 * outside never reaches a CHECK; it gets a status and a message. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* Prints "FILE:LINE: FUNCTION: CONDITION: MESSAGE" with one write to stderr, then aborts.
 * `msg` may be NULL. */
__attribute__((noreturn)) void check_failed(const char *file, int line, const char *function,
                                            const char *condition, const char *msg);

/* Aborts unless `cond` holds. */
#define CHECK(cond)                                                                                \
    ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #cond, (const char *)0))

/* The same with a constant text that says what the reader should look for. */
#define CHECK_MSG(cond, msg)                                                                       \
    ((cond) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #cond, (msg)))

#ifdef __cplusplus
}
#endif
