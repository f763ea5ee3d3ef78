/* From text to value: one parser per type, ranges, and the sentences that say what was expected. */
#include "base/cfg_values.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* Six digits behind a point, so that their product with any unit fits. */
#define FRACTION_SCALE INT64_C(1000000)

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first, so that printing takes the first that divides. */
static const struct unit size_units[] = {{"TiB", INT64_C(1) << 40},
                                         {"GiB", INT64_C(1) << 30},
                                         {"MiB", INT64_C(1) << 20},
                                         {"KiB", INT64_C(1) << 10},
                                         {"", 1},
                                         {NULL, 0}};
/* As sizes are printed elsewhere, by this program and by others. */
static const struct unit decimal_units[] = {
    {"TB", INT64_C(1000000000000)}, {"GB", 1000000000}, {"MB", 1000000}, {"kB", 1000}, {NULL, 0}};
static const struct unit duration_units[] = {
    {"h", 3600 * 1000}, {"min", 60 * 1000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};

enum status cfg_fail(struct cfg_error *error, enum status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);
    return status;
}

const char *cfg_quote(const char *text, char out[CFG_QUOTED_MAX])
{
    static const char ellipsis[] = "...";
    size_t len = 0;
    out[len++] = '\'';
    for (; *text != '\0'; text++) {
        if (len + sizeof(ellipsis) + 1 >= CFG_QUOTED_MAX) {
            memcpy(out + len, ellipsis, sizeof(ellipsis) - 1);
            len += sizeof(ellipsis) - 1;
            break;
        }
        out[len++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
    }
    out[len++] = '\'';
    out[len] = '\0';
    return out;
}

void cfg_print_number(enum cfg_type type, int64_t number, char *out, size_t len)
{
    const struct unit *unit = type == CFG_SIZE ? size_units : duration_units;
    if (number == 0 || (type != CFG_SIZE && type != CFG_DURATION)) {
        snprintf(out, len, "%" PRId64, number);
        return;
    }
    while (number % unit->factor != 0) {
        unit++;
    }
    snprintf(out, len, "%" PRId64 "%s", number / unit->factor, unit->name);
}

void cfg_expected(const struct cfg_option *option, char *out, size_t len)
{
    static const char *const nouns[] = {[CFG_BOOL] = "true or false",
                                        [CFG_INT] = "an integer",
                                        [CFG_SIZE] = "a size such as 4096, 64MiB or 1.5GB",
                                        [CFG_DURATION] = "a duration such as 250ms, 3s or 10min",
                                        [CFG_FLOAT] = "a number",
                                        [CFG_STRING] = "a text",
                                        [CFG_ENUM] = "one of ",
                                        [CFG_LIST] = "a list of texts"};
    char min[32];
    char max[32];
    cfg_print_number(option->type, option->min, min, sizeof(min));
    cfg_print_number(option->type, option->max, max, sizeof(max));
    const char *names = option->type == CFG_ENUM ? option->names : "";
    if (option->min == 0 && option->max == 0) {
        snprintf(out, len, "%s%s", nouns[option->type], names);
    } else if (option->type == CFG_STRING) {
        snprintf(out, len, "a text of %s to %s bytes", min, max);
    } else if (option->type == CFG_LIST) {
        snprintf(out, len, "a list of %s to %s texts", min, max);
    } else {
        snprintf(out, len, "%s%s between %s and %s", nouns[option->type], names, min, max);
    }
}

/* ---- one parser per type: false if the text is not of the type ---- */

/* A decimal integer up to `end`; `end` is left at the first other character. */
static bool parse_int(const char *text, int64_t *out, const char **end)
{
    if (*text != '-' && (*text < '0' || *text > '9')) {
        return false; /* strtoll would skip blanks and take a plus */
    }
    char *stop;
    errno = 0;
    long long number = strtoll(text, &stop, 10);
    if (errno != 0 || stop == text) {
        return false;
    }
    *out = number;
    *end = stop;
    return true;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    while (units->name != NULL && strcmp(units->name, name) != 0) {
        units++;
    }
    return units->name != NULL ? units : NULL;
}

/* Bytes: a whole number alone, or with a unit and up to six digits behind a point. What
 * such a fraction makes less than a byte is cut off. */
static bool parse_size(const char *text, int64_t *out)
{
    const char *end;
    const struct unit *unit;
    int64_t number, part = 0, scale = 1;
    bool has_point = false;
    if (!parse_int(text, &number, &end) || number < 0) {
        return false;
    }
    if (*end == '.') {
        has_point = true;
        for (end++; *end >= '0' && *end <= '9'; end++) {
            if (scale == FRACTION_SCALE) {
                return false;
            }
            part = part * 10 + (*end - '0');
            scale *= 10;
        }
        if (scale == 1) {
            return false;
        }
    }
    if (*end == ' ') {
        end++;
    }
    unit = find_unit(size_units, end);
    if (unit == NULL) {
        unit = find_unit(decimal_units, end);
    }
    return unit != NULL && !(has_point && unit->factor == 1) &&
           !__builtin_mul_overflow(number, unit->factor, &number) &&
           !__builtin_add_overflow(number, part * unit->factor / scale, out);
}

bool cfg_parse_size(const char *text, uint64_t *out)
{
    int64_t bytes;
    if (!parse_size(text, &bytes)) {
        return false;
    }
    *out = (uint64_t)bytes;
    return true;
}

static bool parse_units(const char *text, const struct unit *units, int64_t *out)
{
    const char *end;
    const struct unit *unit;
    int64_t number;
    if (!parse_int(text, &number, &end) || number < 0) {
        return false;
    }
    if (number == 0 && *end == '\0') {
        *out = 0;
        return true;
    }
    if (*end == ' ') {
        end++;
    }
    unit = find_unit(units, end);
    return unit != NULL && !__builtin_mul_overflow(number, unit->factor, out);
}

static bool parse_float(const char *text, double *out)
{
    char *end;
    if (*text == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0') {
        return false; /* keeps out hexadecimal, nan, inf and blanks */
    }
    *out = strtod(text, &end);
    return *end == '\0' && end != text && isfinite(*out);
}

static bool parse_enum(const char *text, const char *names, int64_t *out)
{
    size_t len = strlen(text);
    int64_t place = 0;
    for (const char *name = names; name != NULL; place++) {
        size_t name_len = strcspn(name, "|");
        if (name_len == len && len > 0 && memcmp(name, text, len) == 0) {
            *out = place;
            return true;
        }
        name = name[name_len] == '|' ? name + name_len + 1 : NULL;
    }
    return false;
}

static bool is_in_range(const struct cfg_option *option, double value)
{
    return (option->min == 0 && option->max == 0) ||
           (value >= (double)option->min && value <= (double)option->max);
}

/* The parser of every type but the list. */
static bool parse(const struct cfg_option *option, const char *text, struct cfg_value *value)
{
    const char *end = "";
    switch (option->type) {
    case CFG_BOOL:
        value->as.flag = strcmp(text, "true") == 0;
        return value->as.flag || strcmp(text, "false") == 0;
    case CFG_INT:
        return parse_int(text, &value->as.number, &end) && *end == '\0' &&
               ((option->min == 0 && option->max == 0) ||
                (value->as.number >= option->min && value->as.number <= option->max));
    case CFG_SIZE:
        return parse_size(text, &value->as.number) && is_in_range(option, (double)value->as.number);
    case CFG_DURATION:
        return parse_units(text, duration_units, &value->as.number) &&
               is_in_range(option, (double)value->as.number);
    case CFG_FLOAT:
        return parse_float(text, &value->as.real) && is_in_range(option, value->as.real);
    case CFG_STRING:
        return is_in_range(option, (double)strlen(text));
    case CFG_ENUM:
        return parse_enum(text, option->names, &value->as.number);
    case CFG_LIST:
        break;
    }
    return false;
}

/* ---- setting ---- */

static enum status fail_type(const struct cfg_option *option, const char *text,
                             const struct cfg_place *place, struct cfg_error *error)
{
    char expected[256];
    char quoted[CFG_QUOTED_MAX];
    cfg_expected(option, expected, sizeof(expected));
    return cfg_fail(error, STATUS_INVALID, "%s: %s: expected %s, found %s", place->text,
                    option->path, expected,
                    option->secret  ? "something else (not shown: it is a secret)"
                    : *text == '\0' ? "nothing"
                                    : cfg_quote(text, quoted));
}

/* Puts a parsed value in its place. */
static enum status value_keep(struct cfg *cfg, size_t idx, struct cfg_value *value,
                              const char *text, const struct cfg_place *place,
                              struct cfg_error *error)
{
    struct cfg_value *old = &cfg->values[idx];
    if (old->is_set && old->origin > place->origin) {
        return STATUS_OK;
    }
    value->is_set = true;
    value->origin = place->origin;
    value->origin_text = arena_strdup(cfg->arena, place->text);
    value->text = arena_strdup(cfg->arena, text);
    if (value->origin_text == NULL || value->text == NULL) {
        return cfg_fail(error, STATUS_NO_MEMORY, "out of memory for the configuration");
    }
    *old = *value;
    return STATUS_OK;
}

enum status cfg_set_list(struct cfg *cfg, size_t idx, const char *const *texts, size_t n_texts,
                         const struct cfg_place *place, struct cfg_error *error)
{
    const struct cfg_option *option = &cfg->table->options[idx];
    if (n_texts > CFG_LIST_MAX || !is_in_range(option, (double)n_texts)) {
        char n_text[32];
        snprintf(n_text, sizeof(n_text), "%zu texts", n_texts);
        return fail_type(option, n_text, place, error);
    }
    struct cfg_value value = {.n_list = n_texts};
    struct buf joined;
    buf_init(&joined, CFG_FILE_BYTES_MAX);
    value.list = arena_alloc_zero(cfg->arena, n_texts, sizeof(*value.list));
    enum status status = value.list != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    for (size_t i = 0; i < n_texts && status == STATUS_OK; i++) {
        value.list[i] = arena_strdup(cfg->arena, texts[i]);
        status = value.list[i] == NULL ? STATUS_NO_MEMORY
                                       : buf_printf(&joined, "%s%s", i > 0 ? "," : "", texts[i]);
    }
    status = status != STATUS_OK
                 ? cfg_fail(error, status, "%s: out of memory for the list", place->text)
                 : value_keep(cfg, idx, &value, buf_text(&joined), place, error);
    buf_fini(&joined);
    return status;
}

/* "a,b" into its texts; blanks around them do not count; "" is the empty list. */
static enum status set_list_text(struct cfg *cfg, size_t idx, const char *text,
                                 const struct cfg_place *place, struct cfg_error *error)
{
    char copy[CFG_TEXT_MAX + 1];
    const char *texts[CFG_LIST_MAX];
    size_t n_texts = 0;
    snprintf(copy, sizeof(copy), "%s", text);
    char *rest = copy[0] != '\0' ? copy : NULL;
    while (rest != NULL) {
        char *word = strsep(&rest, ",");
        word += strspn(word, " ");
        size_t len = strlen(word);
        while (len > 0 && word[len - 1] == ' ') {
            word[--len] = '\0';
        }
        if (len == 0 || n_texts == CFG_LIST_MAX) {
            return fail_type(&cfg->table->options[idx], text, place, error);
        }
        texts[n_texts++] = word;
    }
    return cfg_set_list(cfg, idx, texts, n_texts, place, error);
}

enum status cfg_set_text(struct cfg *cfg, size_t idx, const char *text,
                         const struct cfg_place *place, struct cfg_error *error)
{
    const struct cfg_option *option = &cfg->table->options[idx];
    if (strlen(text) > CFG_TEXT_MAX) {
        return cfg_fail(error, STATUS_TOO_BIG, "%s: %s: expected at most %d bytes, found %zu",
                        place->text, option->path, CFG_TEXT_MAX, strlen(text));
    }
    if (option->type == CFG_LIST) {
        return set_list_text(cfg, idx, text, place, error);
    }
    struct cfg_value value = {.is_set = false};
    if (!parse(option, text, &value)) {
        return fail_type(option, text, place, error);
    }
    return value_keep(cfg, idx, &value, text, place, error);
}

enum status cfg_defaults(struct cfg *cfg)
{
    static const struct cfg_place place = {CFG_FROM_DEFAULT, "default"};
    struct cfg_error error = {""};
    for (size_t i = 0; i < cfg->table->n_options; i++) {
        const char *text = cfg->table->options[i].text;
        if (text == NULL) {
            continue;
        }
        enum status status = cfg_set_text(cfg, i, text, &place, &error);
        if (status == STATUS_NO_MEMORY) {
            return status;
        }
        CHECK_MSG(status == STATUS_OK, error.text);
    }
    return STATUS_OK;
}
