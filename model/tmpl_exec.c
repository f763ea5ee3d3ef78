/* Statements: walks the tree of a template's body and puts its text. */
#include "model/tmpl_eval.h"

#include <string.h>

/* How a body ended. */
enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow exec_body(struct tmpl_ctx *ctx, const struct tmpl_node *node);

static struct tmpl_value resolve(struct tmpl_ctx *ctx, const struct tmpl_value *name)
{
    const struct tmpl_value *found = tmpl_dict_get(ctx->vars, name);

    return found ? *found : tmpl_global_find(name->text, name->len);
}

static void enter_scope(struct tmpl_ctx *ctx, const struct tmpl_scope *scope)
{
    tmpl_charge(ctx, scope->n);
    for (uint16_t i = 0; i < scope->n; i++) {
        const struct tmpl_load *load = &scope->loads[i];
        struct tmpl_value *slot = &ctx->frame->slots[load->idx];

        if (load->kind == LOAD_RESOLVE)
            *slot = resolve(ctx, &load->name);
        else if (load->kind == LOAD_ALIAS)
            *slot = *tmpl_variable(ctx, load->from);
        else if (load->kind == LOAD_UNDEFINED)
            *slot = tmpl_missing();
    }
}

/* Macros made inside must not see what was there, as in Python. */
static void leave_scope(struct tmpl_ctx *ctx, const struct tmpl_scope *scope)
{
    for (uint16_t i = 0; i < scope->n; i++)
        ctx->frame->slots[scope->loads[i].idx] = tmpl_missing();
}

static struct tmpl_frame *make_frame(struct tmpl_ctx *ctx, const struct tmpl_code *code,
                                     struct tmpl_frame *parent)
{
    struct tmpl_frame *frame =
        tmpl_alloc(ctx, 1, sizeof(*frame) + code->n_slots * sizeof(frame->slots[0]));

    if (!frame)
        return NULL;
    frame->parent = parent;
    for (uint16_t i = 0; i < code->n_slots; i++)
        frame->slots[i] = tmpl_missing();
    return frame;
}

/* --- assignment --- */

static void assign(struct tmpl_ctx *ctx, const struct tmpl_node *target, struct tmpl_value value);

/* Gives each target of a tuple its item; Python wants exactly as many. */
static void unpack(struct tmpl_ctx *ctx, const struct tmpl_node *target, struct tmpl_value value)
{
    struct tmpl_iter *iter;
    struct tmpl_value item;

    if (value.kind == TMPL_ITER || !tmpl_is_iterable(&value))
        iter = tmpl_iterate(ctx, value);
    else
        iter = tmpl_iterate(ctx, tmpl_to_list(ctx, value));
    for (const struct tmpl_node *each = target->list; iter && each; each = each->next) {
        if (!tmpl_iter_next(ctx, iter, &item)) {
            tmpl_fail(ctx, STATUS_INVALID, "There are fewer values than names to unpack into.");
            return;
        }
        assign(ctx, each, item);
    }
    if (iter && tmpl_iter_next(ctx, iter, &item))
        tmpl_fail(ctx, STATUS_INVALID, "There are more values than names to unpack into.");
}

static void assign(struct tmpl_ctx *ctx, const struct tmpl_node *target, struct tmpl_value value)
{
    struct tmpl_value *space;

    if (tmpl_failed(ctx))
        return;
    switch (target->kind) {
    case NODE_NAME:
        *tmpl_variable(ctx, target->slot) = value;
        break;
    case NODE_TUPLE:
        unpack(ctx, target, value);
        break;
    default: /* NODE_NSREF */
        space = tmpl_variable(ctx, target->a->slot);
        if (space->kind != TMPL_NAMESPACE)
            tmpl_fail(ctx, STATUS_INVALID, "cannot assign attribute on non-namespace object");
        else
            tmpl_namespace_set(ctx, space->object, target->value, value);
    }
}

/* jinja2 looks at the namespaces of a target before it evaluates the value. */
static void check_namespaces(struct tmpl_ctx *ctx, const struct tmpl_node *target)
{
    if (target->kind == NODE_NSREF && tmpl_variable(ctx, target->a->slot)->kind != TMPL_NAMESPACE)
        tmpl_fail(ctx, STATUS_INVALID, "cannot assign attribute on non-namespace object");
    for (const struct tmpl_node *item = target->list; item; item = item->next)
        check_namespaces(ctx, item);
}

/* --- blocks that capture text --- */

/* Runs the body of a set or filter block; false if a break or continue leaves it, and then its
 * text is gone. */
