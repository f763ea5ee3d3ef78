/* Makers of log fields: plain values, no formatting yet. Values are not copied, they live until the
 * log call returns. */
#include "base/log.h"

#include <string.h>

struct log_field log_none(void)
{
    return (struct log_field){.type = LOG_TYPE_NONE};
}

struct log_field log_str(const char *name, const char *value)
{
    const char *text = value != NULL ? value : "";
    return (struct log_field){.name = name, .type = LOG_TYPE_STR, .value = {.str = text}};
}

struct log_field log_i64(const char *name, int64_t value)
{
    return (struct log_field){.name = name, .type = LOG_TYPE_I64, .value = {.i64 = value}};
}

struct log_field log_u64(const char *name, uint64_t value)
{
    return (struct log_field){.name = name, .type = LOG_TYPE_U64, .value = {.u64 = value}};
}

struct log_field log_f64(const char *name, double value)
{
    return (struct log_field){.name = name, .type = LOG_TYPE_F64, .value = {.f64 = value}};
}

struct log_field log_bool(const char *name, bool value)
{
    return (struct log_field){.name = name, .type = LOG_TYPE_BOOL, .value = {.flag = value}};
}

struct log_field log_hex(const char *name, uint64_t value)
{
    return (struct log_field){.name = name, .type = LOG_TYPE_HEX, .value = {.u64 = value}};
}

struct log_field log_bytes(const char *name, const uint8_t *bytes, size_t len)
{
    return (struct log_field){
        .name = name, .type = LOG_TYPE_BYTES, .len = len, .value = {.bytes = bytes}};
}

struct log_field log_req(const uint8_t id[16])
{
    return log_bytes("req", id, 16);
}

struct log_field log_status(enum status status)
{
    return log_str("status", status_name(status));
}

struct log_field log_errno(int error)
{
    const char *text = strerrordesc_np(error); /* constant text: safe on any thread */
    return log_str("error", text != NULL ? text : "unknown error");
}
