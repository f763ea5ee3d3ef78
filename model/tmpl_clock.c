/* strftime_now: the render's clock through Python's strftime, in English. */
#include "model/tmpl_eval.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};

/* Directives that are a number: its least width and what fills it up. */
struct number {
    char directive;
    char fill;
    int width, value;
};

/* The week of ISO 8601 and its year. */
static void iso_week(const struct tm *tm, int *year, int *week)
{
    int weekday = (tm->tm_wday + 6) % 7; /* Monday is 0 */
    int thursday = tm->tm_yday - weekday + 3;
    int y = tm->tm_year + 1900;

    if (thursday < 0) {
        y--;
        thursday += (y % 4 == 0 && y % 100) || y % 400 == 0 ? 366 : 365;
    } else {
        int days = (y % 4 == 0 && y % 100) || y % 400 == 0 ? 366 : 365;

        if (thursday >= days) {
            thursday -= days;
            y++;
        }
    }
    *year = y;
    *week = thursday / 7 + 1;
}

static bool put_number(struct tmpl_ctx *ctx, const struct tm *tm, char directive, char flag)
{
    int iso_year, week, hour12 = tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
    int year = tm->tm_year + 1900;

    iso_week(tm, &iso_year, &week);
    const struct number numbers[] = {
        {'d', '0', 2, tm->tm_mday},
        {'e', ' ', 2, tm->tm_mday},
        {'H', '0', 2, tm->tm_hour},
        {'k', ' ', 2, tm->tm_hour},
        {'I', '0', 2, hour12},
        {'l', ' ', 2, hour12},
        {'j', '0', 3, tm->tm_yday + 1},
        {'m', '0', 2, tm->tm_mon + 1},
        {'M', '0', 2, tm->tm_min},
        {'S', '0', 2, tm->tm_sec},
        {'U', '0', 2, (tm->tm_yday + 7 - tm->tm_wday) / 7},
        {'W', '0', 2, (tm->tm_yday + 7 - (tm->tm_wday + 6) % 7) / 7},
        {'V', '0', 2, week},
        {'G', '0', 1, iso_year},
        {'g', '0', 2, iso_year % 100},
        {'w', '0', 1, tm->tm_wday},
        {'u', '0', 1, tm->tm_wday ? tm->tm_wday : 7},
        {'y', '0', 2, year % 100},
        {'Y', '0', 1, year},
        {'C', '0', 2, year / 100},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        char fill = flag == '0' ? '0' : flag == '_' ? ' ' : numbers[i].fill;
        char text[16];
        int n;

        if (numbers[i].directive != directive)
            continue;
        n = snprintf(text, sizeof(text), "%d", numbers[i].value);
        for (int k = n; k < numbers[i].width && flag != '-'; k++)
            tmpl_put(ctx, &fill, 1);
        tmpl_put(ctx, text, (size_t)n);
        return true;
    }
    return false;
}

static void put_format(struct tmpl_ctx *ctx, const struct tm *tm, const char *format, size_t len);

/* Directives that are text; NULL if it is none. */
static void put_directive(struct tmpl_ctx *ctx, const struct tm *tm, char directive)
{
    static const struct {
        char directive;
        const char *format;
    } compounds[] = {
        {'c', "%a %b %e %H:%M:%S %Y"},
        {'D', "%m/%d/%y"},
        {'x', "%m/%d/%y"},
        {'F', "%Y-%m-%d"},
        {'T', "%H:%M:%S"},
        {'X', "%H:%M:%S"},
        {'R', "%H:%M"},
        {'r', "%I:%M:%S %p"},
        {'h', "%b"},
        {'n', "\n"},
        {'t', "\t"},
        {'f', "000000"},
        {'z', ""},
        {'Z', ""},
    };

    switch (directive) {
    case 'a':
        tmpl_put(ctx, day_names[tm->tm_wday], 3);
        return;
    case 'A':
        tmpl_put_text(ctx, day_names[tm->tm_wday]);
        return;
    case 'b':
        tmpl_put(ctx, month_names[tm->tm_mon], 3);
        return;
    case 'B':
        tmpl_put_text(ctx, month_names[tm->tm_mon]);
        return;
    case 'p':
        tmpl_put_text(ctx, tm->tm_hour < 12 ? "AM" : "PM");
        return;
    case 'P':
        tmpl_put_text(ctx, tm->tm_hour < 12 ? "am" : "pm");
        return;
    case '%':
        tmpl_put_text(ctx, "%");
        return;
    }
    for (size_t i = 0; i < sizeof(compounds) / sizeof(*compounds); i++) {
        if (compounds[i].directive == directive) {
            put_format(ctx, tm, compounds[i].format, strlen(compounds[i].format));
            return;
        }
    }
    tmpl_fail(ctx, STATUS_UNSUPPORTED, "The date format '%%%c' is not supported.", directive);
}

static void put_format(struct tmpl_ctx *ctx, const struct tm *tm, const char *format, size_t len)
{
    for (size_t i = 0; i < len && !tmpl_failed(ctx); i++) {
        char flag = 0;

        if (format[i] != '%' || i + 1 == len) {
            tmpl_put(ctx, format + i, 1);
            continue;
        }
        i++;
        if (i + 1 < len && (format[i] == '-' || format[i] == '_' || format[i] == '0'))
            flag = format[i++];
        if (!put_number(ctx, tm, format[i], flag))
            put_directive(ctx, tm, format[i]);
    }
}

struct tmpl_value tmpl_strftime(struct tmpl_ctx *ctx, struct tmpl_value format)
{
    time_t now = (time_t)ctx->options.now_unix_s + ctx->options.utc_offset_s;
    size_t mark = tmpl_mark(ctx);
    struct tm tm;

    if (format.kind != TMPL_STRING)
        return tmpl_fail(ctx, STATUS_INVALID, "strftime_now needs a string.");
    if (!gmtime_r(&now, &tm) || tm.tm_year > 9999 - 1900 || tm.tm_year < 1 - 1900)
        return tmpl_fail(ctx, STATUS_INVALID, "The clock is outside the years 1 to 9999.");
    put_format(ctx, &tm, format.text, format.len);
    return tmpl_take(ctx, mark);
}