static bool capture(struct tmpl_ctx *ctx, const struct tmpl_node *node, enum flow *flow,
                    struct tmpl_value *out)
{
    size_t mark = tmpl_mark(ctx);

    enter_scope(ctx, node->scope);
    *flow = exec_body(ctx, node->list);
    if (*flow != FLOW_ON) {
        ctx->out_len = mark;
        return false;
    }
    *out = tmpl_take(ctx, mark);
    return !tmpl_failed(ctx);
}

static enum flow exec_set_block(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value text;
    enum flow flow;

    if (!capture(ctx, node, &flow, &text))
        return flow;
    if (node->b)
        text = tmpl_eval_filter(ctx, node->b, text);
    assign(ctx, node->a, text);
    leave_scope(ctx, node->scope);
    return FLOW_ON;
}

static enum flow exec_filter_block(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value text;
    enum flow flow;

    if (!capture(ctx, node, &flow, &text))
        return flow;
    text = tmpl_eval_filter(ctx, node->b, text);
    tmpl_put_str(ctx, &text);
    leave_scope(ctx, node->scope);
    return FLOW_ON;
}

/* --- macros --- */

static struct tmpl_value make_macro(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_macro *macro = tmpl_alloc(ctx, 1, sizeof(*macro));

    if (macro)
        *macro =
            (struct tmpl_macro){.name = node->kind == NODE_MACRO ? node->a->value : tmpl_none(),
                                .code = node->macro,
                                .parameters = node->more,
                                .body = node->list,
                                .frame = ctx->frame};
    return (struct tmpl_value){.kind = TMPL_MACRO, .object = macro};
}

static const struct tmpl_pair *find_named(const struct tmpl_arguments *arguments,
                                          const struct tmpl_value *name)
{
    for (uint32_t i = 0; i < arguments->n_named; i++) {
        if (tmpl_key_compare(&arguments->named[i].key, name) == 0)
            return &arguments->named[i];
    }
    return NULL;
}

static bool is_parameter(const struct tmpl_node *parameter, uint32_t skipped,
                         const struct tmpl_value *name)
{
    for (; parameter; parameter = parameter->next) {
        if (skipped)
            skipped--;
        else if (tmpl_key_compare(&parameter->a->value, name) == 0)
            return true;
    }
    return false;
}

/* Sets `kwargs`, or refuses what no parameter takes. Names of parameters already given by position
 * stay over, as jinja2 has it. */
static void take_extra_named(struct tmpl_ctx *ctx, const struct tmpl_macro *macro,
                             const struct tmpl_arguments *arguments, bool caller_taken)
{
    static const struct tmpl_value caller = {.kind = TMPL_STRING, .len = 6, .text = "caller"};
    struct tmpl_pair *extra = tmpl_alloc(ctx, arguments->n_named, sizeof(*extra));
    uint32_t n = 0;

    if (!extra)
        return;
    for (uint32_t i = 0; i < arguments->n_named; i++) {
        const struct tmpl_value *name = &arguments->named[i].key;

        if (!is_parameter(macro->parameters, arguments->n, name) &&
            !(caller_taken && tmpl_key_compare(name, &caller) == 0))
            extra[n++] = arguments->named[i];
    }
    if (macro->code->has_kwargs)
        ctx->frame->slots[macro->code->kwargs_idx] = tmpl_make_dict(ctx, extra, n);
    else if (n)
        tmpl_fail(ctx, STATUS_INVALID, "The macro takes no keyword argument '%.*s'.",
                  (int)extra[0].key.len, extra[0].key.text);
}

/* Puts the arguments into the new frame, which is already current. */
static void take_arguments(struct tmpl_ctx *ctx, const struct tmpl_macro *macro,
                           const struct tmpl_arguments *arguments)
{
    static const struct tmpl_value caller_name = {.kind = TMPL_STRING, .len = 6, .text = "caller"};
    const struct tmpl_code *code = macro->code;
    struct tmpl_value *slots = ctx->frame->slots;
    const struct tmpl_pair *named;
    uint32_t i = 0;

    for (const struct tmpl_node *parameter = macro->parameters; parameter;
         parameter = parameter->next, i++) {
        struct tmpl_value *slot = &slots[parameter->a->slot.idx];

        named = find_named(arguments, &parameter->a->value);
        if (i < arguments->n)
            *slot = arguments->values[i];
        else if (named)
            *slot = named->value;
    }
    if (code->has_caller) {
        named = find_named(arguments, &caller_name);
        slots[code->caller_idx] =
            named ? named->value : tmpl_undefined_hint(ctx, "No caller defined");
    }
    take_extra_named(ctx, macro, arguments, code->has_caller);
    if (code->has_varargs)
        slots[code->varargs_idx] =
            tmpl_make_list(ctx, arguments->n > i ? arguments->values + i : NULL,
                           arguments->n > i ? arguments->n - i : 0, TMPL_TUPLE);
    else if (arguments->n > i)
        tmpl_fail(ctx, STATUS_INVALID, "The macro takes not more than %u arguments.", i);
}

