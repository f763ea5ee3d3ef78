/* Formats a line on the stack and writes it with one write(2). The settings are one struct of
 * atomics and the only state in this program that is not passed to whoever uses it: a log that can
 * be missing is a log that is missing when it matters. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_SITE_LINES_DEFAULT 100

struct log {
    _Atomic int level;
    _Atomic int format;
    _Atomic int fd;
    _Atomic uint32_t site_lines_per_s;
    _Atomic uint64_t n_suppressed;
    _Atomic uint64_t n_lost;
};

static struct log the_log = {.level = LOG_LEVEL_INFO,
                             .format = LOG_FORMAT_TEXT,
                             .fd = STDERR_FILENO,
                             .site_lines_per_s = LOG_SITE_LINES_DEFAULT};

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

/* ---- the line under construction ---- */

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line fits where a pipe has room");

/* What a line always keeps free: the closing quote, brace, mark and line end. */
#define LINE_RESERVE 32

struct line {
    size_t len;
    bool is_cut;
    char text[LOG_LINE_MAX];
};

static void line_put(struct line *line, const char *bytes, size_t len)
{
    if (line->is_cut || len > sizeof(line->text) - LINE_RESERVE - line->len) {
        line->is_cut = true;
        return;
    }
    memcpy(line->text + line->len, bytes, len);
    line->len += len;
}

static void line_puts(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void line_printf(struct line *line, const char *fmt,
                                                              ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    line_put(line, text, len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

/* The length of the UTF-8 character at `text`, or 0 if it is not well-formed. */
static size_t utf8_len(const uint8_t *text)
{
    uint8_t a = text[0];
    if (a < 0x80) {
        return 1;
    }
    size_t len = a >= 0xc2 && a <= 0xdf   ? 2
                 : (a & 0xf0) == 0xe0     ? 3
                 : a >= 0xf0 && a <= 0xf4 ? 4
                                          : 0;
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0; /* also at the end of the text */
        }
    }
    bool is_overlong = (a == 0xe0 && text[1] < 0xa0) || (a == 0xf0 && text[1] < 0x90);
    bool is_beyond = (a == 0xed && text[1] > 0x9f) || (a == 0xf4 && text[1] > 0x8f);
    return is_overlong || is_beyond ? 0 : len;
}

/* Escaped as inside a JSON string, in both formats. Bytes that are no UTF-8 become U+FFFD, so that
 * every line can be parsed. */
static void line_put_escaped(struct line *line, const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    while (*at != '\0' && !line->is_cut) {
        size_t len = utf8_len(at);
        if (*at == '"' || *at == '\\') {
            line_printf(line, "\\%c", *at);
        } else if (*at == '\n') {
            line_puts(line, "\\n");
        } else if (*at == '\t') {
            line_puts(line, "\\t");
        } else if (*at < 0x20 || *at == 0x7f) {
            line_printf(line, "\\u%04x", *at);
        } else if (len == 0) {
            line_puts(line, "\\ufffd");
            len = 1;
        } else if (len == 2 && at[0] == 0xc2 && at[1] < 0xa0) {
            line_printf(line, "\\u%04x", at[1]); /* C1 controls move a terminal's cursor, too */
        } else {
            line_put(line, (const char *)at, len);
        }
        at += len;
    }
}

static void line_put_quoted(struct line *line, const char *text)
{
    line_puts(line, "\"");
    line_put_escaped(line, text);
    line_puts(line, "\"");
}

/* In the text format a value of plain characters needs no quotes. */
static bool is_plain(const char *text)
{
    size_t n_plain = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_-.:/@+,%*[]<>()");
    return n_plain > 0 && text[n_plain] == '\0';
}

static void line_put_bytes(struct line *line, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
        line_put(line, pair, sizeof(pair));
    }
}

static void line_put_value(struct line *line, const struct log_field *field, bool is_json)
{
    const char *quote = is_json ? "\"" : "";
    switch (field->type) {
    case LOG_TYPE_NONE:
        break;
    case LOG_TYPE_STR:
        if (!is_json && is_plain(field->value.str)) {
            line_puts(line, field->value.str);
        } else {
            line_put_quoted(line, field->value.str);
        }
        break;
    case LOG_TYPE_I64:
        line_printf(line, "%" PRId64, field->value.i64);
        break;
    case LOG_TYPE_U64:
        line_printf(line, "%" PRIu64, field->value.u64);
        break;
    case LOG_TYPE_F64:
        if (isfinite(field->value.f64)) {
            line_printf(line, "%.9g", field->value.f64);
        } else { /* JSON has no such number */
            line_printf(line, "%s%f%s", quote, field->value.f64, quote);
        }
        break;
    case LOG_TYPE_BOOL:
        line_puts(line, field->value.flag ? "true" : "false");
        break;
    case LOG_TYPE_HEX:
        line_printf(line, "%s%016" PRIx64 "%s", quote, field->value.u64, quote);
        break;
    case LOG_TYPE_BYTES:
        line_puts(line, quote);
        line_put_bytes(line, field->value.bytes, field->len);
        line_puts(line, quote);
        break;
    }
}

/* A field that does not fit whole is left out, with all that follow. */
static void line_put_field(struct line *line, const struct log_field *field, bool is_json)
{
    if (field->type == LOG_TYPE_NONE || line->is_cut) {
        return;
    }
    size_t len_before = line->len;
    line_puts(line, is_json ? ",\"" : " ");
    line_puts(line, field->name);
    line_puts(line, is_json ? "\":" : "=");
    line_put_value(line, field, is_json);
    if (line->is_cut) {
        line->len = len_before;
    }
}

