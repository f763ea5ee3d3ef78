/* Reads the goldens: lines of a name and numbers, with comments between. */
#include "tests/model/golden_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/model_file.h"

#define GOLDEN_FILE_MAX ((size_t)1 << 20)

static void skip_space(char **at)
{
    *at += strspn(*at, " \n");
    while (**at == '#') {
        *at += strcspn(*at, "\n");
        *at += strspn(*at, " \n");
    }
}

static void read_name(char **at, const char *name)
{
    const size_t n = strlen(name);

    skip_space(at);
    CHECK(strncmp(*at, name, n) == 0 && (*at)[n] == ' ');
    *at += n;
}

static uint32_t read_count(char **at, uint32_t max)
{
    char *end;
    unsigned long value;

    skip_space(at);
    value = strtoul(*at, &end, 10);
    CHECK(end != *at && value <= max);
    *at = end;
    return (uint32_t)value;
}

static float read_number(char **at)
{
    char *end;
    float value;

    skip_space(at);
    value = strtof(*at, &end);
    CHECK(end != *at);
    *at = end;
    return value;
}

static void read_rows(char **at, struct golden *out)
{
    read_name(at, "rows");
    out->n_rows = read_count(at, GOLDEN_ROWS_MAX);
    for (uint32_t i = 0; i < out->n_rows; i++) {
        struct golden_row *row = &out->rows[i];

        row->position = read_count(at, out->n_prompt - 1);
        row->scale = read_number(at);
        for (uint32_t k = 0; k < GOLDEN_COLUMNS; k++)
            row->logits[k] = read_number(at);
    }
    /* The first greedy token comes from the prompt's last row. */
    CHECK(out->n_rows > 0 && out->rows[out->n_rows - 1].position == out->n_prompt - 1);
}

static void read_greedy(char **at, struct golden *out)
{
    read_name(at, "greedy");
    out->n_greedy = read_count(at, GOLDEN_GREEDY_MAX);
    for (uint32_t i = 0; i < out->n_greedy; i++) {
        out->greedy[i].token = read_count(at, UINT32_MAX);
        out->greedy[i].logit = read_number(at);
        out->greedy[i].margin = read_number(at);
        out->greedy[i].scale = read_number(at);
    }
}

void golden_open(const char *name, struct golden *out)
{
    const char *root = getenv("BATON_ROOT");
    char path[MODEL_PATH_MAX], *at;
    size_t len;

    memset(out, 0, sizeof(*out));
    snprintf(path, sizeof(path), "%s/tests/model/golden/%s.txt", root != NULL ? root : ".", name);
    CHECK(model_file_read(path, GOLDEN_FILE_MAX, NULL, &out->text, &len) == STATUS_OK);
    at = out->text;
    read_name(&at, "seed");
    out->seed = read_count(&at, UINT32_MAX);
    read_name(&at, "config");
    out->config = at;
    at += strcspn(at, "\n");
    CHECK(*at == '\n');
    *at++ = '\0';
    read_name(&at, "len_max");
    out->len_max = read_count(&at, GOLDEN_PROMPT_MAX + GOLDEN_GREEDY_MAX);
    read_name(&at, "bf16");
    out->bf16_max = read_number(&at);
    out->bf16_rms = read_number(&at);
    out->bf16_abs = read_number(&at);
    read_name(&at, "prompt");
    out->n_prompt = read_count(&at, GOLDEN_PROMPT_MAX);
    for (uint32_t i = 0; i < out->n_prompt; i++)
        out->prompt[i] = read_count(&at, UINT32_MAX);
    read_rows(&at, out);
    read_greedy(&at, out);
    skip_space(&at);
    CHECK(*at == '\0' && out->n_prompt + out->n_greedy == out->len_max);
}

void golden_close(struct golden *golden)
{
    mem_free(golden->text);
}

uint32_t golden_id(uint32_t column, uint32_t vocab)
{
    return column * vocab / GOLDEN_COLUMNS;
}
