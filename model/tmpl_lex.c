/* The lexer: template source to tokens, on demand. White space control as Hugging Face sets it:
 * a newline after a block or comment tag goes (trim_blocks), so do the blanks before one at the
 * start of a line (lstrip_blocks); '-' strips all white space on its side, '+' keeps it. */
#include "model/tmpl_ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/tmpl_text.h"

void tmpl_fail_compile(struct tmpl_compile *compile, enum status status, uint32_t line,
                       const char *fmt, ...)
{
    va_list args;

    if (compile->status != STATUS_OK)
        return;
    compile->status = status;
    compile->error->line = line;
    compile->error->raised = false;
    va_start(args, fmt);
    vsnprintf(compile->error->text, sizeof(compile->error->text), fmt, args);
    va_end(args);
}

const char *tmpl_token_name(uint8_t kind)
{
    static const char *const names[] = {
        [TOKEN_EOF] = "end of template",
        [TOKEN_DATA] = "template text",
        [TOKEN_BLOCK_BEGIN] = "{%",
        [TOKEN_BLOCK_END] = "%}",
        [TOKEN_VARIABLE_BEGIN] = "{{",
        [TOKEN_VARIABLE_END] = "}}",
        [TOKEN_NAME] = "name",
        [TOKEN_STRING] = "string",
        [TOKEN_INTEGER] = "integer",
        [TOKEN_FLOAT] = "float",
        [TOKEN_ADD] = "+",
        [TOKEN_SUB] = "-",
        [TOKEN_MUL] = "*",
        [TOKEN_DIV] = "/",
        [TOKEN_FLOORDIV] = "//",
        [TOKEN_MOD] = "%",
        [TOKEN_POW] = "**",
        [TOKEN_TILDE] = "~",
        [TOKEN_LBRACKET] = "[",
        [TOKEN_RBRACKET] = "]",
        [TOKEN_LPAREN] = "(",
        [TOKEN_RPAREN] = ")",
        [TOKEN_LBRACE] = "{",
        [TOKEN_RBRACE] = "}",
        [TOKEN_EQ] = "==",
        [TOKEN_NE] = "!=",
        [TOKEN_GT] = ">",
        [TOKEN_GE] = ">=",
        [TOKEN_LT] = "<",
        [TOKEN_LE] = "<=",
        [TOKEN_ASSIGN] = "=",
        [TOKEN_DOT] = ".",
        [TOKEN_COLON] = ":",
        [TOKEN_PIPE] = "|",
        [TOKEN_COMMA] = ",",
        [TOKEN_SEMICOLON] = ";",
    };

    return kind < sizeof(names) / sizeof(*names) ? names[kind] : "token";
}

void tmpl_lexer_start(struct tmpl_compile *compile, const char *source, size_t len)
{
    struct tmpl_lexer *lexer = &compile->lexer;
    char *copy;
    size_t n = 0;

    memset(lexer, 0, sizeof(*lexer));
    lexer->line = 1;
    lexer->state = TOKEN_DATA;
    lexer->line_starting = true;
    if (len > TEMPLATE_SOURCE_MAX) {
        tmpl_fail_compile(compile, STATUS_TOO_BIG, 0,
                          "The template has %zu bytes; at most %u are allowed.", len,
                          TEMPLATE_SOURCE_MAX);
        return;
    }
    if (!tmpl_utf8_is_valid(source, len)) {
        tmpl_fail_compile(compile, STATUS_MALFORMED, 0, "The template is not valid UTF-8.");
        return;
    }
    copy = arena_alloc(compile->arena, len);
    if (!copy) {
        tmpl_fail_compile(compile, STATUS_NO_MEMORY, 0, "Out of memory.");
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r' && i + 1 < len && source[i + 1] == '\n')
            continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n && copy[n - 1] == '\n')
        n--;
    lexer->source = copy;
    lexer->len = n;
}

static char peek(const struct tmpl_lexer *lexer, size_t at)
{
    return at < lexer->len ? lexer->source[at] : 0;
}

static bool looking_at(const struct tmpl_lexer *lexer, size_t at, const char *what)
{
    size_t n = strlen(what);

    return lexer->len - at >= n && memcmp(lexer->source + at, what, n) == 0;
}

static size_t skip_space(const struct tmpl_lexer *lexer, size_t at)
{
    size_t bytes;

    while (at < lexer->len && tmpl_is_space(tmpl_utf8_decode(lexer->source + at, &bytes)))
        at += bytes;
    return at;
}

