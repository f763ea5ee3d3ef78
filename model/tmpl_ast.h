/* The tree that a template is compiled to, and the state of a compilation. The lexer, the parser
 * and the scope pass work on it one after the other; afterwards it is immutable. All of it lies in
 * the template's arena.
 *
 * Errors are sticky: the first one sets compile->status and writes *compile->error; from then on
 * the lexer gives only the end token, so every loop ends, and results are not looked at. */
#pragma once

#include "model/template.h"

/* Nodes inside nodes: bounds every recursion over the tree. */
#define TMPL_AST_DEPTH_MAX 200
/* Variables of one scope. */
#define TMPL_NAMES_MAX 1024
/* Names compared while finding out what they mean: some tenths of a second. */
#define TMPL_COMPARED_MAX (50u * 1000 * 1000)

enum tmpl_node_kind {
    /* expressions */
    NODE_CONST,   /* value */
    NODE_NAME,    /* value: name; op: enum tmpl_name_use; slot */
    NODE_NSREF,   /* value: attribute; a: the NAME of the namespace */
    NODE_TUPLE,   /* list */
    NODE_LIST,    /* list */
    NODE_DICT,    /* list of PAIR */
    NODE_PAIR,    /* a: key, b: value */
    NODE_GETATTR, /* a, value: name */
    NODE_GETITEM, /* a, b (perhaps a SLICE) */
    NODE_SLICE,   /* a, b, c: each may be NULL */
    NODE_CALL,    /* a, list, more: KEYWORDs, b: *args, c: **kwargs */
    NODE_FILTER,  /* a (NULL: the block's text), value: name, filter; arguments as CALL */
    NODE_TEST,    /* the same with test */
    NODE_KEYWORD, /* value: name, a */
    NODE_NOT,     /* a */
    NODE_NEG,
    NODE_POS,
    NODE_AND, /* a, b */
    NODE_OR,
    NODE_BINARY,  /* op: enum tmpl_operator, a, b */
    NODE_CONCAT,  /* list */
    NODE_COMPARE, /* a, list of OPERAND */
    NODE_OPERAND, /* op: enum tmpl_comparison, a */
    NODE_COND,    /* a: test, b: then, c: else or NULL */
    /* statements */
    NODE_DATA,         /* value */
    NODE_OUTPUT,       /* a */
    NODE_IF,           /* list of BRANCH */
    NODE_BRANCH,       /* a: test (NULL: else), list: body */
    NODE_FOR,          /* a: target, b: what, c: test, list: body, more: else, loop */
    NODE_SET,          /* a: target, b */
    NODE_SET_BLOCK,    /* a: target, b: filter or NULL, list: body, scope */
    NODE_FILTER_BLOCK, /* b: filter, list: body, scope */
    NODE_WITH,         /* list: body, more: PAIRs (target, value), scope */
    NODE_MACRO,        /* a: NAME, more: parameters, list: body, macro */
    NODE_PARAMETER,    /* a: NAME, b: default or NULL */
    NODE_CALL_BLOCK,   /* b: the call, more: parameters, list: body, macro */
    NODE_GENERATION,   /* list: body, macro (without parameters) */
    NODE_BREAK,
    NODE_CONTINUE,
};

enum tmpl_name_use { NAME_LOAD, NAME_STORE };
enum tmpl_operator { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW };
enum tmpl_comparison { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_IN, CMP_NOT_IN };

/* Where a variable lives: `hops` functions outwards, then slot `idx` of that activation. */
struct tmpl_slot {
    uint16_t hops;
    uint16_t idx;
};

/* What happens to a slot when its scope is entered. */
enum tmpl_load_kind {
    LOAD_PARAMETER, /* nothing: whoever enters has set it */
    LOAD_RESOLVE,   /* looked up by name among the render's variables */
    LOAD_ALIAS,     /* copied from an outer scope */
    LOAD_UNDEFINED, /* unset until the first assignment */
};

struct tmpl_load {
    uint8_t kind;
    uint16_t idx;
    struct tmpl_slot from;  /* of LOAD_ALIAS */
    struct tmpl_value name; /* of LOAD_RESOLVE */
};

struct tmpl_scope {
    uint16_t n;
    struct tmpl_load *loads; /* [n] */
};

/* A function: the template itself, a macro, the body of a call block, the test of a loop. */
struct tmpl_code {
    uint16_t n_slots;
    uint16_t n_parameters;
    struct tmpl_scope scope;
    /* Slots of the special names, if the body reads them: */
    bool has_caller, has_kwargs, has_varargs, explicit_caller;
    uint16_t caller_idx, kwargs_idx, varargs_idx;
};

struct tmpl_loop_code {
    struct tmpl_scope body_scope, else_scope;
    uint16_t loop_idx;
    struct tmpl_code *test; /* of the loop's filter, or NULL; its target is test_target */
};

