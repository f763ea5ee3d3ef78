/* The parser of statements: the tags of Jinja that chat templates use. Tags outside the subset are
 * refused by name. */
#include "model/tmpl_ast.h"

#include <string.h>

static struct tmpl_node *parse_body(struct tmpl_compile *compile, const char *const *ends);

/* The body of a tag up to one of `ends`, whose name becomes the current token. */
static struct tmpl_node *parse_inside(struct tmpl_compile *compile, const char *const *ends)
{
    struct tmpl_node *body;

    tmpl_accept(compile, TOKEN_COLON);
    tmpl_expect(compile, TOKEN_BLOCK_END);
    body = parse_body(compile, ends);
    if (compile->token.kind == TOKEN_EOF)
        tmpl_fail_compile(compile, STATUS_MALFORMED, compile->token.line,
                          "The template ends inside a tag; '%s' is missing.", ends[0]);
    return body;
}

/* The same with one end, which is read too. */
static struct tmpl_node *parse_until(struct tmpl_compile *compile, const char *end)
{
    const char *ends[] = {end, NULL};
    struct tmpl_node *body = parse_inside(compile, ends);

    tmpl_advance(compile);
    return body;
}

static struct tmpl_node *parse_if(struct tmpl_compile *compile, uint32_t line)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    struct tmpl_node *node = tmpl_node_new(compile, NODE_IF, line), **tail = &node->list;

    compile->soft++;
    for (;;) {
        struct tmpl_node *branch = tmpl_node_new(compile, NODE_BRANCH, compile->token.line);

        branch->a = tmpl_parse_tuple(compile, false);
        branch->list = parse_inside(compile, ends);
        *tail = tmpl_node_close(compile, branch);
        tail = &branch->next;
        if (!tmpl_accept_name(compile, "elif"))
            break;
    }
    if (tmpl_accept_name(compile, "else")) {
        struct tmpl_node *branch = tmpl_node_new(compile, NODE_BRANCH, compile->token.line);

        branch->list = parse_until(compile, "endif");
        *tail = tmpl_node_close(compile, branch);
    } else {
        tmpl_advance(compile); /* endif */
    }
    compile->soft--;
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_for(struct tmpl_compile *compile, uint32_t line)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    struct tmpl_node *node = tmpl_node_new(compile, NODE_FOR, line);
    uint32_t soft = compile->soft;

    node->a = tmpl_parse_target(compile, false);
    if (!tmpl_accept_name(compile, "in"))
        tmpl_fail_compile(compile, STATUS_MALFORMED, line, "Expected 'in' after the for's target.");
    node->b = tmpl_parse_tuple(compile, false);
    compile->soft = 0;
    if (tmpl_accept_name(compile, "if"))
        node->c = tmpl_parse_expression(compile, true);
    if (tmpl_at_name(compile, "recursive"))
        tmpl_fail_compile(compile, STATUS_UNSUPPORTED, line, "Recursive loops are not supported.");
    compile->loops++;
    node->list = parse_inside(compile, ends);
    compile->loops--;
    if (tmpl_accept_name(compile, "else"))
        node->more = parse_until(compile, "endfor");
    else
        tmpl_advance(compile); /* endfor */
    compile->soft = soft;
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_set(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_SET, line);
    uint32_t soft = compile->soft;

    node->a = tmpl_parse_target(compile, true);
    if (tmpl_accept(compile, TOKEN_ASSIGN)) {
        node->b = tmpl_parse_tuple(compile, true);
        return tmpl_node_close(compile, node);
    }
    compile->soft = 0;
    node->kind = NODE_SET_BLOCK;
    node->b = compile->token.kind == TOKEN_PIPE ? tmpl_parse_filters(compile, NULL, false) : NULL;
    node->list = parse_until(compile, "endset");
    compile->soft = soft;
    return tmpl_node_close(compile, node);
}

/* Parameters of a macro or call block, with their parentheses. */
static struct tmpl_node *parse_parameters(struct tmpl_compile *compile)
{
    struct tmpl_node *first = NULL, **tail = &first;
    bool defaults = false;

