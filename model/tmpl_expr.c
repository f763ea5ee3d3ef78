/* Expressions: walks the tree and computes values. */
#include "model/tmpl_eval.h"

#include <string.h>

struct tmpl_value *tmpl_variable(struct tmpl_ctx *ctx, struct tmpl_slot slot)
{
    struct tmpl_frame *frame = ctx->frame;

    for (uint16_t i = 0; i < slot.hops; i++)
        frame = frame->parent;
    return &frame->slots[slot.idx];
}

static struct tmpl_value eval_name(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value value = *tmpl_variable(ctx, node->slot);

    return value.kind == TMPL_MISSING ? tmpl_undefined_make(ctx, NULL, node->value) : value;
}

static struct tmpl_value eval_items(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_items items = {0};

    for (const struct tmpl_node *item = node->list; item && !tmpl_failed(ctx); item = item->next)
        tmpl_items_add(ctx, &items, tmpl_eval(ctx, item));
    return tmpl_make_list(ctx, items.items, items.n,
                          node->kind == NODE_LIST ? TMPL_LIST : TMPL_TUPLE);
}

static struct tmpl_value eval_dict(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_pair *pairs;
    size_t n = 0;

    for (const struct tmpl_node *pair = node->list; pair; pair = pair->next)
        n++;
    pairs = tmpl_alloc(ctx, n, sizeof(*pairs));
    if (!pairs)
        return tmpl_none();
    n = 0;
    for (const struct tmpl_node *pair = node->list; pair && !tmpl_failed(ctx); pair = pair->next) {
        pairs[n].key = tmpl_eval(ctx, pair->a);
        pairs[n++].value = tmpl_eval(ctx, pair->b);
    }
    return tmpl_failed(ctx) ? tmpl_none() : tmpl_make_dict(ctx, pairs, n);
}

static struct tmpl_value eval_item(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value object = tmpl_eval(ctx, node->a), key;
    struct tmpl_value bounds[3];

    if (node->b->kind == NODE_SLICE) {
        const struct tmpl_node *parts[3] = {node->b->a, node->b->b, node->b->c};

        for (int i = 0; i < 3; i++)
            bounds[i] = parts[i] ? tmpl_eval(ctx, parts[i]) : tmpl_none();
        ctx->line = node->line;
        return tmpl_failed(ctx) ? object : tmpl_slice(ctx, object, bounds);
    }
    key = tmpl_eval(ctx, node->b);
    ctx->line = node->line;
    return tmpl_failed(ctx) ? object : tmpl_getitem(ctx, object, key);
}

/* --- calls --- */

static void add_named(struct tmpl_ctx *ctx, struct tmpl_pair *named, uint32_t *n,
                      struct tmpl_value key, struct tmpl_value value)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (tmpl_key_compare(&named[i].key, &key) == 0) {
            tmpl_fail(ctx, STATUS_INVALID, "The argument '%.*s' is given twice.", (int)key.len,
                      key.text);
            return;
        }
    }
    named[(*n)++] = (struct tmpl_pair){.key = key, .value = value};
}

/* The dict behind **arguments; NULL (perhaps after a failure) if there is none. */
static const struct tmpl_dict *eval_extra_named(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value extra;

    if (!node->c)
        return NULL;
    extra = tmpl_eval(ctx, node->c);
    if (extra.kind != TMPL_DICT) {
        tmpl_fail(ctx, STATUS_INVALID, "What follows ** must be a dict.");
        return NULL;
    }
    for (uint32_t i = 0; i < extra.dict->n; i++) {
        if (extra.dict->pairs[i].key.kind != TMPL_STRING)
            tmpl_fail(ctx, STATUS_INVALID, "The keys of a dict after ** must be strings.");
    }
    return extra.dict;
}

static void eval_named(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                       const struct tmpl_value *caller, struct tmpl_arguments *out)
{
    const struct tmpl_dict *extra = NULL;
    struct tmpl_pair *named;
    uint32_t n = caller != NULL;

    if (!node->more && !node->c && !caller)
        return;
    for (const struct tmpl_node *keyword = node->more; keyword; keyword = keyword->next)
        n++;
    extra = eval_extra_named(ctx, node);
    named = tmpl_alloc(ctx, n + (extra ? extra->n : 0), sizeof(*named));
    if (!named || tmpl_failed(ctx))
        return;
    out->named = named;
    for (const struct tmpl_node *keyword = node->more; keyword && !tmpl_failed(ctx);
         keyword = keyword->next)
        add_named(ctx, named, &out->n_named, keyword->value, tmpl_eval(ctx, keyword->a));
    for (uint32_t i = 0; extra && i < extra->n && !tmpl_failed(ctx); i++)
        add_named(ctx, named, &out->n_named, extra->pairs[i].key, extra->pairs[i].value);
    if (caller)
        add_named(ctx, named, &out->n_named, tmpl_text("caller"), *caller);
}

