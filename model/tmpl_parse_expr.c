/* The parser of expressions: jinja2's precedence, from the conditional down to the primary.
 * Recursion is bounded by compile->depth, the tree's depth by tmpl_node_close. */
#include "model/tmpl_ast.h"

#include <string.h>

#include "model/tmpl_builtin.h"

void tmpl_advance(struct tmpl_compile *compile)
{
    compile->token = compile->ahead;
    compile->ahead = tmpl_lexer_next(compile);
    if (compile->status != STATUS_OK) {
        compile->token.kind = TOKEN_EOF;
        compile->ahead.kind = TOKEN_EOF;
    }
}

bool tmpl_accept(struct tmpl_compile *compile, uint8_t kind)
{
    if (compile->token.kind != kind)
        return false;
    tmpl_advance(compile);
    return true;
}

static bool is_name(const struct tmpl_token *token, const char *name)
{
    return token->kind == TOKEN_NAME && token->value.len == strlen(name) &&
           memcmp(token->value.text, name, token->value.len) == 0;
}

bool tmpl_at_name(const struct tmpl_compile *compile, const char *name)
{
    return is_name(&compile->token, name);
}

bool tmpl_accept_name(struct tmpl_compile *compile, const char *name)
{
    if (!tmpl_at_name(compile, name))
        return false;
    tmpl_advance(compile);
    return true;
}

static void fail_unexpected(struct tmpl_compile *compile, const char *expected)
{
    const struct tmpl_token *token = &compile->token;

    if (token->kind == TOKEN_NAME)
        tmpl_fail_compile(compile, STATUS_MALFORMED, token->line, "Expected %s, found '%.*s'.",
                          expected, (int)(token->value.len > 64 ? 64 : token->value.len),
                          token->value.text);
    else
        tmpl_fail_compile(compile, STATUS_MALFORMED, token->line, "Expected %s, found %s.",
                          expected, tmpl_token_name(token->kind));
    compile->token.kind = TOKEN_EOF;
}

struct tmpl_token tmpl_expect(struct tmpl_compile *compile, uint8_t kind)
{
    struct tmpl_token token = compile->token;

    if (token.kind == kind)
        tmpl_advance(compile);
    else
        fail_unexpected(compile, tmpl_token_name(kind));
    return token;
}

struct tmpl_node *tmpl_node_new(struct tmpl_compile *compile, uint8_t kind, uint32_t line)
{
    struct tmpl_node *node = arena_alloc_zero(compile->arena, 1, sizeof(*node));

    if (!node) {
        tmpl_fail_compile(compile, STATUS_NO_MEMORY, line, "Out of memory.");
        compile->token.kind = TOKEN_EOF;
        compile->spare = (struct tmpl_node){.kind = kind, .line = line, .depth = 1};
        return &compile->spare;
    }
    node->kind = kind;
    node->line = line;
    node->depth = 1;
    return node;
}

static void take_depth(struct tmpl_node *node, const struct tmpl_node *child)
{
    for (; child; child = child->next) {
        if (child->depth >= node->depth)
            node->depth = (uint16_t)(child->depth + 1);
    }
}

struct tmpl_node *tmpl_node_close(struct tmpl_compile *compile, struct tmpl_node *node)
{
    if (compile->status != STATUS_OK)
        return node; /* the spare node may stand twice in a list */
    take_depth(node, node->a);
    take_depth(node, node->b);
    take_depth(node, node->c);
    take_depth(node, node->list);
    take_depth(node, node->more);
    if (node->depth > TMPL_AST_DEPTH_MAX) {
        tmpl_fail_compile(compile, STATUS_TOO_BIG, node->line,
                          "The template is nested deeper than %d.", TMPL_AST_DEPTH_MAX);
        compile->token.kind = TOKEN_EOF;
    }
    return node;
}

static struct tmpl_node *make_unary(struct tmpl_compile *compile, uint8_t kind, uint32_t line,
                                    struct tmpl_node *a)
{
    struct tmpl_node *node = tmpl_node_new(compile, kind, line);

    node->a = a;
    return tmpl_node_close(compile, node);
}

