/* The log: one line per event, written with one write(2), as key=value text or as JSON. The message
 * is constant text that can be searched for; data goes into fields:
 *
 *     LOG_INFO("router", "node joined", log_str("node", name), log_u64("blocks", n_blocks));
 *
 *     2025-01-31T12:00:00.123456Z INFO router "node joined" node=d0 blocks=4096
 *
 * Each call site may write `site_lines_per_s` lines a second; what it holds back is counted and
 * reported by its next line as suppressed=N. Nothing here allocates, waits for a lock or fails: a
 * line over LOG_LINE_MAX loses its last fields and says so. Never log prompts, tokens or secrets.
 * Safe on any thread, also before log_open (then: text, INFO, stderr). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define LOG_LINE_MAX 4096
#define LOG_FIELDS_MAX 32

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_options {
    enum log_level level;
    enum log_format format;
    const char *path;          /* appended to; NULL or "" is stderr */
    uint32_t site_lines_per_s; /* 0: no limit */
};

/* Sets up the log; may be called again to change it. IO if the file cannot be opened (the old
 * settings stay). Call it from one thread, before others start. */
enum status log_open(const struct log_options *options);

/* Back to the state before log_open. */
void log_close(void);

/* Lines held back by rate limits, and lines lost because write(2) failed or would have waited,
 * since the start. */
uint64_t log_n_suppressed(void);
uint64_t log_n_lost(void);

enum log_type {
    LOG_TYPE_NONE,
    LOG_TYPE_STR,
    LOG_TYPE_I64,
    LOG_TYPE_U64,
    LOG_TYPE_F64,
    LOG_TYPE_BOOL,
    LOG_TYPE_HEX,
    LOG_TYPE_BYTES
};

/* Make one with the functions below. Names are constant, [a-z0-9_.]. */
struct log_field {
    const char *name;
    enum log_type type;
    size_t len; /* of BYTES */
    union {
        const char *str;
        int64_t i64;
        uint64_t u64;
        double f64;
        bool flag;
        const uint8_t *bytes; /* [len] */
    } value;
};

/* Text from anywhere: escaped, so no value can forge a line. NULL prints as empty. */
struct log_field log_str(const char *name, const char *value);
struct log_field log_i64(const char *name, int64_t value);
struct log_field log_u64(const char *name, uint64_t value);
struct log_field log_f64(const char *name, double value);
struct log_field log_bool(const char *name, bool value);
/* 16 hexadecimal digits: incarnations, digests. */
struct log_field log_hex(const char *name, uint64_t value);
/* A run of bytes in hexadecimal. */
struct log_field log_bytes(const char *name, const uint8_t *bytes, size_t len);
/* req=<32 hexadecimal digits>: the request a line is about. */
struct log_field log_req(const uint8_t id[16]);
/* status=<NAME>. */
struct log_field log_status(enum status status);
/* errno as text: error="No such file or directory". */
struct log_field log_errno(int error);
/* Prints nothing. */
struct log_field log_none(void);

/* One place in the code that logs; the macros below make it. Zero at start. */
struct log_site {
    uint64_t window_s;     /* the second now being counted; atomic access only */
    uint32_t n_lines;      /* lines of this second */
    uint32_t n_suppressed; /* held back and not yet reported */
};

/* Writes one line if `level` is on and the site is within its rate. `site` may be NULL. */
void log_write(struct log_site *site, enum log_level level, const char *component, const char *msg,
               const struct log_field *fields, size_t n_fields);

/* True if a line of `level` would be written: to skip costly arguments. */
bool log_enabled(enum log_level level);

/* The leading log_none() keeps the array legal when there are no fields. */
#define LOG_AT(level, component, msg, ...)                                                         \
    do {                                                                                           \
        static struct log_site log_site_here;                                                      \
        if (log_enabled(level)) {                                                                  \
            const struct log_field log_fields_here[] = {log_none(), __VA_ARGS__};                  \
            log_write(&log_site_here, level, component, msg, log_fields_here,                      \
                      sizeof(log_fields_here) / sizeof(log_fields_here[0]));                       \
        }                                                                                          \
    } while (0)

#define LOG_DEBUG(component, ...) LOG_AT(LOG_LEVEL_DEBUG, component, __VA_ARGS__)
#define LOG_INFO(component, ...) LOG_AT(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define LOG_WARN(component, ...) LOG_AT(LOG_LEVEL_WARN, component, __VA_ARGS__)
#define LOG_ERROR(component, ...) LOG_AT(LOG_LEVEL_ERROR, component, __VA_ARGS__)
