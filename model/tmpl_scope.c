/* The scope pass: decides for every name which variable it means. Jinja decides this before a
 * template runs, from its text alone: a body that assigns a name anywhere has its own variable of
 * that name, which starts as a copy of the outer one (so assignments in a loop do not reach out of
 * it), and a name that is only read means the nearest outer variable, or the render's input.
 *
 * Each body is walked twice: `collect` finds what it reads and assigns itself, then `bind` gives
 * the names their slots and goes into the bodies inside. */
#include "model/tmpl_ast.h"

#include <string.h>

struct binding {
    struct tmpl_load load;
    struct tmpl_value name;
};

/* A function under construction, known by its parent for counting hops. */
struct function {
    struct function *parent;
    uint32_t n_slots;
};

struct scope {
    struct tmpl_compile *compile;
    struct scope *parent;
    struct function *function;
    struct binding *bindings; /* [cap] */
    uint32_t n, cap;
    uint32_t conditional; /* inside an if, which may leave an assignment out */
    uint32_t n_for;       /* loops around this place, across functions */
};

static bool same_name(const struct tmpl_value *a, const struct tmpl_value *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static bool name_is(const struct tmpl_value *name, const char *text)
{
    return name->len == strlen(text) && memcmp(name->text, text, name->len) == 0;
}

static struct binding *find_here(struct scope *scope, const struct tmpl_value *name)
{
    scope->compile->compared += scope->n;
    if (scope->compile->compared > TMPL_COMPARED_MAX)
        tmpl_fail_compile(scope->compile, STATUS_TOO_BIG, 0,
                          "The template has too many variables in too many places.");
    for (uint32_t i = 0; i < scope->n && scope->compile->status == STATUS_OK; i++) {
        if (same_name(&scope->bindings[i].name, name))
            return &scope->bindings[i];
    }
    return NULL;
}

/* The variable that `name` means in this scope; *slot is how to get there. */
static bool find(struct scope *scope, const struct tmpl_value *name, struct tmpl_slot *slot)
{
    uint16_t hops = 0;

    for (struct scope *at = scope; at; at = at->parent) {
        struct binding *binding = find_here(at, name);

        if (binding) {
            *slot = (struct tmpl_slot){.hops = hops, .idx = binding->load.idx};
            return true;
        }
        if (at->parent && at->parent->function != at->function)
            hops++;
    }
    return false;
}

static uint16_t add(struct scope *scope, const struct tmpl_value *name, enum tmpl_load_kind kind,
                    struct tmpl_slot from)
{
    struct tmpl_compile *compile = scope->compile;
    struct binding *binding;

    if (scope->n >= TMPL_NAMES_MAX || scope->function->n_slots >= UINT16_MAX) {
        tmpl_fail_compile(compile, STATUS_TOO_BIG, 0,
                          "The template has more than %d variables in one place.", TMPL_NAMES_MAX);
        return 0;
    }
    if (scope->n == scope->cap) {
        uint32_t cap = scope->cap ? scope->cap * 2 : 8;
        struct binding *grown = arena_alloc_zero(compile->arena, cap, sizeof(*grown));

        if (!grown) {
            tmpl_fail_compile(compile, STATUS_NO_MEMORY, 0, "Out of memory.");
            return 0;
        }
        if (scope->n)
            memcpy(grown, scope->bindings, scope->n * sizeof(*grown));
        scope->bindings = grown;
        scope->cap = cap;
    }
    binding = &scope->bindings[scope->n++];
    binding->name = *name;
    binding->load = (struct tmpl_load){.kind = (uint8_t)kind,
                                       .idx = (uint16_t)scope->function->n_slots++,
                                       .from = from,
                                       .name = *name};
    return binding->load.idx;
}

static void note_load(struct scope *scope, const struct tmpl_node *node)
{
    struct tmpl_slot slot;

    if (find(scope, &node->value, &slot))
        return;
    if (name_is(&node->value, "self"))
        tmpl_fail_compile(scope->compile, STATUS_UNSUPPORTED, node->line,
                          "The variable 'self' is not supported in chat templates.");
    add(scope, &node->value, LOAD_RESOLVE, (struct tmpl_slot){0});
}

static void note_store(struct scope *scope, const struct tmpl_node *node)
{
    struct tmpl_slot outer = {0};

    if (find_here(scope, &node->value))
        return;
    if (scope->parent && find(scope, &node->value, &outer))
        add(scope, &node->value, LOAD_ALIAS, outer);
    else
        add(scope, &node->value, scope->conditional ? LOAD_RESOLVE : LOAD_UNDEFINED,
            (struct tmpl_slot){0});
}

/* A parameter hides whatever had its name. */
static uint16_t declare(struct scope *scope, const struct tmpl_value *name)
{
    struct binding *known = find_here(scope, name);

    return known ? known->load.idx : add(scope, name, LOAD_PARAMETER, (struct tmpl_slot){0});
}

static void declare_target(struct scope *scope, const struct tmpl_node *target)
{
    if (target->kind == NODE_NAME)
        declare(scope, &target->value);
    for (const struct tmpl_node *item = target->list; item; item = item->next)
        declare_target(scope, item);
}

static void collect_expression(struct scope *scope, const struct tmpl_node *node)
{
    for (; node; node = node->next) {
        if (node->kind == NODE_NAME) {
            if (node->op == NAME_LOAD)
                note_load(scope, node);
            else
                note_store(scope, node);
            continue;
        }
        collect_expression(scope, node->a);
        collect_expression(scope, node->b);
        collect_expression(scope, node->c);
        collect_expression(scope, node->list);
        collect_expression(scope, node->more);
    }
}

/* One node without its siblings. */
static void collect_one(struct scope *scope, struct tmpl_node *node)
{
    struct tmpl_node *next;

    if (!node)
        return;
    next = node->next;
    node->next = NULL;
    collect_expression(scope, node);
    node->next = next;
}

static void collect(struct scope *scope, struct tmpl_node *node)
{
    for (; node; node = node->next) {
        switch (node->kind) {
        case NODE_OUTPUT:
            collect_one(scope, node->a);
            break;
        case NODE_IF:
            for (struct tmpl_node *branch = node->list; branch; branch = branch->next) {
                collect_one(scope, branch->a);
                scope->conditional++;
                collect(scope, branch->list);
                scope->conditional--;
            }
            break;
        case NODE_SET:
            collect_one(scope, node->b);
            collect_one(scope, node->a);
            break;
        case NODE_SET_BLOCK:
        case NODE_MACRO:
            collect_one(scope, node->a);
            break;
        case NODE_FOR:
        case NODE_FILTER_BLOCK:
        case NODE_CALL_BLOCK:
            collect_one(scope, node->b);
            break;
        case NODE_WITH:
            for (struct tmpl_node *pair = node->more; pair; pair = pair->next)
                collect_one(scope, pair->b);
            break;
        default:
            break;
        }
    }
}

static void bind(struct scope *scope, struct tmpl_node *node);

static void bind_expression(struct scope *scope, struct tmpl_node *node)
{
    for (; node; node = node->next) {
        if (node->kind == NODE_NAME) {
            if (!find(scope, &node->value, &node->slot))
                tmpl_fail_compile(scope->compile, STATUS_INTERNAL, node->line,
                                  "The name '%.*s' has no variable.", (int)node->value.len,
                                  node->value.text);
            continue;
        }
        bind_expression(scope, node->a);
        bind_expression(scope, node->b);
        bind_expression(scope, node->c);
        bind_expression(scope, node->list);
        bind_expression(scope, node->more);
    }
}

static void bind_one(struct scope *scope, struct tmpl_node *node)
{
    struct tmpl_node *next;

    if (!node)
        return;
    next = node->next;
    node->next = NULL;
    bind_expression(scope, node);
    node->next = next;
}

static void refuse_loop(const struct scope *scope, const struct tmpl_node *target)
{
    if (target->kind == NODE_NAME && name_is(&target->value, "loop"))
        tmpl_fail_compile(scope->compile, STATUS_MALFORMED, target->line,
                          "The special variable 'loop' cannot be assigned inside a loop.");
    for (const struct tmpl_node *item = target->list; item; item = item->next)
        refuse_loop(scope, item);
}

/* A scope inside `parent`, in `function`. */
static struct scope open_scope(struct scope *parent, struct function *function)
{
    return (struct scope){
        .compile = parent->compile, .parent = parent, .function = function, .n_for = parent->n_for};
}

/* What entering the scope has to do; parameters need nothing. */
static struct tmpl_scope close_scope(struct scope *scope)
{
    struct tmpl_scope result = {0};
    struct tmpl_load *loads = arena_alloc_zero(scope->compile->arena, scope->n, sizeof(*loads));

    if (!loads) {
        tmpl_fail_compile(scope->compile, STATUS_NO_MEMORY, 0, "Out of memory.");
        return result;
    }
    for (uint32_t i = 0; i < scope->n; i++)
        loads[i] = scope->bindings[i].load;
    result.n = (uint16_t)scope->n;
    result.loads = loads;
    return result;
}

static void *make(struct scope *scope, size_t bytes)
{
    void *made = arena_alloc_zero(scope->compile->arena, 1, bytes);

    if (!made)
        tmpl_fail_compile(scope->compile, STATUS_NO_MEMORY, 0, "Out of memory.");
    return made;
}

static struct tmpl_node *copy_target(struct tmpl_compile *compile, const struct tmpl_node *target)
{
    struct tmpl_node *copy = tmpl_node_new(compile, target->kind, target->line), **tail;

    copy->value = target->value;
    copy->op = target->op;
    tail = &copy->list;
    for (const struct tmpl_node *item = target->list; item; item = item->next) {
        *tail = copy_target(compile, item);
        if (compile->status != STATUS_OK)
            break;
        tail = &(*tail)->next;
    }
    return copy;
}

/* The filter of a loop runs as a function of its own, with its own copy of the target. */
static struct tmpl_code *bind_loop_test(struct scope *scope, struct tmpl_node *node)
{
    struct tmpl_code *code = make(scope, sizeof(*code));
    struct function function = {.parent = scope->function};
    struct scope inner = open_scope(scope, &function);

    if (!code)
        return NULL;
    node->test_target = copy_target(scope->compile, node->a);
    declare_target(&inner, node->test_target);
    collect_one(&inner, node->c);
    bind_one(&inner, node->test_target);
    bind_one(&inner, node->c);
    code->scope = close_scope(&inner);
    code->n_slots = (uint16_t)function.n_slots;
    return code;
}

static void bind_for(struct scope *scope, struct tmpl_node *node)
{
    static const struct tmpl_value loop_name = {.kind = TMPL_STRING, .len = 4, .text = "loop"};
    struct tmpl_loop_code *code = make(scope, sizeof(*code));
    struct scope body = open_scope(scope, scope->function);
    struct scope otherwise = open_scope(scope, scope->function);

    if (!code)
        return;
    node->loop = code;
    bind_one(scope, node->b);
    refuse_loop(scope, node->a);
    if (node->c)
        code->test = bind_loop_test(scope, node);
    body.n_for++;
    code->loop_idx = declare(&body, &loop_name);
    declare_target(&body, node->a);
    collect(&body, node->list);
    bind_one(&body, node->a);
    bind(&body, node->list);
    code->body_scope = close_scope(&body);
    otherwise.n_for++;
    collect(&otherwise, node->more);
    bind(&otherwise, node->more);
    code->else_scope = close_scope(&otherwise);
}

/* Whether the body reads `name` before it assigns it; the order is that of the text. */
static bool reads(const struct tmpl_node *node, const char *name, bool *assigned)
{
    for (; node && !*assigned; node = node->next) {
        if (node->kind == NODE_NAME && name_is(&node->value, name)) {
            if (node->op == NAME_LOAD)
                return true;
            *assigned = true;
        }
        if (reads(node->a, name, assigned) || reads(node->b, name, assigned) ||
            reads(node->c, name, assigned) || reads(node->list, name, assigned) ||
            reads(node->more, name, assigned))
            return true;
    }
    return false;
}

/* Declares the special name if the body reads it and no parameter has it. */
static bool declare_special(struct scope *scope, const struct tmpl_node *body, const char *name,
                            uint16_t *idx)
{
    struct tmpl_value value = tmpl_str(name, (uint32_t)strlen(name));
    bool assigned = false;

    if (!reads(body, name, &assigned) || find_here(scope, &value))
        return false;
    *idx = declare(scope, &value);
    return true;
}

static void bind_macro(struct scope *scope, struct tmpl_node *node)
{
    struct tmpl_code *code = make(scope, sizeof(*code));
    struct function function = {.parent = scope->function};
    struct scope inner = open_scope(scope, &function);
    bool assigned = false, reads_caller = reads(node->list, "caller", &assigned);

    if (!code)
        return;
    node->macro = code;
    for (struct tmpl_node *parameter = node->more; parameter; parameter = parameter->next) {
        if (find_here(&inner, &parameter->a->value))
            tmpl_fail_compile(scope->compile, STATUS_MALFORMED, parameter->line,
                              "Two parameters have the same name.");
        declare(&inner, &parameter->a->value);
        code->n_parameters++;
        if (name_is(&parameter->a->value, "caller")) {
            code->explicit_caller = true;
            if (reads_caller && !parameter->b)
                tmpl_fail_compile(scope->compile, STATUS_MALFORMED, parameter->line,
                                  "The special parameter 'caller' needs a default.");
        }
    }
    code->has_caller = declare_special(&inner, node->list, "caller", &code->caller_idx);
    code->has_kwargs = declare_special(&inner, node->list, "kwargs", &code->kwargs_idx);
    code->has_varargs = declare_special(&inner, node->list, "varargs", &code->varargs_idx);
    for (struct tmpl_node *parameter = node->more; parameter; parameter = parameter->next)
        collect_one(&inner, parameter->b);
    collect(&inner, node->list);
    for (struct tmpl_node *parameter = node->more; parameter; parameter = parameter->next)
        bind_one(&inner, parameter);
    bind(&inner, node->list);
    code->scope = close_scope(&inner);
    code->n_slots = (uint16_t)function.n_slots;
}

/* A body whose text is captured: set and filter blocks. */
static void bind_captured(struct scope *scope, struct tmpl_node *node)
{
    struct scope inner = open_scope(scope, scope->function);

    collect_one(&inner, node->b);
    collect(&inner, node->list);
    bind_one(&inner, node->b);
    bind(&inner, node->list);
    node->scope = make(scope, sizeof(*node->scope));
    if (node->scope)
        *node->scope = close_scope(&inner);
}

static void bind_with(struct scope *scope, struct tmpl_node *node)
{
    struct scope inner = open_scope(scope, scope->function);

    for (struct tmpl_node *pair = node->more; pair; pair = pair->next)
        declare_target(&inner, pair->a);
    collect(&inner, node->list);
    for (struct tmpl_node *pair = node->more; pair; pair = pair->next) {
        bind_one(&inner, pair->a);
        bind_one(scope, pair->b);
    }
    bind(&inner, node->list);
    node->scope = make(scope, sizeof(*node->scope));
    if (node->scope)
        *node->scope = close_scope(&inner);
}

static void bind_statement(struct scope *scope, struct tmpl_node *node)
{
    switch (node->kind) {
    case NODE_OUTPUT:
        bind_one(scope, node->a);
        break;
    case NODE_IF:
        for (struct tmpl_node *branch = node->list; branch; branch = branch->next) {
            bind_one(scope, branch->a);
            bind(scope, branch->list);
        }
        break;
    case NODE_SET:
    case NODE_SET_BLOCK:
        bind_one(scope, node->a);
        if (scope->n_for)
            refuse_loop(scope, node->a);
        if (node->kind == NODE_SET_BLOCK)
            bind_captured(scope, node);
        else
            bind_one(scope, node->b);
        break;
    case NODE_FOR:
        bind_for(scope, node);
        break;
    case NODE_FILTER_BLOCK:
        bind_captured(scope, node);
        break;
    case NODE_WITH:
        bind_with(scope, node);
        break;
    case NODE_MACRO:
        bind_one(scope, node->a);
        bind_macro(scope, node);
        break;
    case NODE_CALL_BLOCK:
        bind_one(scope, node->b);
        bind_macro(scope, node);
        break;
    case NODE_GENERATION:
        bind_macro(scope, node);
        break;
    default:
        break;
    }
}

static void bind(struct scope *scope, struct tmpl_node *node)
{
    for (; node && scope->compile->status == STATUS_OK; node = node->next)
        bind_statement(scope, node);
}

void tmpl_bind(struct tmpl_compile *compile, struct template *tmpl)
{
    struct function function = {0};
    struct scope scope = {.compile = compile, .function = &function};

    collect(&scope, tmpl->body);
    bind(&scope, tmpl->body);
    tmpl->code.scope = close_scope(&scope);
    tmpl->code.n_slots = (uint16_t)function.n_slots;
}