static void advance_to(struct tmpl_lexer *lexer, size_t to)
{
    for (; lexer->pos < to; lexer->pos++)
        lexer->line += lexer->source[lexer->pos] == '\n';
}

/* Ends a match that leads back to text: notes whether the next text starts a line. */
static void leave_tag(struct tmpl_lexer *lexer, size_t to)
{
    advance_to(lexer, to);
    lexer->line_starting = to > 0 && lexer->source[to - 1] == '\n';
}

/* Where the tag that closes at `at` ends, or 0 if none does: "-%}" with white space, "%}" with one
 * newline if `trim`, "+%}" if `plus`. */
static size_t match_close(const struct tmpl_lexer *lexer, size_t at, const char *close, bool plus,
                          bool trim)
{
    if (peek(lexer, at) == '-' && looking_at(lexer, at + 1, close))
        return skip_space(lexer, at + 3);
    if (plus && peek(lexer, at) == '+' && looking_at(lexer, at + 1, close))
        return at + 3;
    if (at <= lexer->len && looking_at(lexer, at, close))
        return at + 2 + (trim && peek(lexer, at + 2) == '\n');
    return 0;
}

/* Cuts the text before a tag: [from, to) becomes [from, result). */
static size_t strip_before(const struct tmpl_lexer *lexer, size_t from, size_t to, char sign,
                           bool lstrip)
{
    const char *text = lexer->source + from;
    size_t len = to - from, line = len;

    if (sign == '-') {
        tmpl_trim(&text, &len, false, true);
        return from + len;
    }
    if (sign == '+' || !lstrip)
        return to;
    while (line > 0 && text[line - 1] != '\n')
        line--;
    if (line == 0 && !lexer->line_starting)
        return to;
    return skip_space(lexer, from + line) >= to ? from + line : to;
}

static struct tmpl_token make_token(struct tmpl_lexer *lexer, uint8_t kind, size_t from, size_t to)
{
    return (struct tmpl_token){.kind = kind,
                               .line = lexer->line,
                               .value = tmpl_str(lexer->source + from, (uint32_t)(to - from))};
}

static struct tmpl_token fail_lexer(struct tmpl_compile *compile, const char *text)
{
    tmpl_fail_compile(compile, STATUS_MALFORMED, compile->lexer.line, "%s", text);
    return (struct tmpl_token){.kind = TOKEN_EOF, .line = compile->lexer.line};
}

/* Where the inside of "{% raw %}" starts if that is what stands at `at`, or 0. */
static size_t match_raw(const struct tmpl_lexer *lexer, size_t at)
{
    at += 2;
    if (peek(lexer, at) == '-' || peek(lexer, at) == '+')
        at++;
    at = skip_space(lexer, at);
    if (!looking_at(lexer, at, "raw"))
        return 0;
    return match_close(lexer, skip_space(lexer, at + 3), "%}", false, false);
}

/* The text of a raw block up to and with its endraw; the lexer stands inside it. */
static struct tmpl_token lex_raw(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;

    for (size_t at = lexer->pos; at + 1 < lexer->len; at++) {
        struct tmpl_token token;
        size_t inside = at + 2, end;
        char sign = peek(lexer, inside);

        if (!looking_at(lexer, at, "{%"))
            continue;
        if (sign == '-' || sign == '+')
            inside++;
        inside = skip_space(lexer, inside);
        if (!looking_at(lexer, inside, "endraw"))
            continue;
        end = match_close(lexer, skip_space(lexer, inside + 6), "%}", true, true);
        if (!end)
            continue;
        token = make_token(lexer, TOKEN_DATA, lexer->pos,
                           strip_before(lexer, lexer->pos, at, sign, true));
        leave_tag(lexer, end);
        return token;
    }
    if (lexer->pos >= lexer->len) /* jinja2 takes an open tag at the very end as nothing */
        return (struct tmpl_token){.kind = TOKEN_EOF, .line = lexer->line};
    return fail_lexer(compile, "Missing end of raw directive.");
}

static bool skip_comment(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;

    for (size_t at = lexer->pos; at < lexer->len; at++) {
        size_t end = match_close(lexer, at, "#}", true, true);

        if (end) {
            leave_tag(lexer, end);
            return true;
        }
    }
    if (lexer->pos >= lexer->len)
        return true;
    fail_lexer(compile, "Missing end of comment tag.");
    return false;
}

