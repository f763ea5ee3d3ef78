/* The smallest use of libbaton: one prompt, its answer as it comes.
 *
 *     cc -o example example.c baton.c baton_wire.c -lzmq -lmsgpackc
 *     ./example 127.0.0.1:5555 "Pass the baton."
 */
#include <stdio.h>

#include "baton.h"

static int on_event(void *ctx, const struct baton_event *event)
{
    (void)ctx;
    if (event->kind == BATON_TOKEN) {
        fwrite(event->text, 1, event->text_len, stdout);
        fflush(stdout);
    }
    return 0; /* not 0 would cancel the request */
}

int main(int n_args, char **args)
{
    struct baton_options options = {.endpoint = n_args > 1 ? args[1] : "127.0.0.1:5555",
                                    .agent = "example"};
    struct baton_request request;
    struct baton_event last;
    struct baton *baton = NULL;
    int result = baton_open(&options, &baton);

    if (result == BATON_OK)
        result = baton_wait(baton, 5000);
    if (result == BATON_OK) {
        baton_request_init(&request);
        request.text = n_args > 2 ? args[2] : "Pass the baton.";
        request.max_tokens = 64;
        result = baton_complete(baton, &request, on_event, NULL, &last);
    }
    if (result == BATON_OK)
        printf("\n(%s after %u tokens, seed %llu)\n", last.reason, last.n_tokens,
               (unsigned long long)last.seed);
    else
        fprintf(stderr, "example: %s\n", baton_message(baton));
    baton_close(baton);
    return result == BATON_OK ? 0 : 1;
}
