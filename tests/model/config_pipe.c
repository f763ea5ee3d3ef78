/* Prints what a config.json means, as JSON, for the scripts beside it: config_pipe FILE.. gives one
 * line a file, with the refusal's sentence where there is one. */
#include <stdio.h>
#include <stdlib.h>

#include "model/config.h"

static void print_rope(const char *name, const struct model_rope *rope)
{
    static const char *const kinds[] = {"default", "linear", "llama3", "longrope"};

    printf("\"%s\":{\"kind\":\"%s\",\"dim\":%u,\"theta\":%.17g,\"factor\":%.17g,\"low\":%.17g,"
           "\"high\":%.17g,\"original\":%u,\"attention_factor\":%.17g,\"short\":[",
           name, kinds[rope->kind], rope->dim, rope->theta, rope->factor, rope->low_freq_factor,
           rope->high_freq_factor, rope->original_positions, rope->attention_factor);
    for (uint32_t i = 0; rope->kind == MODEL_ROPE_LONGROPE && i < rope->dim / 2; i++)
        printf("%s%.9g", i > 0 ? "," : "", (double)rope->short_factors[i]);
    printf("],\"long\":[");
    for (uint32_t i = 0; rope->kind == MODEL_ROPE_LONGROPE && i < rope->dim / 2; i++)
        printf("%s%.9g", i > 0 ? "," : "", (double)rope->long_factors[i]);
    printf("]},");
}

static void print_config(const struct model_config *c)
{
    printf("{\"family\":\"%s\",\"dtype\":%d,\"vocab\":%u,\"hidden\":%u,\"intermediate\":%u,"
           "\"n_layers\":%u,\"n_heads\":%u,\"n_kv_heads\":%u,\"head_dim\":%u,\"positions_max\":%u,",
           model_family_name(c->family), (int)c->dtype, c->vocab, c->hidden, c->intermediate,
           c->n_layers, c->n_heads, c->n_kv_heads, c->head_dim, c->positions_max);
    printf("\"tied\":%d,\"qkv_bias\":%d,\"out_bias\":%d,\"norm_eps\":%.17g,\"gelu\":%d,"
           "\"attention_scale\":%.17g,\"attention_softcap\":%.17g,\"final_softcap\":%.17g,",
           c->tied, c->qkv_bias, c->out_bias, c->norm_eps, c->act == OP_ACT_GELU_TANH_MUL,
           c->attention_scale, c->attention_softcap, c->final_softcap);
    print_rope("rope", &c->rope);
    print_rope("rope_local", &c->rope_local);
    printf("\"n_experts\":%u,\"top_k\":%u,\"expert_intermediate\":%u,\"renormalise\":%d,"
           "\"bos\":%lld,\"eos\":[",
           c->n_experts, c->experts_top_k, c->expert_intermediate, c->experts_renormalise,
           c->bos == UINT32_MAX ? -1LL : (long long)c->bos);
    for (uint32_t i = 0; i < c->n_eos; i++)
        printf("%s%u", i > 0 ? "," : "", c->eos[i]);
    printf("],\"windows\":[");
    for (uint32_t i = 0; i < c->n_layers; i++)
        printf("%s%u", i > 0 ? "," : "", c->layers[i].window);
    printf("],\"experts\":[");
    for (uint32_t i = 0; i < c->n_layers; i++)
        printf("%s%d", i > 0 ? "," : "", c->layers[i].experts);
    printf("]}\n");
}

int main(int n_args, char **args)
{
    for (int i = 1; i < n_args; i++) {
        struct model_error error = {""};
        struct model_config config;

        if (model_config_open(args[i], &error, &config) == STATUS_OK)
            print_config(&config);
        else
            (void)(printf("{\"refused\":true}\n") + fprintf(stderr, "%s\n", error.text));
    }
    return 0;
}
