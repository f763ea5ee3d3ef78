/* Clients of the simulated fleet: what they ask, how badly they behave, and what they must see.
 * Every token is compared with the stream of an undisturbed oracle as it comes. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/sim.h"

static void post(struct sim *sim, struct sim_proc *proc, struct wire_msg *msg)
{
    uint8_t bytes[8192];
    size_t len;

    CHECK(wire_msg_encode(msg, bytes, sizeof(bytes), &len) == STATUS_OK);
    sim_send(sim, proc, proc->client.conn, bytes, len);
}

static void act_later(struct sim *sim, struct sim_proc *proc, uint64_t delay_ms)
{
    sim_at(sim, sim->now_ns + delay_ms * NS_PER_MS,
           (struct sim_event){.kind = SIM_EVENT_CLIENT,
                              .proc = sim_index(sim, proc),
                              .incarnation = proc->incarnation});
}

/* ---- asking ---- */

static void ask(struct sim *sim, struct sim_proc *proc)
{
    struct sim_request *request = proc->client.request;
    struct wire_msg msg;

    wire_msg_init(&msg, WIRE_KIND_GENERATE);
    msg.generate = request->generate;
    request->n_got = 0;
    request->accepted = false;
    proc->client.cancelled = false;
    request->asked_ns = sim->now_ns;
    request->bound_ns = sim->now_ns + (sim->deadline_ms + SIM_BOUND_MS) * NS_PER_MS;
    post(sim, proc, &msg);
}

static void connect_again(struct sim *sim, struct sim_proc *proc)
{
    struct sim_client *client = &proc->client;

    client->conn = 0;
    if (!sim->procs[client->router].alive || !client->attach)
        client->router = (uint32_t)rand_below(&sim->rng, sim->n_routers);
    client->dial = sim_connect(sim, sim_index(sim, proc), client->router);
}

static void next_request(struct sim *sim, struct sim_proc *proc)
{
    struct sim_client *client = &proc->client;

    free(client->request);
    client->request = NULL;
    if (client->n_left == 0)
        return;
    client->n_left--;
    client->request = calloc(1, sizeof(*client->request));
    CHECK(client->request);
    sim_request_draw(sim, client->request);
    client->stingy = sim_fault_on(sim, SIM_FAULT_SLOW) && rand_chance(&sim->rng, 1, 2);
    client->mute = sim_fault_on(sim, SIM_FAULT_SLOW) && rand_chance(&sim->rng, 1, 16);
    if (client->conn)
        ask(sim, proc);
}

void sim_client_start(struct sim *sim, struct sim_proc *proc)
{
    proc->client =
        (struct sim_client){.n_left = (uint32_t)rand_between(&sim->rng, 1, SIM_REQUESTS_MAX)};
    next_request(sim, proc);
    connect_again(sim, proc);
    act_later(sim, proc, 100);
}

void sim_client_stop(struct sim_proc *proc)
{
    free(proc->client.request);
    proc->client.request = NULL;
}

bool sim_client_finished(const struct sim_proc *proc)
{
    return !proc->client.request && proc->client.n_left == 0;
}

/* ---- connections ---- */

void sim_client_link_up(struct sim *sim, struct sim_proc *proc, uint32_t number)
{
    struct sim_client *client = &proc->client;
    struct wire_msg msg;

    client->conn = number;
    client->dial = 0;
    client->gone_ns = 0;
    if (!client->request)
        return;
    if (!client->attach || !client->request->accepted) {
        ask(sim, proc);
        return;
    }
    wire_msg_init(&msg, WIRE_KIND_ATTACH);
    msg.req = client->request->id;
    msg.attach.resume = client->request->resume;
    msg.attach.next = client->request->n_got;
    msg.attach.credits = client->request->generate.credits;
    post(sim, proc, &msg);
}

void sim_client_link_down(struct sim *sim, struct sim_proc *proc, uint32_t number)
{
    struct sim_client *client = &proc->client;

    if (client->conn != number && client->dial != number)
        return;
    client->conn = client->dial = 0;
    client->attach = true; /* of no use where the router died: then it asks anew */
    connect_again(sim, proc);
}