static void take_defaults(struct tmpl_ctx *ctx, const struct tmpl_macro *macro)
{
    for (const struct tmpl_node *parameter = macro->parameters; parameter && !tmpl_failed(ctx);
         parameter = parameter->next) {
        struct tmpl_value *slot = &ctx->frame->slots[parameter->a->slot.idx];

        if (slot->kind != TMPL_MISSING)
            continue;
        if (parameter->b)
            *slot = tmpl_eval(ctx, parameter->b);
        else
            *slot = tmpl_undefined_hint(ctx, "A parameter of the macro was not provided.");
    }
}

struct tmpl_value tmpl_macro_call(struct tmpl_ctx *ctx, const struct tmpl_macro *macro,
                                  const struct tmpl_arguments *arguments)
{
    struct tmpl_frame *caller_frame = ctx->frame;
    size_t mark = tmpl_mark(ctx);
    struct tmpl_value text = tmpl_text("");

    if (!tmpl_enter(ctx))
        return text;
    ctx->frame = make_frame(ctx, macro->code, macro->frame);
    if (ctx->frame) {
        take_arguments(ctx, macro, arguments);
        enter_scope(ctx, &macro->code->scope);
        take_defaults(ctx, macro);
        exec_body(ctx, macro->body);
        text = tmpl_take(ctx, mark);
    }
    ctx->frame = caller_frame;
    tmpl_leave(ctx);
    return text;
}

static void exec_call_block(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value caller = make_macro(ctx, node), text;

    text = tmpl_eval_call(ctx, node->b, &caller);
    tmpl_put_str(ctx, &text);
}

static void exec_generation(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    static const struct tmpl_arguments none = {0};
    struct tmpl_value body = make_macro(ctx, node), text;

    if (tmpl_failed(ctx))
        return;
    text = tmpl_macro_call(ctx, body.object, &none);
    tmpl_put_str(ctx, &text);
}

/* --- loops --- */

bool tmpl_filtered_next(struct tmpl_ctx *ctx, struct tmpl_iter *iter, struct tmpl_value *out)
{
    const struct tmpl_node *loop = iter->loop;
    struct tmpl_frame *frame = ctx->frame;
    struct tmpl_value item, taken;
    bool found = false;

    while (!found && tmpl_iter_next(ctx, iter->source, &item)) {
        ctx->frame = iter->frame;
        if (loop->test_target->kind == NODE_TUPLE && item.kind != TMPL_TUPLE)
            item = tmpl_to_list(ctx, item);
        assign(ctx, loop->test_target, item);
        taken = tmpl_eval(ctx, loop->c);
        found = tmpl_truth(ctx, &taken) && !tmpl_failed(ctx);
        ctx->frame = frame;
    }
    if (found && loop->test_target->kind == NODE_TUPLE) /* what Python's generator gives */
        item = tmpl_make_list(ctx, item.items, item.len, TMPL_TUPLE);
    if (found)
        *out = item;
    return found;
}

static struct tmpl_iter *filter_source(struct tmpl_ctx *ctx, const struct tmpl_node *node,
                                       struct tmpl_iter *source)
{
    struct tmpl_iter *iter = tmpl_alloc(ctx, 1, sizeof(*iter));
    struct tmpl_frame *frame = ctx->frame;

    if (!iter)
        return NULL;
    *iter = (struct tmpl_iter){.kind = ITER_FILTERED, .source = source, .loop = node};
    iter->frame = make_frame(ctx, node->loop->test, frame);
    if (!iter->frame)
        return NULL;
    ctx->frame = iter->frame;
    enter_scope(ctx, &node->loop->test->scope);
    ctx->frame = frame;
    return iter;
}