/* Evaluates the arguments of a CALL, FILTER or TEST; false after a failure. */
static bool eval_arguments(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                           const struct tmpl_value *caller, struct tmpl_arguments *out)
{
    struct tmpl_items items = {0};
    struct tmpl_iter *iter;
    struct tmpl_value item;

    memset(out, 0, sizeof(*out));
    for (const struct tmpl_node *each = node->list; each && !tmpl_failed(ctx); each = each->next)
        tmpl_items_add(ctx, &items, tmpl_eval(ctx, each));
    if (node->b && !tmpl_failed(ctx)) {
        iter = tmpl_iterate(ctx, tmpl_eval(ctx, node->b));
        while (iter && tmpl_iter_next(ctx, iter, &item) && tmpl_items_add(ctx, &items, item))
            ;
    }
    out->values = items.items;
    out->n = (uint32_t)items.n;
    if (!tmpl_failed(ctx))
        eval_named(ctx, node, caller, out);
    return !tmpl_failed(ctx);
}

static struct tmpl_value call(struct tmpl_ctx *ctx, struct tmpl_value callee,
                              const struct tmpl_arguments *arguments)
{
    switch (callee.kind) {
    case TMPL_MACRO:
        return tmpl_macro_call(ctx, callee.object, arguments);
    case TMPL_FUNCTION:
    case TMPL_METHOD:
    case TMPL_JOINER:
        return tmpl_function_call(ctx, callee, arguments);
    case TMPL_UNDEFINED:
        return tmpl_fail_undefined(ctx, &callee);
    case TMPL_LOOP:
        return tmpl_fail(ctx, STATUS_INVALID, "Recursive loops are not supported.");
    default:
        return tmpl_fail(ctx, STATUS_INVALID, "'%s' object is not callable",
                         tmpl_type_name(&callee));
    }
}

struct tmpl_value tmpl_eval_call(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                                 const struct tmpl_value *caller)
{
    struct tmpl_value callee = tmpl_eval(ctx, node->a);
    struct tmpl_arguments arguments;

    if (tmpl_failed(ctx) || !eval_arguments(ctx, node, caller, &arguments))
        return callee;
    ctx->line = node->line;
    return call(ctx, callee, &arguments);
}

static struct tmpl_value apply_filter(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                                      struct tmpl_value subject)
{
    struct tmpl_arguments arguments;

    if (!node->filter)
        return tmpl_fail(ctx, STATUS_UNSUPPORTED,
                         "The filter '%.*s' is not known or not supported.",
                         (int)(node->value.len > 64 ? 64 : node->value.len), node->value.text);
    if (tmpl_failed(ctx) || !eval_arguments(ctx, node, NULL, &arguments))
        return subject;
    ctx->line = node->line;
    return tmpl_filter_call(ctx, node->filter, subject, &arguments);
}

struct tmpl_value tmpl_eval_filter(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                                   struct tmpl_value text)
{
    return apply_filter(ctx, node, node->a ? tmpl_eval_filter(ctx, node->a, text) : text);
}

static struct tmpl_value eval_test(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value subject = tmpl_eval(ctx, node->a);
    struct tmpl_arguments arguments;

    if (!node->test)
        return tmpl_fail(ctx, STATUS_UNSUPPORTED, "The test '%.*s' is not known or not supported.",
                         (int)(node->value.len > 64 ? 64 : node->value.len), node->value.text);
    if (tmpl_failed(ctx) || !eval_arguments(ctx, node, NULL, &arguments))
        return subject;
    ctx->line = node->line;
    return tmpl_bool(tmpl_test_call(ctx, node->test, subject, &arguments));
}

/* --- operators --- */