static struct tmpl_node *make_binary(struct tmpl_compile *compile, uint8_t kind, uint32_t line,
                                     struct tmpl_node *a, struct tmpl_node *b)
{
    struct tmpl_node *node = tmpl_node_new(compile, kind, line);

    node->a = a;
    node->b = b;
    return tmpl_node_close(compile, node);
}

/* Bounds the recursion of the functions below. */
static bool enter(struct tmpl_compile *compile)
{
    if (compile->depth >= TMPL_AST_DEPTH_MAX) {
        tmpl_fail_compile(compile, STATUS_TOO_BIG, compile->token.line,
                          "An expression is nested deeper than %d.", TMPL_AST_DEPTH_MAX);
        compile->token.kind = TOKEN_EOF;
        return false;
    }
    compile->depth++;
    return true;
}

static struct tmpl_node *make_const(struct tmpl_compile *compile, uint32_t line,
                                    struct tmpl_value value)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_CONST, line);

    node->value = value;
    return node;
}

/* [a, b] and {a: b, c: d} after their opening bracket. */
static struct tmpl_node *parse_items(struct tmpl_compile *compile, uint8_t kind, uint32_t line)
{
    uint8_t close = kind == NODE_LIST ? TOKEN_RBRACKET : TOKEN_RBRACE;
    struct tmpl_node *node = tmpl_node_new(compile, kind, line), **tail = &node->list;

    while (compile->token.kind != close && compile->token.kind != TOKEN_EOF) {
        struct tmpl_node *item;

        if (node->list) {
            tmpl_expect(compile, TOKEN_COMMA);
            if (compile->token.kind == close)
                break;
        }
        item = tmpl_parse_expression(compile, true);
        if (kind == NODE_DICT) {
            tmpl_expect(compile, TOKEN_COLON);
            item = make_binary(compile, NODE_PAIR, item->line, item,
                               tmpl_parse_expression(compile, true));
        }
        *tail = item;
        tail = &item->next;
    }
    tmpl_expect(compile, close);
    return tmpl_node_close(compile, node);
}

/* Adjacent strings are one. */
static struct tmpl_node *parse_string(struct tmpl_compile *compile)
{
    struct tmpl_token token = compile->token;
    struct tmpl_value text = token.value;

    tmpl_advance(compile);
    while (compile->token.kind == TOKEN_STRING) {
        size_t len = (size_t)text.len + compile->token.value.len;
        char *joined = arena_alloc(compile->arena, len);

        if (!joined) {
            tmpl_fail_compile(compile, STATUS_NO_MEMORY, token.line, "Out of memory.");
            break;
        }
        memcpy(joined, text.text, text.len);
        memcpy(joined + text.len, compile->token.value.text, compile->token.value.len);
        text = tmpl_str(joined, (uint32_t)len);
        tmpl_advance(compile);
    }
    return make_const(compile, token.line, text);
}

static struct tmpl_node *parse_name(struct tmpl_compile *compile, bool with_namespace)
{
    static const struct {
        const char *name;
        uint8_t kind;
        bool boolean;
    } constants[] = {{"true", TMPL_BOOL, true},   {"True", TMPL_BOOL, true},
                     {"false", TMPL_BOOL, false}, {"False", TMPL_BOOL, false},
                     {"none", TMPL_NONE, false},  {"None", TMPL_NONE, false}};
    struct tmpl_token token = compile->token;
    struct tmpl_node *node;

    tmpl_advance(compile);
    for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++) {
        if (is_name(&token, constants[i].name))
            return make_const(compile, token.line,
                              constants[i].kind == TMPL_BOOL ? tmpl_bool(constants[i].boolean)
                                                             : tmpl_none());
    }
    node = tmpl_node_new(compile, NODE_NAME, token.line);
    node->value = token.value;
    if (with_namespace && tmpl_accept(compile, TOKEN_DOT)) {
        node = make_unary(compile, NODE_NSREF, token.line, node);
        node->value = tmpl_expect(compile, TOKEN_NAME).value;
    }
    return node;
}

/* A parenthesis after '(': an expression or a tuple, which may be empty. */
static struct tmpl_node *parse_parenthesis(struct tmpl_compile *compile)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *node;

    if (compile->token.kind == TOKEN_RPAREN)
        node = tmpl_node_new(compile, NODE_TUPLE, line);
    else
        node = tmpl_parse_tuple(compile, true);
    tmpl_expect(compile, TOKEN_RPAREN);
    return node;
}

