/* One state machine over bytes, each looked at once (the one that shows that there is no call,
 * twice). Bytes that are not decided yet are held: content until it surely begins no call, a call
 * until it surely is one. What turns out to be no call is content as a whole, and not searched for
 * another one: what stands in a broken call's strings is nobody's call. */
#include "router/tool_calls.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "router/tool_json.h"

#define SLICE_BYTES 4096u /* taken at once, so that little more than a call is ever held */
#define CLOSE "</tool_call>"

static const char args_mark[] = "[ARGS]", id_mark[] = "[CALL_ID]";

enum place {
    TEXT,  /* content */
    OPEN,  /* behind the marker */
    ITEM,  /* in Mistral's list, an object comes */
    AFTER, /* in Mistral's list, behind an object */
    /* a call's object */
    FIRST_KEY,
    NEXT_KEY,
    KEY,
    COLON,
    VALUE,
    BODY, /* inside of a value */
    COMMA,
    CLOSING, /* Hermes' mark behind it */
    /* Mistral's name{..} */
    NAME,
    NAME_END,
    MARK, /* [ARGS] or [CALL_ID] */
    ID,
    BARE_ARGS,
};

enum field { FIELD_OTHER, FIELD_NAME, FIELD_ARGS, FIELD_ID };

/* Offsets are into what is held; 0: not there yet (no call's part is its first byte). */
struct call {
    bool bare;  /* Llama's object without a marker */
    bool list;  /* an item of Mistral's list */
    bool begun; /* BEGIN was given out early */
    bool has_args, null_args;
    enum field field;
    size_t key, value; /* where the present one starts */
    size_t args, args_end, args_sent;
    size_t name_len, id_len;
    char name[TOOL_NAME_MAX], id[TOOL_ID_MAX];
};

struct tool_calls {
    enum tool_style style;
    bool early;
    void (*on_event)(void *ctx, const struct tool_event *event);
    void *ctx;
    const char *marker;
    size_t marker_len;

    struct buf held;
    const char *at; /* [len] of held */
    size_t len, pos;
    enum place place;
    bool blank;     /* TEXT: only blanks are held so far, and a bare object may begin */
    size_t matched; /* TEXT, CLOSING, MARK: bytes of the mark */
    const char *mark;
    uint32_t n_calls;
    struct call call;
    struct tool_json json;
};

/* ---- styles ---- */

enum status tool_style_named(const char *name, enum tool_style *out)
{
    static const struct {
        const char *name;
        enum tool_style style;
    } styles[] = {{"none", TOOL_STYLE_NONE},
                  {"hermes", TOOL_STYLE_HERMES},
                  {"qwen", TOOL_STYLE_HERMES},
                  {"llama", TOOL_STYLE_LLAMA},
                  {"mistral", TOOL_STYLE_MISTRAL}};

    for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
        if (strcmp(styles[i].name, name) != 0)
            continue;
        *out = styles[i].style;
        return STATUS_OK;
    }
    return STATUS_NOT_FOUND;
}

static bool has(const char *source, size_t len, const char *part)
{
    return memmem(source, len, part, strlen(part)) != NULL;
}

enum tool_style tool_style_of_template(const char *source, size_t len)
{
    if (has(source, len, "<function=") || has(source, len, "<arg_key>"))
        return TOOL_STYLE_NONE;
    if (has(source, len, "[TOOL_CALLS]"))
        return TOOL_STYLE_MISTRAL;
    if (has(source, len, "<tool_call>"))
        return TOOL_STYLE_HERMES;
    if (has(source, len, "<|python_tag|>") || has(source, len, "\"parameters\": dictionary"))
        return TOOL_STYLE_LLAMA;
    return TOOL_STYLE_NONE;
}

static const char *marker_of(enum tool_style style)
{
    switch (style) {
    case TOOL_STYLE_HERMES:
        return "<tool_call>";
    case TOOL_STYLE_LLAMA:
        return "<|python_tag|>";
    case TOOL_STYLE_MISTRAL:
        return "[TOOL_CALLS]";
    case TOOL_STYLE_NONE:
        break;
    }
    return "";
}

/* ---- life ---- */

