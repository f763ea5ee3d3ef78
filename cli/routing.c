/* Opens tokenizer and chat template of the model, starts the router's shell, prints its status
 * lines, drains it. The oracle's text is the bytes themselves: one token, one byte. Of a checkpoint
 * only its text and the numbers of its config are read, never its weights. */
#include "cli/routing.h"

#include <string.h>

#include "base/log.h"
#include "base/rand.h"
#include "cli/chat_template.h"
#include "cli/http_keys.h"
#include "cli/version.h"
#include "model/tokenizer.h"
#include "router/shell.h"

#define PADDING_MAX 1024u /* ids of a vocabulary that a tokenizer need not have */

struct routing {
    struct process *process;
    struct tokenizer *tok;
    struct template *tmpl; /* NULL: the model is not made for chats */
    struct chat_template chat;
    struct wire_sampling defaults; /* of what a request leaves open */
    struct http_keys keys;         /* of HTTP */
    struct router_shell *shell;
};

static void on_ready(void *ctx, bool ready)
{
    const struct routing *routing = ctx;

    if (ready)
        LOG_INFO("router", "ready: a prefill and a decode node have verified a transfer");
    else if (routing->process->draining)
        LOG_INFO("router", "takes no more requests");
    else
        LOG_WARN("router", "not ready: no prefill and decode node that have verified a transfer");
    process_say(ready ? "ready" : "unready");
}

static void on_idle(void *ctx)
{
    struct routing *routing = ctx;

    LOG_INFO("router", "nothing is left, ends");
    process_end(routing->process, EXIT_DONE);
}

static void on_drain(void *ctx)
{
    struct routing *routing = ctx;

    router_shell_drain(routing->shell);
}

/* As other servers do it: a model's makers know which temperature suits it. Where they say that it
 * is not for sampling, that is temperature 0, whatever else the file says. */
static void fill_defaults(struct routing *routing)
{
    const struct model_generation *generation = &routing->process->served->generation;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    routing->defaults = msg.generate.sampling;
    routing->defaults.temperature =
        generation->do_sample_given && !generation->do_sample ? 0 : generation->temperature;
    routing->defaults.top_p = generation->top_p;
    routing->defaults.min_p = generation->min_p;
    routing->defaults.top_k = generation->top_k;
    routing->defaults.repetition_penalty = generation->repetition_penalty;
}

static enum status open_shell(struct routing *routing)
{
    struct process *process = routing->process;
    const struct fleet *fleet = process->fleet;
    struct router_shell_cfg cfg = {
        .core = fleet_router_cfg(fleet),
        .zctx = process->zctx,
        .numbers = &process->numbers,
        .nodes = process->node->listen,
        .clients = process->node->clients,
        .clients_max = (uint32_t)cfg_int(fleet->cfg, "router.clients_max"),
        .own = process->zap ? &process->own : NULL,
        .access_log = cfg_bool(fleet->cfg, "log.access"),
        .stats_ms = (uint32_t)cfg_ms(fleet->cfg, "router.stats"),
        .on_ready = on_ready,
        .on_idle = on_idle,
        .ctx = routing,
    };
    char why[ROUTER_SHELL_WHY_MAX];
    enum status status;

    fill_defaults(routing);
    if (process->node->http[0]) {
        cfg.http.address = process->node->http + strlen("tcp://");
        cfg.http.conns_max = cfg.clients_max;
        cfg.http.defaults = process->served->is_oracle ? NULL : &routing->defaults;
        cfg.http.root = process->served->is_oracle ? "oracle" : process->served->path;
        cfg.http.tools = tool_style_of_template((const char *)buf_data(&routing->chat.source),
                                                buf_len(&routing->chat.source));
        cfg.http.keys = routing->keys.at;
        cfg.http.n_keys = routing->keys.n;
    }
    cfg.core.self = process->incarnation;
    rand_entropy(cfg.core.key, sizeof(cfg.core.key));
    cfg.core.server = version_text();
    cfg.core.tok = routing->tok;
    cfg.core.tmpl = routing->tmpl;
    cfg.core.tmpl_vars = routing->chat.arena ? &routing->chat.tokens : NULL;
    cfg.core.model = process->served->name;
    cfg.core.defaults = process->served->is_oracle ? NULL : &routing->defaults;
    cfg.core.samples = !process->served->is_oracle && process->served->generation.do_sample;
    cfg.core.vocab = process->served->vocab;
    cfg.core.len_max = process->served->len_max;
    status = router_shell_open(&cfg, process->loop, &routing->shell, why);
    if (status == STATUS_OK)
        return STATUS_OK;
    process_complain("node '%s': %s", process->node->name, why);
    process->exit_code = status == STATUS_INVALID     ? EXIT_CONFIG
                         : status == STATUS_NO_MEMORY ? EXIT_FATAL
                                                      : EXIT_ADDRESS;
    return status;
}