/* ---- what is heard ---- */

static void finish(struct sim *sim, struct sim_proc *proc)
{
    next_request(sim, proc);
}

static void take_token(struct sim *sim, struct sim_proc *proc, const struct wire_token *token)
{
    struct sim_request *request = proc->client.request;
    const uint32_t credits = request->generate.credits;
    struct wire_msg msg;

    if (token->index != request->n_got) {
        sim_violation(sim, "%s got token %u where %u was next", proc->name, token->index,
                      request->n_got);
        return;
    }
    if (token->index >= request->n_truth || token->token != request->truth[token->index]) {
        sim_violation(sim, "%s got token %u = %u, the undisturbed stream has %u (of %zu)",
                      proc->name, token->index, token->token,
                      token->index < request->n_truth ? request->truth[token->index] : 0,
                      request->n_truth);
        return;
    }
    if (!sim_request_tops_equal(request, token)) {
        sim_violation(sim, "%s got token %u with other logprobs than the undisturbed stream has",
                      proc->name, token->index);
        return;
    }
    if (!sim_text_equal(request, token)) {
        sim_violation(sim, "%s got token %u with the text '%.*s' and end '%.*s', which are others",
                      proc->name, token->index, (int)token->text.len, token->text.at,
                      (int)token->end.len, token->end.at);
        return;
    }
    request->n_got++;
    sim->report->n_tokens++;
    sim->report->n_tops += token->top_ids.n;
    if (credits == 0 || proc->client.mute || request->n_got % credits != 0)
        return;
    if (proc->client.stingy) {
        act_later(sim, proc, rand_below(&sim->rng, 3000));
        return;
    }
    wire_msg_init(&msg, WIRE_KIND_CREDIT);
    msg.req = request->id;
    msg.credit.resume = request->resume;
    msg.credit.credits = credits;
    post(sim, proc, &msg);
}

static void take_done(struct sim *sim, struct sim_proc *proc, const struct wire_done *done)
{
    const struct sim_request *request = proc->client.request;

    if (request->n_got != request->n_truth || done->n_tokens != request->n_got ||
        request->truth_fails)
        sim_violation(sim, "%s: done after %u of %zu tokens, %u announced", proc->name,
                      request->n_got, request->n_truth, done->n_tokens);
    if (!sim_text_done(request, done))
        sim_violation(sim, "%s: done with reason '%.*s', stop string '%.*s', stop id %u",
                      proc->name, (int)done->reason.len, done->reason.at, (int)done->stop_text.len,
                      done->stop_text.at, done->stop_id);
    sim->report->n_stopped += done->stop_text.len > 0;
    sim->report->n_done++;
    finish(sim, proc);
}

/* What a request may fail of, given the faults of this seed. */
static bool may_fail(const struct sim *sim, const struct sim_client *client, enum status code)
{
    switch (code) {
    case STATUS_FULL:
        return true;
    case STATUS_INVALID:
        return client->request->truth_fails;
    case STATUS_CANCELLED:
        return client->cancelled || client->gone_ns || sim->faults;
    case STATUS_SLOW_READER:
        return client->mute || client->stingy ||
               (sim->faults & (SIM_FAULT_FREEZE | SIM_FAULT_CLOCK));
    case STATUS_POISONED:
        return (sim->faults & SIM_FAULT_CRASH) != 0;
    case STATUS_MISMATCH: /* bytes flipped again and again; never two nodes that disagree */
        return (sim->faults & SIM_FAULT_FLIP) != 0;
    case STATUS_NO_MEMORY:
        return (sim->faults & SIM_FAULT_MEMORY) != 0;
    case STATUS_NOT_FOUND: /* attach after the router died or the stream had ended */
        return client->attach;
    case STATUS_DEADLINE: /* comes early on a clock that jumps */
        return client->stingy || client->mute || client->attach || (sim->faults & SIM_FAULT_CLOCK);
    case STATUS_STUCK: /* the last one of many failures: a peer that stands still or stalls */
        return (sim->faults & (SIM_FAULT_FREEZE | SIM_FAULT_STEP | SIM_FAULT_FLIP)) != 0;
    case STATUS_LOST:
    case STATUS_UNREACHABLE:
    case STATUS_IO:
        return sim->faults != 0;
    default:
        return false;
    }
}