    tmpl_expect(compile, TOKEN_LPAREN);
    while (compile->token.kind != TOKEN_RPAREN && compile->token.kind != TOKEN_EOF) {
        struct tmpl_node *parameter, *name;
        struct tmpl_token token;

        if (first)
            tmpl_expect(compile, TOKEN_COMMA);
        token = tmpl_expect(compile, TOKEN_NAME);
        name = tmpl_node_new(compile, NODE_NAME, token.line);
        name->op = NAME_STORE;
        name->value = token.value;
        parameter = tmpl_node_new(compile, NODE_PARAMETER, token.line);
        parameter->a = name;
        if (tmpl_accept(compile, TOKEN_ASSIGN)) {
            parameter->b = tmpl_parse_expression(compile, true);
            defaults = true;
        } else if (defaults) {
            tmpl_fail_compile(compile, STATUS_MALFORMED, token.line,
                              "A parameter without default follows one with default.");
        }
        *tail = tmpl_node_close(compile, parameter);
        tail = &parameter->next;
    }
    tmpl_expect(compile, TOKEN_RPAREN);
    return first;
}

/* The body of something that becomes a function: loops outside do not reach into it. */
static struct tmpl_node *parse_function_body(struct tmpl_compile *compile, const char *end)
{
    uint32_t loops = compile->loops, soft = compile->soft;
    struct tmpl_node *body;

    compile->loops = compile->soft = 0;
    body = parse_until(compile, end);
    compile->loops = loops;
    compile->soft = soft;
    return body;
}

static struct tmpl_node *parse_macro(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_MACRO, line);
    struct tmpl_token token = tmpl_expect(compile, TOKEN_NAME);

    node->a = tmpl_node_new(compile, NODE_NAME, token.line);
    node->a->op = NAME_STORE;
    node->a->value = token.value;
    node->more = parse_parameters(compile);
    node->list = parse_function_body(compile, "endmacro");
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_call_block(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_CALL_BLOCK, line);

    if (compile->token.kind == TOKEN_LPAREN)
        node->more = parse_parameters(compile);
    node->b = tmpl_parse_expression(compile, true);
    if (node->b->kind != NODE_CALL)
        tmpl_fail_compile(compile, STATUS_MALFORMED, line, "A call block must call something.");
    node->list = parse_function_body(compile, "endcall");
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_filter_block(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_FILTER_BLOCK, line);
    uint32_t soft = compile->soft;

    compile->soft = 0;
    node->b = tmpl_parse_filters(compile, NULL, true);
    node->list = parse_until(compile, "endfilter");
    compile->soft = soft;
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_with(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_WITH, line), **tail = &node->more;
    uint32_t soft = compile->soft;

    while (compile->token.kind != TOKEN_BLOCK_END && compile->token.kind != TOKEN_EOF) {
        struct tmpl_node *pair = tmpl_node_new(compile, NODE_PAIR, compile->token.line);

        if (node->more)
            tmpl_expect(compile, TOKEN_COMMA);
        /* One target at a time: the comma separates assignments here. */
        pair->a = tmpl_node_new(compile, NODE_NAME, compile->token.line);
        pair->a->op = NAME_STORE;
        pair->a->value = tmpl_expect(compile, TOKEN_NAME).value;
        tmpl_expect(compile, TOKEN_ASSIGN);
        pair->b = tmpl_parse_expression(compile, true);
        *tail = tmpl_node_close(compile, pair);
        tail = &pair->next;
    }
    compile->soft = 0;
    node->list = parse_until(compile, "endwith");
    compile->soft = soft;
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_generation(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_GENERATION, line);

    node->list = parse_function_body(compile, "endgeneration");
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *parse_print(struct tmpl_compile *compile, uint32_t line)
{
    struct tmpl_node *first = NULL, **tail = &first;

    while (compile->token.kind != TOKEN_BLOCK_END && compile->token.kind != TOKEN_EOF) {
        struct tmpl_node *node = tmpl_node_new(compile, NODE_OUTPUT, line);

        if (first)
            tmpl_expect(compile, TOKEN_COMMA);
        node->a = tmpl_parse_expression(compile, true);
        *tail = tmpl_node_close(compile, node);
        tail = &node->next;
    }
    return first;
}

static struct tmpl_node *parse_jump(struct tmpl_compile *compile, uint32_t line, uint8_t kind)
{
    if (compile->loops == 0)
        tmpl_fail_compile(compile, STATUS_MALFORMED, line, "'%s' stands outside a loop.",
                          kind == NODE_BREAK ? "break" : "continue");
    return tmpl_node_new(compile, kind, line);
}