/* Whether one pass of the body came to its end; that decides about the else. */
static bool run_loop(struct tmpl_ctx *ctx, const struct tmpl_node *node, struct tmpl_loop *loop,
                     const struct tmpl_value *loop_value)
{
    const struct tmpl_loop_code *code = node->loop;
    bool completed = false;

    while (tmpl_loop_next(ctx, loop)) {
        enum flow flow;

        ctx->frame->slots[code->loop_idx] = *loop_value;
        assign(ctx, node->a, loop->current);
        enter_scope(ctx, &code->body_scope);
        flow = exec_body(ctx, node->list);
        completed = completed || flow == FLOW_ON;
        if (flow == FLOW_BREAK || tmpl_failed(ctx))
            break;
    }
    leave_scope(ctx, &code->body_scope);
    return completed;
}

static enum flow exec_for(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value source = tmpl_eval(ctx, node->b);
    struct tmpl_loop *loop = tmpl_alloc(ctx, 1, sizeof(*loop));
    struct tmpl_value loop_value = {.kind = TMPL_LOOP, .object = loop};
    enum flow flow = FLOW_ON;

    if (!loop || tmpl_failed(ctx))
        return FLOW_ON;
    *loop = (struct tmpl_loop){.index0 = -1,
                               .length = -1,
                               .source = node->c ? tmpl_missing() : source,
                               .changed = tmpl_missing()};
    loop->iter = tmpl_iterate(ctx, source);
    if (node->c && loop->iter)
        loop->iter = filter_source(ctx, node, loop->iter);
    if (!loop->iter)
        return FLOW_ON;
    if (!run_loop(ctx, node, loop, &loop_value) && node->more && !tmpl_failed(ctx)) {
        enter_scope(ctx, &node->loop->else_scope);
        flow = exec_body(ctx, node->more);
        leave_scope(ctx, &node->loop->else_scope);
    }
    return flow;
}

/* --- the rest --- */

static enum flow exec_if(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    for (const struct tmpl_node *branch = node->list; branch; branch = branch->next) {
        struct tmpl_value test;

        if (!branch->a)
            return exec_body(ctx, branch->list);
        test = tmpl_eval(ctx, branch->a);
        if (tmpl_failed(ctx))
            return FLOW_ON;
        if (tmpl_truth(ctx, &test))
            return exec_body(ctx, branch->list);
    }
    return FLOW_ON;
}

static enum flow exec_with(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    enum flow flow;

    enter_scope(ctx, node->scope);
    for (const struct tmpl_node *pair = node->more; pair; pair = pair->next)
        assign(ctx, pair->a, tmpl_eval(ctx, pair->b));
    flow = exec_body(ctx, node->list);
    leave_scope(ctx, node->scope);
    return flow;
}

static enum flow exec_one(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    struct tmpl_value value;

    ctx->line = node->line;
    switch (node->kind) {
    case NODE_DATA:
        tmpl_put(ctx, node->value.text, node->value.len);
        return FLOW_ON;
    case NODE_OUTPUT:
        value = tmpl_eval(ctx, node->a);
        ctx->line = node->line;
        tmpl_put_str(ctx, &value);
        return FLOW_ON;
    case NODE_IF:
        return exec_if(ctx, node);
    case NODE_FOR:
        return exec_for(ctx, node);
    case NODE_SET:
        check_namespaces(ctx, node->a);
        assign(ctx, node->a, tmpl_eval(ctx, node->b));
        return FLOW_ON;
    case NODE_SET_BLOCK:
        return exec_set_block(ctx, node);
    case NODE_FILTER_BLOCK:
        return exec_filter_block(ctx, node);
    case NODE_WITH:
        return exec_with(ctx, node);
    case NODE_MACRO:
        assign(ctx, node->a, make_macro(ctx, node));
        return FLOW_ON;
    case NODE_CALL_BLOCK:
        exec_call_block(ctx, node);
        return FLOW_ON;
    case NODE_GENERATION:
        exec_generation(ctx, node);
        return FLOW_ON;
    case NODE_BREAK:
        return FLOW_BREAK;
    default: /* NODE_CONTINUE */
        return FLOW_CONTINUE;
    }
}

static enum flow exec_body(struct tmpl_ctx *ctx, const struct tmpl_node *node)
{
    enum flow flow = FLOW_ON;

    if (!tmpl_enter(ctx))
        return FLOW_ON;
    for (; node && flow == FLOW_ON && tmpl_charge(ctx, 1); node = node->next)
        flow = exec_one(ctx, node);
    tmpl_leave(ctx);
    return flow;
}

void tmpl_exec_template(struct tmpl_ctx *ctx, const struct template *tmpl)
{
    ctx->frame = make_frame(ctx, &tmpl->code, NULL);
    if (!ctx->frame)
        return;
    enter_scope(ctx, &tmpl->code.scope);
    exec_body(ctx, tmpl->body);
}