static struct tmpl_node *parse_primary(struct tmpl_compile *compile, bool with_namespace)
{
    struct tmpl_token token = compile->token;

    switch (token.kind) {
    case TOKEN_NAME:
        return parse_name(compile, with_namespace);
    case TOKEN_STRING:
        return parse_string(compile);
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
        tmpl_advance(compile);
        return make_const(compile, token.line, token.value);
    case TOKEN_LPAREN:
        tmpl_advance(compile);
        return parse_parenthesis(compile);
    case TOKEN_LBRACKET:
        tmpl_advance(compile);
        return parse_items(compile, NODE_LIST, token.line);
    case TOKEN_LBRACE:
        tmpl_advance(compile);
        return parse_items(compile, NODE_DICT, token.line);
    default:
        fail_unexpected(compile, "an expression");
        return make_const(compile, token.line, tmpl_none());
    }
}

/* Arguments from '(' to ')', into a CALL, FILTER or TEST. */
static void parse_arguments(struct tmpl_compile *compile, struct tmpl_node *node)
{
    struct tmpl_node **tail = &node->list, **named_tail = &node->more;
    bool first = true;

    tmpl_expect(compile, TOKEN_LPAREN);
    while (compile->token.kind != TOKEN_RPAREN && compile->token.kind != TOKEN_EOF) {
        bool misplaced = node->c;
        struct tmpl_token token;

        if (!first) {
            tmpl_expect(compile, TOKEN_COMMA);
            if (compile->token.kind == TOKEN_RPAREN)
                break;
        }
        first = false;
        token = compile->token;
        if (tmpl_accept(compile, TOKEN_MUL)) {
            misplaced = misplaced || node->b;
            node->b = tmpl_parse_expression(compile, true);
        } else if (tmpl_accept(compile, TOKEN_POW)) {
            node->c = tmpl_parse_expression(compile, true);
        } else if (token.kind == TOKEN_NAME && compile->ahead.kind == TOKEN_ASSIGN) {
            tmpl_advance(compile);
            tmpl_advance(compile);
            *named_tail =
                make_unary(compile, NODE_KEYWORD, token.line, tmpl_parse_expression(compile, true));
            (*named_tail)->value = token.value;
            named_tail = &(*named_tail)->next;
        } else {
            misplaced = misplaced || node->b || node->more;
            *tail = tmpl_parse_expression(compile, true);
            tail = &(*tail)->next;
        }
        if (misplaced)
            tmpl_fail_compile(compile, STATUS_MALFORMED, token.line,
                              "Arguments of a call are in a wrong order.");
    }
    tmpl_expect(compile, TOKEN_RPAREN);
}

static struct tmpl_node *parse_call(struct tmpl_compile *compile, struct tmpl_node *callee)
{
    struct tmpl_node *node = tmpl_node_new(compile, NODE_CALL, compile->token.line);

    node->a = callee;
    parse_arguments(compile, node);
    return tmpl_node_close(compile, node);
}

/* The bound of a slice, or NULL where it is left out. */
static struct tmpl_node *parse_bound(struct tmpl_compile *compile)
{
    uint8_t kind = compile->token.kind;

    if (kind == TOKEN_COLON || kind == TOKEN_RBRACKET || kind == TOKEN_COMMA)
        return NULL;
    return tmpl_parse_expression(compile, true);
}

static struct tmpl_node *parse_subscript(struct tmpl_compile *compile, struct tmpl_node *object)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *first, *slice;

    if (tmpl_accept(compile, TOKEN_DOT)) {
        struct tmpl_token token = compile->token;

        if (tmpl_accept(compile, TOKEN_INTEGER))
            return make_binary(compile, NODE_GETITEM, line, object,
                               make_const(compile, line, token.value));
        tmpl_expect(compile, TOKEN_NAME);
        object = make_unary(compile, NODE_GETATTR, line, object);
        object->value = token.value;
        return object;
    }
    tmpl_expect(compile, TOKEN_LBRACKET);
    first = parse_bound(compile);
    if (tmpl_accept(compile, TOKEN_COLON)) {
        slice = tmpl_node_new(compile, NODE_SLICE, line);
        slice->a = first;
        slice->b = parse_bound(compile);
        if (tmpl_accept(compile, TOKEN_COLON))
            slice->c = parse_bound(compile);
        first = tmpl_node_close(compile, slice);
    }
    if (compile->token.kind == TOKEN_COMMA || !first)
        tmpl_fail_compile(compile, STATUS_UNSUPPORTED, line,
                          "A subscript must be one expression or one slice.");
    tmpl_expect(compile, TOKEN_RBRACKET);
    return make_binary(compile, NODE_GETITEM, line, object, first);
}