static struct tmpl_node *parse_break(struct tmpl_compile *compile, uint32_t line)
{
    return parse_jump(compile, line, NODE_BREAK);
}

static struct tmpl_node *parse_continue(struct tmpl_compile *compile, uint32_t line)
{
    return parse_jump(compile, line, NODE_CONTINUE);
}

static const struct {
    const char *name;
    struct tmpl_node *(*parse)(struct tmpl_compile *, uint32_t line);
} tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"generation", parse_generation},
    {"print", parse_print},
    {"break", parse_break},
    {"continue", parse_continue},
};

/* A tag after its "{%", up to but without its "%}". NULL if it adds nothing. */
static struct tmpl_node *parse_statement(struct tmpl_compile *compile)
{
    static const char *const refused[] = {"block",      "extends", "include", "import", "from",
                                          "autoescape", "do",      "trans",   "debug"};
    struct tmpl_token token = tmpl_expect(compile, TOKEN_NAME);
    int len = (int)(token.value.len > 64 ? 64 : token.value.len);

    if (compile->status != STATUS_OK)
        return NULL;
    for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++) {
        if (token.value.len == strlen(tags[i].name) &&
            memcmp(token.value.text, tags[i].name, token.value.len) == 0)
            return tags[i].parse(compile, token.line);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        if (token.value.len == strlen(refused[i]) &&
            memcmp(token.value.text, refused[i], token.value.len) == 0)
            tmpl_fail_compile(compile, STATUS_UNSUPPORTED, token.line,
                              "The tag '%s' is not supported in chat templates.", refused[i]);
    }
    tmpl_fail_compile(compile, STATUS_MALFORMED, token.line, "Unknown or misplaced tag '%.*s'.",
                      len, token.value.text);
    return NULL;
}

static bool at_end(const struct tmpl_compile *compile, const char *const *ends)
{
    for (; ends && *ends; ends++) {
        if (tmpl_at_name(compile, *ends))
            return true;
    }
    return false;
}

/* One piece of a body; *ended when it is the tag that closes the body. */
static struct tmpl_node *parse_piece(struct tmpl_compile *compile, const char *const *ends,
                                     bool *ended)
{
    struct tmpl_token token = compile->token;
    struct tmpl_node *node;

    tmpl_advance(compile);
    switch (token.kind) {
    case TOKEN_DATA:
        if (token.value.len == 0)
            return NULL;
        node = tmpl_node_new(compile, NODE_DATA, token.line);
        node->value = token.value;
        return node;
    case TOKEN_VARIABLE_BEGIN:
        node = tmpl_node_new(compile, NODE_OUTPUT, token.line);
        node->a = tmpl_parse_tuple(compile, true);
        tmpl_expect(compile, TOKEN_VARIABLE_END);
        return tmpl_node_close(compile, node);
    default: /* TOKEN_BLOCK_BEGIN: the lexer gives nothing else outside tags */
        *ended = at_end(compile, ends);
        if (*ended)
            return NULL;
        node = parse_statement(compile);
        tmpl_expect(compile, TOKEN_BLOCK_END);
        return node;
    }
}

static struct tmpl_node *parse_body(struct tmpl_compile *compile, const char *const *ends)
{
    struct tmpl_node *first = NULL, **tail = &first;
    bool ended = false;

    if (compile->depth >= TMPL_AST_DEPTH_MAX) {
        tmpl_fail_compile(compile, STATUS_TOO_BIG, compile->token.line,
                          "The template is nested deeper than %d.", TMPL_AST_DEPTH_MAX);
        compile->token.kind = TOKEN_EOF;
    }
    compile->depth++;
    while (compile->token.kind != TOKEN_EOF && !ended) {
        struct tmpl_node *node = parse_piece(compile, ends, &ended);

        if (!node || compile->status != STATUS_OK)
            continue;
        *tail = node;
        while (*tail) /* a print tag gives several */
            tail = &(*tail)->next;
    }
    compile->depth--;
    return first;
}

struct tmpl_node *tmpl_parse(struct tmpl_compile *compile)
{
    tmpl_advance(compile);
    tmpl_advance(compile);
    return parse_body(compile, NULL);
}