enum status tool_calls_create(enum tool_style style, bool early,
                              void (*on_event)(void *ctx, const struct tool_event *event),
                              void *ctx, struct tool_calls **out)
{
    struct tool_calls *calls = mem_alloc_zero(1, sizeof(*calls));

    if (!calls)
        return STATUS_NO_MEMORY;
    calls->style = style;
    calls->early = early;
    calls->on_event = on_event;
    calls->ctx = ctx;
    calls->marker = marker_of(style);
    calls->marker_len = strlen(calls->marker);
    calls->place = TEXT;
    calls->blank = true;
    buf_init(&calls->held, TOOL_CALL_BYTES_MAX + TOOL_BLANKS_MAX + 2 * SLICE_BYTES);
    *out = calls;
    return STATUS_OK;
}

void tool_calls_destroy(struct tool_calls *calls)
{
    if (!calls)
        return;
    buf_fini(&calls->held);
    mem_free(calls);
}

uint32_t tool_calls_n(const struct tool_calls *calls)
{
    return calls->n_calls;
}

void tool_id_write(enum tool_style style, const uint8_t random[16], char out[TOOL_ID_MAX + 1])
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const size_t n = style == TOOL_STYLE_MISTRAL ? 9 : 24;
    size_t len = 0;

    if (style != TOOL_STYLE_MISTRAL) {
        memcpy(out, "call_", 5);
        len = 5;
    }
    for (size_t i = 0; i < n; i++) { /* 5 bits each */
        const size_t bit = i * 5;
        const unsigned two = random[bit / 8] | (unsigned)random[(bit / 8 + 1) % 16] << 8;

        out[len++] = letters[two >> bit % 8 & 31];
    }
    out[len] = '\0';
}

/* ---- giving out ---- */

static void tell(struct tool_calls *calls, enum tool_event_kind kind, const char *text, size_t len)
{
    const struct call *call = &calls->call;
    struct tool_event event = {.kind = kind, .index = calls->n_calls, .text = text, .len = len};

    if (kind == TOOL_CALL_BEGIN) {
        event.id = call->id;
        event.id_len = call->id_len;
    }
    if (len > 0 || kind == TOOL_CALL_END)
        calls->on_event(calls->ctx, &event);
}

static void held_look(struct tool_calls *calls)
{
    calls->at = (const char *)buf_data(&calls->held);
    calls->len = buf_len(&calls->held);
}

/* Forgets the first `n` bytes. */
static void drop(struct tool_calls *calls, size_t n)
{
    buf_consume(&calls->held, n);
    held_look(calls);
    calls->pos -= n;
}

static void give_content(struct tool_calls *calls, size_t n)
{
    tell(calls, TOOL_CONTENT, calls->at, n);
    drop(calls, n);
}

static void text_begin(struct tool_calls *calls, bool blank)
{
    calls->place = TEXT;
    calls->matched = 0;
    calls->blank = blank;
}

/* ---- calls ---- */

static void call_begin(struct tool_calls *calls, bool bare, bool list, enum place place)
{
    calls->call = (struct call){.bare = bare, .list = list};
    calls->place = place;
}

/* Early: to be called when the name is known, and when the arguments begin. */
static void begin_early(struct tool_calls *calls)
{
    struct call *call = &calls->call;

    if (!calls->early || call->begun || !call->args || call->name_len == 0)
        return;
    call->begun = true;
    call->args_sent = call->args;
    tell(calls, TOOL_CALL_BEGIN, call->name, call->name_len);
}

/* Early: the arguments that have come so far, before `end`. */
static void args_early(struct tool_calls *calls, size_t end)
{
    struct call *call = &calls->call;

    if (!call->begun)
        return;
    end = call->args_end ? call->args_end : end;
    tell(calls, TOOL_CALL_ARGS, calls->at + call->args_sent, end - call->args_sent);
    call->args_sent = end;
}

/* What is held is no call; the present byte is read again, as content. */
static void broken(struct tool_calls *calls)
{
    calls->pos--;
    if (calls->call.begun) {
        args_early(calls, calls->pos);
        tell(calls, TOOL_CALL_BROKEN, calls->at, calls->pos);
        calls->n_calls++;
        drop(calls, calls->pos);
    } else {
        give_content(calls, calls->pos);
    }
    calls->call.begun = false;
    text_begin(calls, false);
}