static struct tmpl_node *parse_postfix(struct tmpl_compile *compile, struct tmpl_node *node)
{
    for (;;) {
        if (compile->token.kind == TOKEN_DOT || compile->token.kind == TOKEN_LBRACKET)
            node = parse_subscript(compile, node);
        else if (compile->token.kind == TOKEN_LPAREN)
            node = parse_call(compile, node);
        else
            return node;
    }
}

/* Looks the filter or test up; unknown ones are refused, inside an if only when they are reached,
 * as jinja2 does. */
static void find_named(struct tmpl_compile *compile, struct tmpl_node *node, const char *what)
{
    if (node->kind == NODE_FILTER)
        node->filter = tmpl_filter_find(node->value.text, node->value.len);
    else
        node->test = tmpl_test_find(node->value.text, node->value.len);
    if ((node->kind == NODE_FILTER ? (const void *)node->filter : (const void *)node->test) ||
        compile->soft || compile->status != STATUS_OK)
        return;
    tmpl_fail_compile(compile, STATUS_UNSUPPORTED, node->line,
                      "The %s '%.*s' is not known or not supported.", what,
                      (int)(node->value.len > 64 ? 64 : node->value.len), node->value.text);
}

struct tmpl_node *tmpl_parse_filters(struct tmpl_compile *compile, struct tmpl_node *node,
                                     bool at_name)
{
    while (at_name || tmpl_accept(compile, TOKEN_PIPE)) {
        struct tmpl_token token = tmpl_expect(compile, TOKEN_NAME);
        struct tmpl_node *filter = tmpl_node_new(compile, NODE_FILTER, token.line);

        filter->a = node;
        filter->value = token.value;
        find_named(compile, filter, "filter");
        if (compile->token.kind == TOKEN_LPAREN)
            parse_arguments(compile, filter);
        node = tmpl_node_close(compile, filter);
        at_name = false;
    }
    return node;
}

static struct tmpl_node *parse_test(struct tmpl_compile *compile, struct tmpl_node *subject)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *node = tmpl_node_new(compile, NODE_TEST, line);
    bool negated;
    uint8_t kind;

    tmpl_advance(compile); /* is */
    negated = tmpl_accept_name(compile, "not");
    node->a = subject;
    node->value = tmpl_expect(compile, TOKEN_NAME).value;
    find_named(compile, node, "test");
    kind = compile->token.kind;
    if (kind == TOKEN_LPAREN) {
        parse_arguments(compile, node);
    } else if ((kind == TOKEN_NAME && !tmpl_at_name(compile, "else") &&
                !tmpl_at_name(compile, "or") && !tmpl_at_name(compile, "and")) ||
               kind == TOKEN_STRING || kind == TOKEN_INTEGER || kind == TOKEN_FLOAT ||
               kind == TOKEN_LBRACKET || kind == TOKEN_LBRACE) {
        if (tmpl_at_name(compile, "is"))
            tmpl_fail_compile(compile, STATUS_MALFORMED, line,
                              "Tests with 'is' cannot be chained.");
        node->list = parse_postfix(compile, parse_primary(compile, false));
    }
    node = tmpl_node_close(compile, node);
    return negated ? make_unary(compile, NODE_NOT, line, node) : node;
}

static struct tmpl_node *parse_unary(struct tmpl_compile *compile, bool with_filter)
{
    uint8_t kind = compile->token.kind;
    uint32_t line = compile->token.line;
    struct tmpl_node *node;

