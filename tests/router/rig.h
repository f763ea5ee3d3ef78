/* A router with hand-made nodes and clients around it: posts one message, reads the answers. */
#pragma once

#include "base/arena.h"
#include "model/tokenizer.h"
#include "router/router.h"

#define RIG_P_LINK 11u
#define RIG_D_LINK 12u
#define RIG_D2_LINK 13u
#define RIG_CLIENT_LINK 21u
#define RIG_P 0x1001u /* incarnations */
#define RIG_D 0x2001u
#define RIG_D2 0x2002u
#define RIG_ANSWERS_MAX 64

struct rig {
    struct tokenizer *tok;
    struct router *router;
    struct arena *arena; /* of the answers */
    uint64_t now_ns;
    uint64_t seq[32]; /* sent by us, per link */
    struct {
        uint32_t link;
        struct wire_msg msg;
    } answers[RIG_ANSWERS_MAX];
    size_t n_answers;
};

void rig_init(struct rig *rig, void (*change)(struct router_cfg *cfg));
void rig_fini(struct rig *rig);
/* A node's message in its session 1; a client's as it is. Answers are collected anew. */
void rig_node(struct rig *rig, uint32_t link, uint64_t from, struct wire_msg *msg);
void rig_client(struct rig *rig, const struct wire_msg *msg);
void rig_link_down(struct rig *rig, enum router_door door, uint32_t link);
/* Lets ms pass, a tick every 50, while all nodes go on beating. */
void rig_wait(struct rig *rig, uint64_t ms);
/* The first answer of that kind on that link, or NULL. */
const struct wire_msg *rig_answer(const struct rig *rig, uint32_t link, enum wire_kind kind);
/* P and one D (or two) joined, paired and ready. */
void rig_fleet(struct rig *rig, size_t n_decodes);
void rig_join(struct rig *rig, uint32_t link, uint64_t from, enum wire_role role, const char *name);
/* Asks for a prompt of n ids; the accepted answer. */
struct wire_msg rig_generate(struct rig *rig, uint32_t n_prompt, uint32_t max_tokens);
/* Answers of P and D to the job that is with them. */
void rig_first(struct rig *rig, const struct wire_msg *job, uint32_t index, uint32_t token);
void rig_token(struct rig *rig, uint32_t link, uint64_t from, const struct wire_msg *job,
               uint32_t index, uint32_t token, const char *end);
void rig_failed(struct rig *rig, uint32_t link, uint64_t from, const struct wire_msg *job,
                enum status code);
