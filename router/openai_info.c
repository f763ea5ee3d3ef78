/* See openai_info.h. */
#include "router/openai_info.h"

#include "router/json_pen.h"

static void pen_model(struct json_pen *pen, const struct openai_model *model)
{
    pen_str(pen, "{");
    pen_member(pen, "id", model->name);
    pen_str(pen, ",\"object\":\"model\",\"created\":");
    pen_i64(pen, model->created);
    pen_str(pen, ",\"owned_by\":\"baton\",");
    pen_member(pen, "root", model->root);
    pen_str(pen, ",\"parent\":null,\"max_model_len\":");
    pen_u64(pen, model->max_model_len);
    pen_str(pen, "}");
}

static void write_model(struct json_pen *pen, const void *what)
{
    pen_model(pen, what);
}

struct model_list {
    const struct openai_model *models; /* [n] */
    size_t n;
};

static void write_models(struct json_pen *pen, const void *what)
{
    const struct model_list *list = what;

    pen_str(pen, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < list->n; i++) {
        pen_str(pen, i > 0 ? "," : "");
        pen_model(pen, &list->models[i]);
    }
    pen_str(pen, "]}");
}

enum status openai_info_models(const struct openai_model *models, size_t n, struct buf *out)
{
    const struct model_list list = {models, n};

    return pen_append(out, write_models, &list);
}

enum status openai_info_model(const struct openai_model *model, struct buf *out)
{
    return pen_append(out, write_model, model);
}

struct tokenized {
    struct wire_u32s ids;
    struct wire_texts strs;
    uint32_t max_model_len;
};

static void write_tokenized(struct json_pen *pen, const void *what)
{
    const struct tokenized *tokenized = what;

    pen_str(pen, "{\"count\":");
    pen_u64(pen, tokenized->ids.n);
    pen_str(pen, ",\"max_model_len\":");
    pen_u64(pen, tokenized->max_model_len);
    pen_str(pen, ",\"tokens\":");
    pen_u32s(pen, tokenized->ids);
    pen_str(pen, ",\"token_strs\":");
    if (tokenized->strs.n == 0) {
        pen_str(pen, "null}");
        return;
    }
    for (size_t i = 0; i < tokenized->strs.n; i++) {
        pen_str(pen, i > 0 ? "," : "[");
        pen_text(pen, tokenized->strs.at[i]);
    }
    pen_str(pen, "]}");
}

enum status openai_info_tokenized(struct wire_u32s ids, struct wire_texts strs,
                                  uint32_t max_model_len, struct buf *out)
{
    const struct tokenized tokenized = {ids, strs, max_model_len};

    return pen_append(out, write_tokenized, &tokenized);
}

static void write_detokenized(struct json_pen *pen, const void *what)
{
    pen_str(pen, "{");
    pen_member(pen, "prompt", *(const struct wire_span *)what);
    pen_str(pen, "}");
}

enum status openai_info_detokenized(struct wire_span text, struct buf *out)
{
    return pen_append(out, write_detokenized, &text);
}

static void write_version(struct json_pen *pen, const void *what)
{
    pen_str(pen, "{");
    pen_member(pen, "version", wire_span_of(what));
    pen_str(pen, "}");
}

enum status openai_info_version(const char *version, struct buf *out)
{
    return pen_append(out, write_version, version);
}