    if (!enter(compile))
        return make_const(compile, line, tmpl_none());
    if (kind == TOKEN_SUB || kind == TOKEN_ADD) {
        tmpl_advance(compile);
        node = make_unary(compile, kind == TOKEN_SUB ? NODE_NEG : NODE_POS, line,
                          parse_unary(compile, false));
    } else {
        node = parse_primary(compile, false);
    }
    node = parse_postfix(compile, node);
    while (with_filter) {
        if (compile->token.kind == TOKEN_PIPE)
            node = tmpl_parse_filters(compile, node, false);
        else if (tmpl_at_name(compile, "is"))
            node = parse_test(compile, node);
        else if (compile->token.kind == TOKEN_LPAREN)
            node = parse_call(compile, node);
        else
            break;
    }
    compile->depth--;
    return node;
}

/* The binary operators by precedence: a level's operands are expressions of the level below. */
enum level { LEVEL_SUM, LEVEL_CONCAT, LEVEL_PRODUCT, LEVEL_POWER, LEVEL_UNARY };

static bool operator_at(uint8_t kind, enum level level, uint8_t *op)
{
    static const struct {
        uint8_t kind, level, op;
    } table[] = {
        {TOKEN_ADD, LEVEL_SUM, OP_ADD},     {TOKEN_SUB, LEVEL_SUM, OP_SUB},
        {TOKEN_MUL, LEVEL_PRODUCT, OP_MUL}, {TOKEN_DIV, LEVEL_PRODUCT, OP_DIV},
        {TOKEN_MOD, LEVEL_PRODUCT, OP_MOD}, {TOKEN_FLOORDIV, LEVEL_PRODUCT, OP_FLOORDIV},
        {TOKEN_POW, LEVEL_POWER, OP_POW},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (table[i].kind == kind && table[i].level == level) {
            *op = table[i].op;
            return true;
        }
    }
    return false;
}

static struct tmpl_node *parse_level(struct tmpl_compile *compile, enum level level)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *node, **tail;
    uint8_t op;

    if (level == LEVEL_UNARY)
        return parse_unary(compile, true);
    node = parse_level(compile, level + 1);
    if (level == LEVEL_CONCAT && compile->token.kind == TOKEN_TILDE) {
        struct tmpl_node *first = node;

        node = tmpl_node_new(compile, NODE_CONCAT, line);
        node->list = first;
        tail = &first->next;
        while (tmpl_accept(compile, TOKEN_TILDE)) {
            *tail = parse_level(compile, level + 1);
            tail = &(*tail)->next;
        }
        return tmpl_node_close(compile, node);
    }
    while (operator_at(compile->token.kind, level, &op)) {
        line = compile->token.line;
        tmpl_advance(compile);
        node = make_binary(compile, NODE_BINARY, line, node, parse_level(compile, level + 1));
        node->op = op;
    }
    return node;
}

static bool accept_comparison(struct tmpl_compile *compile, uint8_t *op)
{
    static const struct {
        uint8_t kind, op;
    } table[] = {{TOKEN_EQ, CMP_EQ}, {TOKEN_NE, CMP_NE}, {TOKEN_LT, CMP_LT},
                 {TOKEN_LE, CMP_LE}, {TOKEN_GT, CMP_GT}, {TOKEN_GE, CMP_GE}};

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (tmpl_accept(compile, table[i].kind)) {
            *op = table[i].op;
            return true;
        }
    }
    if (tmpl_accept_name(compile, "in")) {
        *op = CMP_IN;
        return true;
    }
    if (tmpl_at_name(compile, "not") && is_name(&compile->ahead, "in")) {
        tmpl_advance(compile);
        tmpl_advance(compile);
        *op = CMP_NOT_IN;
        return true;
    }
    return false;
}

static struct tmpl_node *parse_comparison(struct tmpl_compile *compile)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *left = parse_level(compile, LEVEL_SUM), *node = NULL, **tail = NULL;
    uint8_t op;

    while (accept_comparison(compile, &op)) {
        if (!node) {
            node = tmpl_node_new(compile, NODE_COMPARE, line);
            node->a = left;
            tail = &node->list;
        }
        *tail =
            make_unary(compile, NODE_OPERAND, compile->token.line, parse_level(compile, LEVEL_SUM));
        (*tail)->op = op;
        tail = &(*tail)->next;
    }
    return node ? tmpl_node_close(compile, node) : left;
}