static bool compare(struct tmpl_ctx *ctx, uint8_t op, const struct tmpl_value *a,
                    const struct tmpl_value *b)
{
    int order;

    switch (op) {
    case CMP_EQ:
        return tmpl_equal(ctx, a, b);
    case CMP_NE:
        return !tmpl_equal(ctx, a, b);
    case CMP_IN:
        return tmpl_contains(ctx, *b, *a);
    case CMP_NOT_IN:
        return !tmpl_contains(ctx, *b, *a);
    default:
        order = tmpl_order(ctx, a, b);
        return order != 2 && (op == CMP_LT   ? order < 0
                              : op == CMP_LE ? order <= 0
                              : op == CMP_GT ? order > 0
                                             : order >= 0);
    }
}

static struct tmpl_value eval_compare(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value left = tmpl_eval(ctx, node->a), right;

    for (const struct tmpl_node *operand = node->list; operand; operand = operand->next) {
        right = tmpl_eval(ctx, operand->a);
        ctx->line = node->line;
        if (tmpl_failed(ctx) || !compare(ctx, operand->op, &left, &right))
            return tmpl_bool(false);
        left = right;
    }
    return tmpl_bool(true);
}

static struct tmpl_value eval_concat(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    size_t mark = tmpl_mark(ctx);

    for (const struct tmpl_node *item = node->list; item && !tmpl_failed(ctx); item = item->next) {
        struct tmpl_value value = tmpl_eval(ctx, item);

        tmpl_put_str(ctx, &value);
    }
    return tmpl_take(ctx, mark);
}

static struct tmpl_value eval_cond(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value test = tmpl_eval(ctx, node->a);

    if (tmpl_failed(ctx))
        return test;
    if (tmpl_truth(ctx, &test))
        return tmpl_eval(ctx, node->b);
    if (node->c)
        return tmpl_eval(ctx, node->c);
    return tmpl_undefined_hint(ctx, "the inline if-expression evaluated to false and no else "
                                    "section was defined.");
}

static struct tmpl_value eval_logic(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value left = tmpl_eval(ctx, node->a);

    if (tmpl_failed(ctx) || tmpl_truth(ctx, &left) == (node->kind == NODE_OR))
        return left;
    return tmpl_eval(ctx, node->b);
}

static struct tmpl_value eval_binary(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value left = tmpl_eval(ctx, node->a), right = tmpl_eval(ctx, node->b);

    ctx->line = node->line;
    if (tmpl_failed(ctx))
        return left;
    return tmpl_binary(ctx, (enum tmpl_operator)node->op, left, right);
}

static struct tmpl_value eval_unary(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value value = tmpl_eval(ctx, node->a);

    ctx->line = node->line;
    if (tmpl_failed(ctx))
        return value;
    if (node->kind == NODE_NOT)
        return tmpl_bool(!tmpl_truth(ctx, &value));
    return tmpl_negate(ctx, value, node->kind == NODE_NEG);
}

static struct tmpl_value eval_kind(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value value;

    switch (node->kind) {
    case NODE_CONST:
        return node->value;
    case NODE_NAME:
        return eval_name(ctx, node);
    case NODE_TUPLE:
    case NODE_LIST:
        return eval_items(ctx, node);
    case NODE_DICT:
        return eval_dict(ctx, node);
    case NODE_GETATTR:
        value = tmpl_eval(ctx, node->a);
        ctx->line = node->line;
        return tmpl_failed(ctx) ? value
                                : tmpl_getattr(ctx, value, node->value.text, node->value.len);
    case NODE_GETITEM:
        return eval_item(ctx, node);
    case NODE_CALL:
        return tmpl_eval_call(ctx, node, NULL);
    case NODE_FILTER:
        return apply_filter(ctx, node, tmpl_eval(ctx, node->a));
    case NODE_TEST:
        return eval_test(ctx, node);
    case NODE_AND:
    case NODE_OR:
        return eval_logic(ctx, node);
    case NODE_BINARY:
        return eval_binary(ctx, node);
    case NODE_CONCAT:
        return eval_concat(ctx, node);
    case NODE_COMPARE:
        return eval_compare(ctx, node);
    case NODE_COND:
        return eval_cond(ctx, node);
    default: /* NODE_NOT, NODE_NEG, NODE_POS */
        return eval_unary(ctx, node);
    }
}

struct tmpl_value tmpl_eval(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value value = {.kind = TMPL_UNDEFINED};

    if (!tmpl_charge(ctx, 1) || !tmpl_enter(ctx))
        return value;
    ctx->line = node->line;
    value = eval_kind(ctx, node);
    tmpl_leave(ctx);
    return value;
}