struct tmpl_node {
    uint8_t kind;
    uint8_t op;
    uint16_t depth;
    uint32_t line;
    struct tmpl_slot slot;
    struct tmpl_node *next; /* the following one in a list */
    struct tmpl_node *a, *b, *c, *list, *more;
    struct tmpl_value value;
    union {
        const struct tmpl_filter *filter;
        const struct tmpl_test *test;
        struct tmpl_scope *scope;
        struct tmpl_code *macro;
        struct tmpl_loop_code *loop;
    };
    struct tmpl_node *test_target; /* FOR: the target again, bound inside the test's function */
};

struct template
{
    struct arena *arena;
    struct tmpl_node *body;
    struct tmpl_code code;
};

enum tmpl_token_kind {
    TOKEN_EOF,
    TOKEN_DATA,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_ADD,
    TOKEN_SUB,
    TOKEN_MUL,
    TOKEN_DIV,
    TOKEN_FLOORDIV,
    TOKEN_MOD,
    TOKEN_POW,
    TOKEN_TILDE,
    TOKEN_LBRACKET,
    TOKEN_RBRACKET,
    TOKEN_LPAREN,
    TOKEN_RPAREN,
    TOKEN_LBRACE,
    TOKEN_RBRACE,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_GT,
    TOKEN_GE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_ASSIGN,
    TOKEN_DOT,
    TOKEN_COLON,
    TOKEN_PIPE,
    TOKEN_COMMA,
    TOKEN_SEMICOLON,
};

struct tmpl_token {
    uint8_t kind;
    uint32_t line;
    struct tmpl_value value; /* DATA, NAME, STRING: text; INTEGER, FLOAT: number */
};

struct tmpl_lexer {
    const char *source; /* [len], line ends made \n, the last one cut */
    size_t len, pos;
    uint32_t line;
    uint8_t state; /* TOKEN_DATA, TOKEN_BLOCK_BEGIN or TOKEN_VARIABLE_BEGIN */
    bool line_starting;
    uint8_t begin_after_data; /* the kind of the begin token that follows the data, or 0 */
    size_t begin_len;
    uint32_t n_open;
    char open[TMPL_AST_DEPTH_MAX]; /* closing brackets awaited */
};

struct tmpl_compile {
    struct arena *arena;
    struct template_error *error;
    enum status status;
    struct tmpl_lexer lexer;
    struct tmpl_token token, ahead; /* the current token and the one after it */
    uint32_t depth;                 /* of the parser's recursion */
    uint32_t soft;                  /* inside an if: unknown filters fail only when reached */
    uint32_t loops;                 /* around this place, inside this function */
    uint64_t compared;              /* names compared by the scope pass */
    struct tmpl_node spare;         /* stands in for nodes once memory is out */
};

/* Records the first error. `status` is MALFORMED, UNSUPPORTED, TOO_BIG or NO_MEMORY. */
__attribute__((format(printf, 4, 5))) void tmpl_fail_compile(struct tmpl_compile *compile,
                                                             enum status status, uint32_t line,
                                                             const char *fmt, ...);

/* Prepares the source. */
void tmpl_lexer_start(struct tmpl_compile *compile, const char *source, size_t len);

/* The next token; the end token for ever after an error. */
struct tmpl_token tmpl_lexer_next(struct tmpl_compile *compile);

/* A token kind in words. */
const char *tmpl_token_name(uint8_t kind);

/* The parser's common ground. */
void tmpl_advance(struct tmpl_compile *compile);
bool tmpl_accept(struct tmpl_compile *compile, uint8_t kind);
bool tmpl_accept_name(struct tmpl_compile *compile, const char *name);
bool tmpl_at_name(const struct tmpl_compile *compile, const char *name);
struct tmpl_token tmpl_expect(struct tmpl_compile *compile, uint8_t kind);
/* Zeroed but for these fields; never NULL. */
struct tmpl_node *tmpl_node_new(struct tmpl_compile *compile, uint8_t kind, uint32_t line);
/* Takes the children's depth into account; refuses what is nested too deep. */
struct tmpl_node *tmpl_node_close(struct tmpl_compile *compile, struct tmpl_node *node);

/* Expressions (tmpl_parse_expr.c). All return a node, also after an error. */
struct tmpl_node *tmpl_parse_expression(struct tmpl_compile *compile, bool with_condition);
struct tmpl_node *tmpl_parse_tuple(struct tmpl_compile *compile, bool with_condition);
struct tmpl_node *tmpl_parse_target(struct tmpl_compile *compile, bool with_namespace);
/* "name(args)|name2...", applied to `node`, or to a block's text where that is NULL. The current
 * token is the first filter's name if `at_name`, else perhaps a '|'. */
struct tmpl_node *tmpl_parse_filters(struct tmpl_compile *compile, struct tmpl_node *node,
                                     bool at_name);

/* The whole template. */
struct tmpl_node *tmpl_parse(struct tmpl_compile *compile);

/* Gives every name its slot and every scope its loads. */
void tmpl_bind(struct tmpl_compile *compile, struct template *tmpl);