/* ---- the model's text ---- */

static enum status open_template(struct routing *routing, const char *folder)
{
    char why[CHAT_TEMPLATE_WHY_MAX];
    enum status status = chat_template_read(folder, &routing->chat, why);

    if (status != STATUS_OK) {
        process_complain("%s", why);
        return status;
    }
    if (buf_len(&routing->chat.source) == 0) {
        LOG_WARN(
            "router",
            "the model has no chat template: it takes texts (baton chat --raw, /v1/completions), "
            "not chats",
            log_str("folder", folder));
        return STATUS_OK;
    }
    status = chat_template_compile(&routing->chat.source, &routing->tmpl, why);
    if (status != STATUS_OK)
        process_complain("%s: %s", folder, why);
    return status;
}

/* A tokenizer may have fewer ids than the model has rows: vocabularies are padded to round numbers.
 * More than that, or more ids than rows, and it is likely to be another model's. */
static void compare_vocabularies(const struct routing *routing)
{
    const uint32_t n_ids = tokenizer_n_ids(routing->tok), vocab = routing->process->served->vocab;

    if (n_ids > vocab)
        LOG_WARN("router",
                 "the tokenizer has ids that the model does not know: is it another model's?",
                 log_u64("ids", n_ids), log_u64("vocabulary", vocab));
    else if (vocab - n_ids > PADDING_MAX)
        LOG_WARN("router",
                 "the tokenizer has far fewer ids than the model: is it another model's? Tokens "
                 "that it does not know have no text",
                 log_u64("ids", n_ids), log_u64("vocabulary", vocab));
}

static enum status open_text(struct routing *routing)
{
    const struct served *served = routing->process->served;
    struct tokenizer_error error = {""};
    enum status status;

    if (served->is_oracle) {
        status = tokenizer_open_bytes(&routing->tok);
        return status == STATUS_OK ? chat_template_plain(&routing->tmpl) : status;
    }
    status = tokenizer_open(served->path, &error, &routing->tok);
    if (status != STATUS_OK) {
        process_complain("%s: %s", served->path, error.text[0] ? error.text : status_text(status));
        return status;
    }
    compare_vocabularies(routing);
    return open_template(routing, served->path);
}

static enum status open_keys(struct routing *routing)
{
    const struct process *process = routing->process;
    char why[FLEET_WHY_MAX];

    if (!process->node->http[0])
        return STATUS_OK;
    if (http_keys_load(process->fleet, &routing->keys, why) != STATUS_OK) {
        process_complain("node '%s': %s", process->node->name, why);
        return STATUS_INVALID;
    }
    if (fleet_http_exposed(process->node))
        LOG_WARN("router",
                 "HTTP listens beyond loopback, and whoever sees the traffic reads keys "
                 "and texts: put TLS in front, as in deploy/",
                 log_str("http", process->node->http + strlen("tcp://")),
                 log_u64("keys", routing->keys.n));
    return STATUS_OK;
}

static void close_text(struct routing *routing)
{
    http_keys_wipe(&routing->keys);
    template_destroy(routing->tmpl);
    chat_template_fini(&routing->chat);
    tokenizer_close(routing->tok);
}

/* ---- life ---- */

enum exit_code routing_run(struct process *process)
{
    struct routing routing = {.process = process};

    process->on_drain = on_drain;
    process->ctx = &routing;
    if (open_text(&routing) != STATUS_OK || open_keys(&routing) != STATUS_OK) {
        close_text(&routing);
        return EXIT_CONFIG;
    }
    if (open_shell(&routing) != STATUS_OK) {
        close_text(&routing);
        return process->exit_code;
    }
    process->exit_code = EXIT_DONE;
    LOG_INFO("node", "started", log_str("node", process->node->name), log_str("role", "router"),
             log_hex("incarnation", process->incarnation),
             log_str("nodes", router_shell_nodes(routing.shell)),
             log_str("clients", router_shell_clients(routing.shell)));
    process_say("listening nodes=%s clients=%s", router_shell_nodes(routing.shell),
                router_shell_clients(routing.shell));
    if (router_shell_http(routing.shell)[0])
        process_say("http %s", router_shell_http(routing.shell));
    process_run(process);
    router_shell_close(routing.shell);
    close_text(&routing);
    return process->exit_code;
}