static void take_failed(struct sim *sim, struct sim_proc *proc, const struct wire_failed *failed)
{
    struct sim_client *client = &proc->client;
    const enum status code = (enum status)failed->code;

    sim_trace(sim, proc, "failed: %s", status_name(code));
    if (!may_fail(sim, client, code) ||
        (code == STATUS_MISMATCH && memmem(failed->text.at, failed->text.len, "two nodes", 9)))
        sim_violation(sim, "%s: a request failed with %s: %.*s", proc->name, status_name(code),
                      (int)failed->text.len, failed->text.at);
    sim->report->n_failed++;
    sim->report->n_invalid += code == STATUS_INVALID;
    if (code == STATUS_NOT_FOUND && client->attach) {
        client->attach = false;
        ask(sim, proc); /* from the start, with the same seed: the same tokens */
        return;
    }
    finish(sim, proc);
}

void sim_client_message(struct sim *sim, struct sim_proc *proc, const struct wire_msg *msg)
{
    struct sim_request *request = proc->client.request;

    if (!request)
        return;
    if (msg->kind == WIRE_KIND_ACCEPTED) {
        if (request->accepted && !wire_id_equal(&request->id, &msg->req))
            return; /* of an older connection's request */
        request->accepted = true;
        request->id = msg->req;
        request->resume = msg->accepted.resume;
        return;
    }
    if (!wire_id_is_zero(&msg->req) && !wire_id_equal(&request->id, &msg->req))
        return;
    if (msg->kind == WIRE_KIND_TOKEN)
        take_token(sim, proc, &msg->token);
    else if (msg->kind == WIRE_KIND_DONE)
        take_done(sim, proc, &msg->done);
    else if (msg->kind == WIRE_KIND_FAILED)
        take_failed(sim, proc, &msg->failed);
}

/* ---- what it does of itself ---- */

static void misbehave(struct sim *sim, struct sim_proc *proc)
{
    struct sim_client *client = &proc->client;
    struct sim_request *request = client->request;
    struct wire_msg msg;

    if (client->conn && rand_chance(&sim->rng, 1, 20)) {
        client->gone_ns = sim->now_ns;
        sim_disconnect(sim, client->conn, false);
    } else if (client->conn && request->accepted && rand_chance(&sim->rng, 1, 20)) {
        wire_msg_init(&msg, WIRE_KIND_CANCEL);
        msg.req = request->id;
        msg.cancel.resume = request->resume;
        client->cancelled = true;
        post(sim, proc, &msg);
    }
}

void sim_client_act(struct sim *sim, struct sim_proc *proc)
{
    struct sim_client *client = &proc->client;
    struct sim_request *request = client->request;
    struct wire_msg msg;

    if (!request)
        return;
    /* The promise is to a client that is there: its time starts again with each connection. */
    if (client->conn && sim->now_ns > request->bound_ns &&
        sim->procs[client->router].frozen_until_ns + SIM_BOUND_MS * NS_PER_MS < sim->now_ns)
        sim_violation(sim, "%s: a request asked %llu ms ago has not ended", proc->name,
                      (unsigned long long)((sim->now_ns - request->asked_ns) / NS_PER_MS));
    if (client->conn && request->accepted && client->stingy && request->generate.credits) {
        wire_msg_init(&msg, WIRE_KIND_CREDIT);
        msg.req = request->id;
        msg.credit.resume = request->resume;
        msg.credit.credits = request->generate.credits;
        post(sim, proc, &msg);
    }
    if (sim_fault_on(sim, SIM_FAULT_SLOW))
        misbehave(sim, proc);
    act_later(sim, proc, rand_between(&sim->rng, 100, 1000));
}