/* Text up to the next tag, which it enters. Gives the text, or if that is empty what follows. */
static struct tmpl_token lex_text(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;

    while (lexer->pos < lexer->len) {
        struct tmpl_token token;
        size_t at = lexer->pos, end, raw;
        char second, sign;

        while (at < lexer->len) {
            const char *brace = memchr(lexer->source + at, '{', lexer->len - at);

            at = brace ? (size_t)(brace - lexer->source) : lexer->len;
            second = peek(lexer, at + 1);
            if (second == '{' || second == '%' || second == '#')
                break;
            at += at < lexer->len;
        }
        if (at == lexer->len) {
            token = make_token(lexer, TOKEN_DATA, lexer->pos, at);
            advance_to(lexer, at);
            return token;
        }
        sign = peek(lexer, at + 2);
        if (sign != '-' && sign != '+')
            sign = 0;
        end = strip_before(lexer, lexer->pos, at, sign, second != '{');
        token = make_token(lexer, TOKEN_DATA, lexer->pos, end);
        raw = second == '%' ? match_raw(lexer, at) : 0;
        if (raw) {
            leave_tag(lexer, raw);
            if (token.value.len == 0)
                return lex_raw(compile);
            lexer->begin_after_data = TOKEN_DATA; /* stands for raw text here */
            return token;
        }
        leave_tag(lexer, at + 2 + (sign != 0));
        if (second == '#') {
            if (!skip_comment(compile))
                break;
            if (token.value.len)
                return token;
            continue;
        }
        lexer->state = second == '%' ? TOKEN_BLOCK_BEGIN : TOKEN_VARIABLE_BEGIN;
        if (token.value.len) {
            lexer->begin_after_data = lexer->state;
            return token;
        }
        return make_token(lexer, lexer->state, lexer->pos, lexer->pos);
    }
    return (struct tmpl_token){.kind = TOKEN_EOF, .line = lexer->line};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Past digits of the base with single underscores between them; `at` if there are none. */
static size_t skip_digits(const struct tmpl_lexer *lexer, size_t at, int base)
{
    bool after_digit = false;

    for (;; at++) {
        char c = peek(lexer, at);
        int digit = is_digit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87 : 99;

        if (digit < base)
            after_digit = true;
        else if (c == '_' && after_digit)
            after_digit = false;
        else
            return at - (at > 0 && !after_digit && peek(lexer, at - 1) == '_');
    }
}

/* Where the float at `at` ends, or 0. */
static size_t match_float(const struct tmpl_lexer *lexer, size_t at)
{
    size_t end = skip_digits(lexer, at, 10), exponent;
    bool fraction = false;

    if (at > 0 && lexer->source[at - 1] == '.')
        return 0;
    if (peek(lexer, end) == '.' && is_digit(peek(lexer, end + 1))) {
        end = skip_digits(lexer, end + 1, 10);
        fraction = true;
    }
    if ((peek(lexer, end) | 32) == 'e') {
        exponent = end + 1;
        if (peek(lexer, exponent) == '+' || peek(lexer, exponent) == '-')
            exponent++;
        if (is_digit(peek(lexer, exponent)))
            return skip_digits(lexer, exponent, 10);
    }
    return fraction ? end : 0;
}

static size_t match_integer(const struct tmpl_lexer *lexer, size_t at)
{
    size_t end = at + 1;

    if (peek(lexer, at) != '0')
        return skip_digits(lexer, at, 10);
    for (int i = 0; i < 3; i++) {
        static const char letters[] = "box";
        static const int bases[] = {2, 8, 16};

        if ((peek(lexer, at + 1) | 32) == letters[i]) {
            size_t first = at + 2 + (peek(lexer, at + 2) == '_');

            end = skip_digits(lexer, first, bases[i]);
            return end > first ? end : at + 1;
        }
    }
    while (peek(lexer, end) == '0' || (peek(lexer, end) == '_' && peek(lexer, end + 1) == '0'))
        end++;
    return end;
}

static struct tmpl_token lex_number(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;
    size_t from = lexer->pos, end = match_float(lexer, from);
    struct tmpl_token token = make_token(lexer, TOKEN_FLOAT, from, from);
    bool overflow = false;

    if (end) {
        token.value = tmpl_float(0);
        if (!tmpl_float_read(lexer->source + from, end - from, &token.value.real))
            return fail_lexer(compile, "This number is too long.");
    } else {
        token.kind = TOKEN_INTEGER;
        token.value = tmpl_int(0);
        end = match_integer(lexer, from);
        if (!tmpl_int_read(lexer->source + from, end - from, 0, &token.value.integer, &overflow) ||
            overflow)
            return fail_lexer(compile, "This integer has more than 64 bits.");
    }
    advance_to(lexer, end);
    return token;
}

/* Reads `n` hexadecimal digits; false if there are fewer. */
static bool read_hex(const char *text, size_t len, size_t n, uint32_t *out)
{
    uint32_t code = 0;

    if (len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];

        if (is_digit(c))
            code = code * 16 + (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            code = code * 16 + (uint32_t)((c | 32) - 'a' + 10);
        else
            return false;
    }
    *out = code;
    return true;
}

/* One escape after its backslash, at text[0]; returns the bytes read (0: bad), appends to *out. */
static size_t unescape(const char *text, size_t len, char **out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *simple = memchr(from, text[0], sizeof(from) - 1);
    size_t hex = text[0] == 'x' ? 2 : text[0] == 'u' ? 4 : text[0] == 'U' ? 8 : 0, n = 0;
    uint32_t code = 0;

    if (text[0] == '\n')
        return 1;
    if (simple) {
        *(*out)++ = to[simple - from];
        return 1;
    }
    if (hex) {
        if (!read_hex(text + 1, len - 1, hex, &code) || code > 0x10ffff ||
            (code >= 0xd800 && code < 0xe000))
            return 0;
        *out += tmpl_utf8_encode(code, *out);
        return hex + 1;
    }
    while (n < 3 && n < len && text[n] >= '0' && text[n] <= '7')
        code = code * 8 + (uint32_t)(text[n++] - '0');
    if (n) {
        *out += tmpl_utf8_encode(code, *out);
        return n;
    }
    if (text[0] == 'N' || (unsigned char)text[0] >= 0x80)
        return 0;
    *(*out)++ = '\\'; /* an unknown escape stays as it is */
    *(*out)++ = text[0];
    return 1;
}

static struct tmpl_token lex_string(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;
    const char *source = lexer->source;
    char quote = source[lexer->pos];
    size_t end = lexer->pos + 1;
    struct tmpl_token token = make_token(lexer, TOKEN_STRING, lexer->pos, lexer->pos);
    char *text, *p;

    while (end < lexer->len && source[end] != quote)
        end += source[end] == '\\' ? 2 : 1;
    if (end >= lexer->len)
        return fail_lexer(compile, "A string is not closed.");
    text = p = arena_alloc(compile->arena, end - lexer->pos);
    if (!text) {
        tmpl_fail_compile(compile, STATUS_NO_MEMORY, lexer->line, "Out of memory.");
        return (struct tmpl_token){.kind = TOKEN_EOF};
    }
    for (size_t i = lexer->pos + 1; i < end;) {
        size_t n;

        if (source[i] != '\\') {
            *p++ = source[i++];
            continue;
        }
        n = unescape(source + i + 1, end - i - 1, &p);
        if (!n)
            return fail_lexer(compile, "A string has a bad or unsupported escape after '\\'.");
        i += n + 1;
    }
    token.value = tmpl_str(text, (uint32_t)(p - text));
    advance_to(lexer, end + 1);
    return token;
}

/* Operators, longer ones first. */
static const struct {
    const char *text;
    uint8_t kind;
} operators[] = {
    {"//", TOKEN_FLOORDIV}, {"**", TOKEN_POW},      {"==", TOKEN_EQ},    {"!=", TOKEN_NE},
    {">=", TOKEN_GE},       {"<=", TOKEN_LE},       {"+", TOKEN_ADD},    {"-", TOKEN_SUB},
    {"/", TOKEN_DIV},       {"*", TOKEN_MUL},       {"%", TOKEN_MOD},    {"~", TOKEN_TILDE},
    {"[", TOKEN_LBRACKET},  {"]", TOKEN_RBRACKET},  {"(", TOKEN_LPAREN}, {")", TOKEN_RPAREN},
    {"{", TOKEN_LBRACE},    {"}", TOKEN_RBRACE},    {">", TOKEN_GT},     {"<", TOKEN_LT},
    {"=", TOKEN_ASSIGN},    {".", TOKEN_DOT},       {":", TOKEN_COLON},  {"|", TOKEN_PIPE},
    {",", TOKEN_COMMA},     {";", TOKEN_SEMICOLON},
};

/* Keeps account of open brackets; inside them "}}" and "%}" are not ends of tags. */
static bool balance(struct tmpl_compile *compile, uint8_t kind)
{
    struct tmpl_lexer *lexer = &compile->lexer;
    char close = kind == TOKEN_LBRACKET ? ']' : kind == TOKEN_LPAREN ? ')' : '}';

    if (kind == TOKEN_LBRACKET || kind == TOKEN_LPAREN || kind == TOKEN_LBRACE) {
        if (lexer->n_open == TMPL_AST_DEPTH_MAX) {
            tmpl_fail_compile(compile, STATUS_TOO_BIG, lexer->line,
                              "Brackets are nested deeper than %d.", TMPL_AST_DEPTH_MAX);
            return false;
        }
        lexer->open[lexer->n_open++] = close;
    } else if (kind == TOKEN_RBRACKET || kind == TOKEN_RPAREN || kind == TOKEN_RBRACE) {
        const char *found = tmpl_token_name(kind);

        if (lexer->n_open == 0 || lexer->open[lexer->n_open - 1] != *found) {
            tmpl_fail_compile(compile, STATUS_MALFORMED, lexer->line,
                              lexer->n_open ? "Unexpected '%s', expected '%c'."
                                            : "Unexpected '%s'.",
                              found, lexer->n_open ? lexer->open[lexer->n_open - 1] : 0);
            return false;
        }
        lexer->n_open--;
    }
    return true;
}

static bool is_name_char(char c)
{
    return c == '_' || is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* A token inside a tag. */
static struct tmpl_token lex_inside(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;
    bool block = lexer->state == TOKEN_BLOCK_BEGIN;
    struct tmpl_token token;
    size_t end;
    char c;

    end = lexer->n_open ? 0 : match_close(lexer, lexer->pos, block ? "%}" : "}}", block, block);
    if (!end) {
        advance_to(lexer, skip_space(lexer, lexer->pos));
        end = lexer->n_open ? 0 : match_close(lexer, lexer->pos, block ? "%}" : "}}", block, block);
    }
    if (end) {
        token = make_token(lexer, block ? TOKEN_BLOCK_END : TOKEN_VARIABLE_END, end, end);
        leave_tag(lexer, end);
        lexer->state = TOKEN_DATA;
        return token;
    }
    if (lexer->pos >= lexer->len)
        return (struct tmpl_token){.kind = TOKEN_EOF, .line = lexer->line};
    c = lexer->source[lexer->pos];
    if (is_digit(c))
        return lex_number(compile);
    if (c == '\'' || c == '"')
        return lex_string(compile);
    if (is_name_char(c)) {
        for (end = lexer->pos; is_name_char(peek(lexer, end)); end++)
            ;
        token = make_token(lexer, TOKEN_NAME, lexer->pos, end);
        advance_to(lexer, end);
        return token;
    }
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (!looking_at(lexer, lexer->pos, operators[i].text))
            continue;
        end = lexer->pos + strlen(operators[i].text);
        token = make_token(lexer, operators[i].kind, lexer->pos, end);
        if (!balance(compile, token.kind))
            break;
        advance_to(lexer, end);
        return token;
    }
    tmpl_fail_compile(compile, STATUS_MALFORMED, lexer->line,
                      "Unexpected character U+%04X in a tag.",
                      tmpl_utf8_decode(lexer->source + lexer->pos, &end));
    return (struct tmpl_token){.kind = TOKEN_EOF, .line = lexer->line};
}

struct tmpl_token tmpl_lexer_next(struct tmpl_compile *compile)
{
    struct tmpl_lexer *lexer = &compile->lexer;
    uint8_t pending = lexer->begin_after_data;

    if (compile->status != STATUS_OK)
        return (struct tmpl_token){.kind = TOKEN_EOF, .line = lexer->line};
    lexer->begin_after_data = 0;
    if (pending == TOKEN_DATA)
        return lex_raw(compile);
    if (pending)
        return make_token(lexer, pending, lexer->pos, lexer->pos);
    return lexer->state == TOKEN_DATA ? lex_text(compile) : lex_inside(compile);
}