static void line_put_head(struct line *line, enum log_level level, const char *component,
                          const char *msg, bool is_json)
{
    struct timespec now;
    struct tm utc;
    char time_text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &utc);
    unsigned us = (unsigned)(now.tv_nsec / 1000);
    if (!is_json) {
        line_printf(line, "%s.%06uZ %s ", time_text, us, level_names[level]);
        line_puts(line, component);
        line_puts(line, " ");
        line_put_quoted(line, msg);
        return;
    }
    line_printf(line, "{\"time\":\"%s.%06uZ\",\"level\":\"%s\"", time_text, us, level_names[level]);
    line_put_field(line, &(struct log_field){"component", LOG_TYPE_STR, 0, {.str = component}},
                   true);
    line_put_field(line, &(struct log_field){"msg", LOG_TYPE_STR, 0, {.str = msg}}, true);
}

static void line_write(struct line *line, bool is_json)
{
    const char *mark = !line->is_cut ? "" : is_json ? ",\"cut\":true" : " cut=true";
    int n = snprintf(line->text + line->len, LINE_RESERVE, "%s%s\n", mark, is_json ? "}" : "");
    size_t len = line->len + (size_t)n;
    struct pollfd fd = {.fd = atomic_load_explicit(&the_log.fd, memory_order_relaxed),
                        .events = POLLOUT};
    ssize_t written = -1;
    /* A pipe whose reader has stopped would stop us too. One that is ready has room for PIPE_BUF
     * bytes, and no line is longer. O_NONBLOCK would be for all who share the descriptor. */
    if (poll(&fd, 1, 0) != 0) {
        do {
            written = write(fd.fd, line->text, len);
        } while (written < 0 && errno == EINTR);
    }
    if (written != (ssize_t)len) {
        atomic_fetch_add_explicit(&the_log.n_lost, 1, memory_order_relaxed);
    }
}

/* ---- rate limit ---- */

/* True if the site may write now. Threads that race here may let a line too many pass, or lose a
 * count of a held-back line between the window's end and its report: a rate, not a ledger. */
static bool site_admits(struct log_site *site, uint32_t *n_suppressed)
{
    *n_suppressed = 0;
    uint32_t limit = atomic_load_explicit(&the_log.site_lines_per_s, memory_order_relaxed);
    if (site == NULL || limit == 0) {
        return true;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t now_s = (uint64_t)now.tv_sec;
    if (__atomic_load_n(&site->window_s, __ATOMIC_RELAXED) != now_s) {
        __atomic_store_n(&site->window_s, now_s, __ATOMIC_RELAXED);
        __atomic_store_n(&site->n_lines, 0, __ATOMIC_RELAXED);
    }
    if (__atomic_fetch_add(&site->n_lines, 1, __ATOMIC_RELAXED) >= limit) {
        __atomic_fetch_add(&site->n_suppressed, 1, __ATOMIC_RELAXED);
        atomic_fetch_add_explicit(&the_log.n_suppressed, 1, memory_order_relaxed);
        return false;
    }
    *n_suppressed = __atomic_exchange_n(&site->n_suppressed, 0, __ATOMIC_RELAXED);
    return true;
}

/* ---- public ---- */

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&the_log.level, memory_order_relaxed);
}

void log_write(struct log_site *site, enum log_level level, const char *component, const char *msg,
               const struct log_field *fields, size_t n_fields)
{
    uint32_t n_suppressed;
    if (level >= LOG_LEVEL_OFF || !log_enabled(level) || !site_admits(site, &n_suppressed)) {
        return;
    }
    int errno_before = errno;
    bool is_json = atomic_load_explicit(&the_log.format, memory_order_relaxed) == LOG_FORMAT_JSON;
    struct line line;
    line.len = 0;
    line.is_cut = false;
    line_put_head(&line, level, component, msg, is_json);
    for (size_t i = 0; i < n_fields && i < LOG_FIELDS_MAX; i++) {
        line_put_field(&line, &fields[i], is_json);
    }
    if (n_suppressed > 0) {
        struct log_field field = log_u64("suppressed", n_suppressed);
        line_put_field(&line, &field, is_json);
    }
    line_write(&line, is_json);
    errno = errno_before; /* logging must not change what the caller looks at next */
}

enum status log_open(const struct log_options *options)
{
    int fd = STDERR_FILENO;
    if (options->path != NULL && options->path[0] != '\0') {
        fd = open(options->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
        if (fd < 0) {
            return STATUS_IO;
        }
    }
    atomic_store(&the_log.level, (int)options->level);
    atomic_store(&the_log.format, (int)options->format);
    atomic_store(&the_log.site_lines_per_s, options->site_lines_per_s);
    int fd_before = atomic_exchange(&the_log.fd, fd);
    if (fd_before != STDERR_FILENO) {
        close(fd_before);
    }
    return STATUS_OK;
}

void log_close(void)
{
    struct log_options options = {.level = LOG_LEVEL_INFO,
                                  .format = LOG_FORMAT_TEXT,
                                  .path = NULL,
                                  .site_lines_per_s = LOG_SITE_LINES_DEFAULT};
    (void)log_open(&options); /* without a path it cannot fail */
}

uint64_t log_n_suppressed(void)
{
    return atomic_load_explicit(&the_log.n_suppressed, memory_order_relaxed);
}

uint64_t log_n_lost(void)
{
    return atomic_load_explicit(&the_log.n_lost, memory_order_relaxed);
}
