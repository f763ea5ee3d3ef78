/* Microseconds of a row of 128256 logits by kinds of request, on one thread, best of many in wall
 * time; no test, run by hand:
 *     bench_kernels_sample [table] [rounds]
 * in three shapes of logits: as a language model has them, and two where thousands of ids count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/bench_limits.h"
#include "tests/kernels/rig.h"

#define VOCAB 128256u

struct kind {
    const char *name;
    float temperature, top_p, min_p, repetition;
    uint32_t top_k, n_penalties, n_logprobs;
};

int main(int argc, char **argv)
{
    static const struct kind kinds[] = {
        {"greedy", 0.0f, 1.0f, 0.0f, 1.0f, 0, 0, 0},
        {"greedy, penalties of 1000", 0.0f, 1.0f, 0.0f, 1.1f, 0, 1000, 0},
        {"greedy, 20 logprobs", 0.0f, 1.0f, 0.0f, 1.0f, 0, 0, 20},
        {"temperature 1", 1.0f, 1.0f, 0.0f, 1.0f, 0, 0, 0},
        {"temperature 0.7", 0.7f, 1.0f, 0.0f, 1.0f, 0, 0, 0},
        {"top-p 0.95 at 0.7", 0.7f, 0.95f, 0.0f, 1.0f, 0, 0, 0},
        {"top-p 0.95 at 1", 1.0f, 0.95f, 0.0f, 1.0f, 0, 0, 0},
        {"top-k 50", 0.7f, 1.0f, 0.0f, 1.0f, 50, 0, 0},
        {"top-k 50, top-p 0.95", 0.7f, 0.95f, 0.0f, 1.0f, 50, 0, 0},
        {"min-p 0.05", 0.7f, 1.0f, 0.05f, 1.0f, 0, 0, 0},
    };
    static const char *const shapes[] = {"like a model", "wide", "nearly flat"};
    struct device *dev = rig_device(argc > 1 ? argv[1] : NULL, 1);
    uint32_t rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 300;
    struct rig_tensor logits = rig_tensor_make(VOCAB, OP_F32);
    struct rig_tensor work = rig_tensor_make(VOCAB, OP_F32);
    static struct op_penalty penalties[1000];
    struct op_sampled out;
    uint64_t random = 3;

    for (uint32_t shape = 0; shape < 3; shape++) {
        for (uint32_t i = 0; i < VOCAB; i++) {
            float sum = 0.0f;

            for (int j = 0; j < 4; j++)
                sum += (float)(int32_t)(rig_random(&random) >> 32) * 0x1p-31f;
            /* Some dozens of likely ids over a wide rest; that rest alone; and less wide. */
            if (shape == 0)
                sum = i % 4001 == 0 ? 16.0f + 2.0f * sum : 2.0f * sum;
            else
                sum *= shape == 1 ? 3.0f : 0.5f;
            ((float *)logits.data)[i] = sum;
        }
        printf("%s, table %s\n", shapes[shape], device_info(dev).table);
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            const struct kind *kind = &kinds[k];
            static struct bench_times times;
            struct op_sampling params = {.temperature = kind->temperature,
                                         .top_p = kind->top_p,
                                         .min_p = kind->min_p,
                                         .top_k = kind->top_k,
                                         .repetition = kind->repetition,
                                         .n_penalties = kind->n_penalties,
                                         .penalties = penalties,
                                         .n_logprobs = kind->n_logprobs};
            struct op_sample op = {.logits = work.data,
                                   .n_rows = 1,
                                   .stride = VOCAB,
                                   .vocab = VOCAB,
                                   .params = &params,
                                   .out = &out};

            for (uint32_t i = 0; i < 1000; i++)
                penalties[i] = (struct op_penalty){i * 128, 1};
            times.n = 0;
            times.n_threads = 1;
            for (uint32_t i = 0; i < rounds; i++) {
                memcpy(work.data, logits.data, rig_bytes(&logits));
                params.seed = params.position = i;
                bench_start(&times);
                device_ops(dev)->sample(dev, &op);
                bench_stop(&times);
            }
            printf("  %-28s %7.1f us\n", kind->name, times.wall_s * 1e6);
        }
    }
    rig_tensor_drop(&logits);
    rig_tensor_drop(&work);
    device_close(dev);
    return EXIT_SUCCESS;
}
