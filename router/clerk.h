/* The router's text thread: what takes longer than the loop may (large JSON bodies, chat templates,
 * tokenising) is done by the clerk, one job at a time, so that tokens of running streams never wait
 * for a prompt. Jobs of one tenant are done in their order; tenants take turns, job by job: one who
 * sends a thousand prompts delays another's by one. */
#pragma once

#include <stdint.h>

#include "base/status.h"

struct clerk;
struct loop;

/* A piece of work, the first member of the owner's own struct. It is the clerk's from clerk_post
 * until one of done and drop is called. */
struct clerk_job {
    void (*run)(struct clerk_job *job);  /* on the clerk's thread; touches nothing but the job */
    void (*done)(struct clerk_job *job); /* after it, on the loop's thread */
    void (*drop)(struct clerk_job *job); /* instead of both, or of done, by clerk_destroy */
    uint64_t tenant;
    struct clerk_job *next; /* the clerk's: the next job of the tenant */
    struct clerk_job *line; /* the clerk's: the next tenant's first job */
    struct clerk_job *last; /* the clerk's, in a first job: the tenant's last */
};

/* IO, NO_MEMORY. */
enum status clerk_create(struct loop *loop, struct clerk **out);
/* Lets the running job end, drops all that are left. NULL is nothing. */
void clerk_destroy(struct clerk *clerk);
/* Loop's thread. */
void clerk_post(struct clerk *clerk, struct clerk_job *job);
/* Jobs that it has. */
uint32_t clerk_n_jobs(const struct clerk *clerk);