/* The call is one, and ends before `pos`. */
static void call_end(struct tool_calls *calls)
{
    struct call *call = &calls->call;
    const size_t from = call->begun ? call->args_sent : call->args;

    if (!call->begun)
        tell(calls, TOOL_CALL_BEGIN, call->name, call->name_len);
    if (call->has_args)
        tell(calls, TOOL_CALL_ARGS, calls->at + from, call->args_end - from);
    else
        tell(calls, TOOL_CALL_ARGS, "{}", 2);
    tell(calls, TOOL_CALL_END, NULL, 0);
    calls->n_calls++;
    drop(calls, calls->pos);
    if (!call->list)
        text_begin(calls, true);
    call_begin(calls, false, call->list, call->list ? AFTER : TEXT);
}

/* Its object is whole, or Mistral's arguments are. */
static void object_done(struct tool_calls *calls)
{
    const struct call *call = &calls->call;

    if (call->name_len == 0 || (call->bare && !call->has_args)) {
        broken(calls);
    } else if (calls->style == TOOL_STYLE_HERMES) {
        calls->place = CLOSING;
        calls->matched = 0;
        calls->mark = CLOSE;
    } else {
        call_end(calls);
    }
}

/* ---- bytes of content and frames ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void open_marker(struct tool_calls *calls)
{
    if (!calls->blank)
        give_content(calls, calls->pos - calls->marker_len);
    call_begin(calls, false, false, OPEN);
}

static void step_text(struct tool_calls *calls, char c)
{
    const bool llama = calls->style == TOOL_STYLE_LLAMA;

    if (calls->n_calls >= TOOL_CALLS_MAX) {
        calls->matched = 0;
        calls->blank = calls->blank && is_blank(c) && calls->pos <= TOOL_BLANKS_MAX;
        return;
    }
    if (calls->blank && calls->matched == 0) {
        if (is_blank(c) || (llama && c == ';' && calls->n_calls > 0)) {
            calls->blank = calls->pos <= TOOL_BLANKS_MAX;
            return;
        }
        if (llama && c == '{') {
            call_begin(calls, true, false, FIRST_KEY);
            return;
        }
    }
    /* A marker's first byte is nowhere else in it: what has failed can only begin anew. */
    if (c != calls->marker[calls->matched]) {
        calls->blank = false;
        calls->matched = c == calls->marker[0];
    } else if (++calls->matched == calls->marker_len) {
        open_marker(calls);
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static void step_open(struct tool_calls *calls, char c)
{
    const bool mistral = calls->style == TOOL_STYLE_MISTRAL;

    if (is_blank(c))
        return;
    if (c == '{') {
        calls->place = FIRST_KEY;
    } else if (mistral && c == '[') {
        call_begin(calls, false, true, ITEM);
    } else if (mistral && is_name(c)) {
        calls->call.key = calls->pos - 1;
        calls->mark = NULL;
        calls->place = NAME;
    } else {
        broken(calls);
    }
}

/* Mistral's list, before and behind an object. */
static void step_list(struct tool_calls *calls, char c)
{
    if (is_blank(c))
        return;
    if (calls->place == ITEM && c == '{' && calls->n_calls < TOOL_CALLS_MAX) {
        call_begin(calls, false, true, FIRST_KEY);
    } else if (calls->place == AFTER && c == ',') {
        calls->place = ITEM;
    } else if (calls->place == AFTER && c == ']') {
        drop(calls, calls->pos);
        text_begin(calls, true);
    } else {
        broken(calls);
    }
}

static void step_closing(struct tool_calls *calls, char c)
{
    if (calls->matched == 0 && is_blank(c))
        return;
    if (c != CLOSE[calls->matched])
        broken(calls);
    else if (++calls->matched == strlen(CLOSE))
        call_end(calls);
}

/* ---- bytes of a call's object ---- */

static bool span_is(const struct tool_calls *calls, size_t from, size_t to, const char *word)
{
    return to - from == strlen(word) && memcmp(calls->at + from, word, to - from) == 0;
}

/* The key in quotes has ended. False: it cannot be here. */
static bool key_done(struct tool_calls *calls)
{
    struct call *call = &calls->call;
    const size_t from = call->key + 1, to = calls->pos - 1;

    call->field = FIELD_OTHER;
    if (span_is(calls, from, to, "name")) {
        call->field = FIELD_NAME;
        return call->name_len == 0;
    }
    if (span_is(calls, from, to, "arguments") || span_is(calls, from, to, "parameters")) {
        call->field = FIELD_ARGS;
        return !call->has_args && !call->null_args;
    }
    if (span_is(calls, from, to, "id")) {
        call->field = FIELD_ID;
        return true;
    }
    /* An object that nothing marks as a call must not have what calls have not. */
    return !call->bare || span_is(calls, from, to, "type");
}

/* The value's first byte. False: no call has such a one. */
static bool value_may_begin(struct tool_calls *calls, char c)
{
    struct call *call = &calls->call;

    call->value = calls->pos - 1;
    if (call->field == FIELD_NAME)
        return c == '"';
    if (call->field != FIELD_ARGS)
        return true;
    if (c == '{') {
        call->args = call->value;
        begin_early(calls);
    }
    return c == '{' || (c == 'n' && !call->bare);
}

/* The value ends before `end`. False: it does not do. */
static bool value_done(struct tool_calls *calls, size_t end)
{
    struct call *call = &calls->call;
    const char *text = calls->at + call->value + 1;
    const size_t len = end - call->value - 2; /* of a string, without its quotes */

    switch (call->field) {
    case FIELD_NAME:
        if (tool_json_text(text, len, call->name, sizeof(call->name), &call->name_len) != STATUS_OK)
            return false;
        begin_early(calls);
        return call->name_len > 0;
    case FIELD_ARGS:
        call->has_args = call->args != 0;
        call->null_args = !call->has_args;
        call->args_end = call->has_args ? end : 0;
        return true;
    case FIELD_ID:
        if (calls->at[call->value] != '"' ||
            tool_json_text(text, len, call->id, sizeof(call->id), &call->id_len) != STATUS_OK)
            call->id_len = 0; /* as if there were none */
        return true;
    case FIELD_OTHER:
        break;
    }
    return true;
}

static void step_object(struct tool_calls *calls, char c);

static void step_body(struct tool_calls *calls, char c)
{
    const bool key = calls->place == KEY;
    const enum tool_json_result result = tool_json_step(&calls->json, (uint8_t)c);

    if (result == TOOL_JSON_MORE)
        return;
    if (result == TOOL_JSON_BAD) {
        broken(calls);
        return;
    }
    calls->place = key ? COLON : COMMA;
    if (!(key ? key_done(calls) : value_done(calls, calls->pos - (result == TOOL_JSON_BEFORE))))
        broken(calls);
    else if (result == TOOL_JSON_BEFORE)
        step_object(calls, c);
}

static void body_begin(struct tool_calls *calls, enum place place, char c)
{
    calls->place = place;
    tool_json_init(&calls->json);
    step_body(calls, c);
}

static void step_object(struct tool_calls *calls, char c)
{
    if (is_blank(c))
        return;
    if (c == '}' && (calls->place == FIRST_KEY || calls->place == COMMA)) {
        object_done(calls);
    } else if (c == '"' && (calls->place == FIRST_KEY || calls->place == NEXT_KEY)) {
        calls->call.key = calls->pos - 1;
        body_begin(calls, KEY, c);
    } else if (c == ':' && calls->place == COLON) {
        calls->place = VALUE;
    } else if (c == ',' && calls->place == COMMA) {
        calls->place = NEXT_KEY;
    } else if (calls->place == VALUE && value_may_begin(calls, c)) {
        body_begin(calls, BODY, c);
    } else {
        broken(calls);
    }
}

/* ---- bytes of Mistral's name{..} ---- */

static bool named_take(struct tool_calls *calls, char *out, size_t max, size_t *len)
{
    const size_t n = calls->pos - 1 - calls->call.key;

    if (n == 0 || n > max)
        return false;
    memcpy(out, calls->at + calls->call.key, n);
    *len = n;
    return true;
}

/* Behind a name, an id or [ARGS]: a mark or the arguments. */
static void named_next(struct tool_calls *calls, char c)
{
    struct call *call = &calls->call;

    if (is_blank(c)) {
        calls->place = NAME_END;
    } else if (c == '{') {
        call->args = calls->pos - 1;
        begin_early(calls);
        calls->place = BARE_ARGS;
        tool_json_init(&calls->json);
        (void)tool_json_step(&calls->json, (uint8_t)c);
    } else if (c == '[' && calls->mark != args_mark) {
        calls->matched = 1;
        calls->place = MARK;
    } else {
        broken(calls);
    }
}

static void step_mark(struct tool_calls *calls, char c)
{
    if (calls->matched == 1)
        calls->mark = c == 'C' && !calls->mark ? id_mark : args_mark;
    if (c != calls->mark[calls->matched]) {
        broken(calls);
    } else if (calls->mark[++calls->matched] == '\0') {
        calls->call.key = calls->pos;
        calls->place = calls->mark == args_mark ? NAME_END : ID;
    }
}

static void step_named(struct tool_calls *calls, char c)
{
    struct call *call = &calls->call;
    enum tool_json_result result;

    switch (calls->place) {
    case NAME:
        if (is_name(c))
            return;
        if (named_take(calls, call->name, sizeof(call->name), &call->name_len))
            named_next(calls, c);
        else
            broken(calls);
        return;
    case ID:
        if (is_name(c))
            return;
        if (named_take(calls, call->id, sizeof(call->id), &call->id_len))
            named_next(calls, c);
        else
            broken(calls);
        return;
    case NAME_END:
        named_next(calls, c);
        return;
    case MARK:
        step_mark(calls, c);
        return;
    default: /* BARE_ARGS */
        result = tool_json_step(&calls->json, (uint8_t)c);
        if (result == TOOL_JSON_BAD) {
            broken(calls);
        } else if (result == TOOL_JSON_DONE) {
            call->has_args = true;
            call->args_end = calls->pos;
            call_end(calls);
        }
    }
}

/* ---- text in ---- */

static void step(struct tool_calls *calls, char c)
{
    if (calls->place != TEXT && calls->pos > TOOL_CALL_BYTES_MAX) {
        broken(calls);
        return;
    }
    switch (calls->place) {
    case TEXT:
        step_text(calls, c);
        break;
    case OPEN:
        step_open(calls, c);
        break;
    case ITEM:
    case AFTER:
        step_list(calls, c);
        break;
    case CLOSING:
        step_closing(calls, c);
        break;
    case KEY:
    case BODY:
        step_body(calls, c);
        break;
    case FIRST_KEY:
    case NEXT_KEY:
    case COLON:
    case VALUE:
    case COMMA:
        step_object(calls, c);
        break;
    case NAME:
    case NAME_END:
    case MARK:
    case ID:
    case BARE_ARGS:
        step_named(calls, c);
        break;
    }
}

static void run(struct tool_calls *calls)
{
    while (calls->pos < calls->len) {
        const char c = calls->at[calls->pos++];

        step(calls, c);
    }
    if (calls->place == TEXT && !calls->blank)
        give_content(calls, calls->pos - calls->matched);
    args_early(calls, calls->pos);
}

enum status tool_calls_push(struct tool_calls *calls, const char *text, size_t len)
{
    if (calls->style == TOOL_STYLE_NONE) {
        tell(calls, TOOL_CONTENT, text, len);
        return STATUS_OK;
    }
    while (len > 0) {
        const size_t n = len < SLICE_BYTES ? len : SLICE_BYTES;
        const enum status status = buf_append(&calls->held, text, n);

        if (status != STATUS_OK) {
            CHECK(status == STATUS_NO_MEMORY);
            return status;
        }
        held_look(calls);
        run(calls);
        text += n;
        len -= n;
    }
    return STATUS_OK;
}

static bool only_blanks(const struct tool_calls *calls)
{
    for (size_t i = 0; i < calls->len; i++)
        if (!is_blank(calls->at[i]))
            return false;
    return true;
}

void tool_calls_finish(struct tool_calls *calls)
{
    const bool blanks = calls->n_calls > 0 && only_blanks(calls) &&
                        (calls->place == AFTER || (calls->place == TEXT && calls->blank));

    if (calls->place == CLOSING) {
        call_end(calls);
    } else if (blanks) {
        drop(calls, calls->len);
    } else {
        calls->pos = calls->len + 1; /* the end stands for a byte that fits nowhere */
        broken(calls);
    }
}