static struct tmpl_node *parse_not(struct tmpl_compile *compile)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *node;

    if (!tmpl_accept_name(compile, "not"))
        return parse_comparison(compile);
    if (!enter(compile))
        return make_const(compile, line, tmpl_none());
    node = make_unary(compile, NODE_NOT, line, parse_not(compile));
    compile->depth--;
    return node;
}

static struct tmpl_node *parse_and(struct tmpl_compile *compile)
{
    struct tmpl_node *node = parse_not(compile);
    uint32_t line = compile->token.line;

    while (tmpl_accept_name(compile, "and"))
        node = make_binary(compile, NODE_AND, line, node, parse_not(compile));
    return node;
}

static struct tmpl_node *parse_or(struct tmpl_compile *compile)
{
    struct tmpl_node *node = parse_and(compile);
    uint32_t line = compile->token.line;

    while (tmpl_accept_name(compile, "or"))
        node = make_binary(compile, NODE_OR, line, node, parse_and(compile));
    return node;
}

struct tmpl_node *tmpl_parse_expression(struct tmpl_compile *compile, bool with_condition)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *node;

    if (!enter(compile))
        return make_const(compile, line, tmpl_none());
    node = parse_or(compile);
    while (with_condition && tmpl_at_name(compile, "if")) {
        struct tmpl_node *condition = tmpl_node_new(compile, NODE_COND, line);

        tmpl_advance(compile);
        compile->soft++;
        condition->b = node;
        condition->a = parse_or(compile);
        if (tmpl_accept_name(compile, "else"))
            condition->c = tmpl_parse_expression(compile, true);
        compile->soft--;
        node = tmpl_node_close(compile, condition);
    }
    compile->depth--;
    return node;
}

/* A tuple ends where an expression cannot start: at the end of the tag or bracket, or at the "in"
 * of a for. */
static bool at_tuple_end(const struct tmpl_compile *compile)
{
    uint8_t kind = compile->token.kind;

    return kind == TOKEN_VARIABLE_END || kind == TOKEN_BLOCK_END || kind == TOKEN_RPAREN ||
           kind == TOKEN_EOF;
}

/* `a` or `a, b`; `parse` reads one item. */
static struct tmpl_node *parse_comma_list(struct tmpl_compile *compile, const char *stop,
                                          struct tmpl_node *(*parse)(struct tmpl_compile *, bool),
                                          bool flag)
{
    uint32_t line = compile->token.line;
    struct tmpl_node *node, *tuple, **tail;

    node = parse(compile, flag);
    if (compile->token.kind != TOKEN_COMMA)
        return node;
    tuple = tmpl_node_new(compile, NODE_TUPLE, line);
    tuple->list = node;
    tail = &node->next;
    while (tmpl_accept(compile, TOKEN_COMMA)) {
        if (at_tuple_end(compile) || (stop && tmpl_at_name(compile, stop)))
            break;
        *tail = parse(compile, flag);
        tail = &(*tail)->next;
    }
    return tmpl_node_close(compile, tuple);
}

struct tmpl_node *tmpl_parse_tuple(struct tmpl_compile *compile, bool with_condition)
{
    return parse_comma_list(compile, with_condition ? NULL : "recursive", tmpl_parse_expression,
                            with_condition);
}

/* Marks the names of a target as stored; refuses what cannot be assigned to. */
static void mark_target(struct tmpl_compile *compile, struct tmpl_node *node)
{
    if (node->kind == NODE_NAME) {
        node->op = NAME_STORE;
    } else if (node->kind == NODE_TUPLE) {
        for (struct tmpl_node *item = node->list; item; item = item->next)
            mark_target(compile, item);
    } else if (node->kind != NODE_NSREF) {
        tmpl_fail_compile(compile, STATUS_MALFORMED, node->line,
                          "Only names, tuples of names and namespace attributes can be assigned.");
    }
}

struct tmpl_node *tmpl_parse_target(struct tmpl_compile *compile, bool with_namespace)
{
    struct tmpl_node *target = parse_comma_list(compile, "in", parse_primary, with_namespace);

    mark_target(compile, target);
    return target;
}
