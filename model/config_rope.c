/* The rotary embedding of a config: rope_theta and rope_scaling as most checkpoints have them, or
 * all in rope_parameters as transformers 5 writes them. Any thread. */
#include "model/config_fields.h"

#include <math.h>
#include <string.h>

#include "kernels/mathfn.h"

/* What a rope's object may hold, for the kinds in `kinds`. */
struct rope_key {
    const char *name;
    unsigned kinds;
};

#define K(kind) (1u << MODEL_ROPE_##kind)

static const struct rope_key rope_keys[] = {
    {"rope_type", ~0u},
    {"type", ~0u},
    {"rope_theta", ~0u},
    {"partial_rotary_factor", ~0u},
    {"factor", K(LINEAR) | K(LLAMA3) | K(LONGROPE)},
    {"low_freq_factor", K(LLAMA3)},
    {"high_freq_factor", K(LLAMA3)},
    {"original_max_position_embeddings", K(LLAMA3) | K(LONGROPE)},
    {"attention_factor", K(LONGROPE)},
    {"short_factor", K(LONGROPE)},
    {"long_factor", K(LONGROPE)},
};

static enum status read_kind(const struct config_reader *r, const char *field, const json_t *object,
                             enum model_rope_kind *out)
{
    const json_t *now = json_object_get(object, "rope_type"),
                 *old = json_object_get(object, "type");
    const json_t *value = now != NULL ? now : old;
    const char *name = value == NULL ? "default" : json_string_value(value);

    if (now != NULL && old != NULL && !json_equal(now, old))
        return config_bad(r, STATUS_MALFORMED, field, object, "rope_type and type differ");
    if (now == NULL && old != NULL && r->family == MODEL_GEMMA3)
        return config_bad(r, STATUS_UNSUPPORTED, field, object,
                          "the reference's versions read `type` differently here; write rope_type");
    if (name != NULL && r->family == MODEL_PHI3 &&
        (strcmp(name, "su") == 0 || strcmp(name, "yarn") == 0))
        name = "longrope"; /* what its older files call it */
    if (name != NULL && strcmp(name, "default") == 0)
        *out = MODEL_ROPE_PLAIN;
    else if (name != NULL && strcmp(name, "linear") == 0 && r->family != MODEL_PHI3)
        *out = MODEL_ROPE_LINEAR;
    else if (name != NULL && strcmp(name, "llama3") == 0 && r->family != MODEL_PHI3)
        *out = MODEL_ROPE_LLAMA3;
    else if (name != NULL && strcmp(name, "longrope") == 0 && r->family == MODEL_PHI3)
        *out = MODEL_ROPE_LONGROPE;
    else
        return config_bad(r, STATUS_UNSUPPORTED, field, value, "supported rope types for %s are %s",
                          model_family_name(r->family),
                          r->family == MODEL_PHI3 ? "default and longrope"
                                                  : "default, linear and llama3");
    return STATUS_OK;
}

static enum status check_keys(const struct config_reader *r, const char *field,
                              const json_t *object, enum model_rope_kind kind)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool known = false;

        for (size_t i = 0; i < sizeof(rope_keys) / sizeof(rope_keys[0]); i++)
            known |= strcmp(name, rope_keys[i].name) == 0 && (rope_keys[i].kinds & 1u << kind) != 0;
        if (!known)
            return config_bad(r, STATUS_UNSUPPORTED, name, value,
                              "no such field of %s is known for its rope type", field);
    }
    return STATUS_OK;
}

static enum status read_factors(const struct config_reader *r, const json_t *object,
                                const char *name, uint32_t n, double least, float *out)
{
    const json_t *list = json_object_get(object, name);

    if (!json_is_array(list) || json_array_size(list) != n)
        return config_bad(r, STATUS_MALFORMED, name, list, "a list of %u numbers is expected", n);
    for (uint32_t i = 0; i < n; i++) {
        double value;
        enum status status = config_number(r, name, json_array_get(list, i), least, 1e6, &value);

        if (status != STATUS_OK)
            return status;
        out[i] = (float)value;
    }
    return STATUS_OK;
}

static enum status read_llama3(const struct config_reader *r, const json_t *object,
                               struct model_rope *rope)
{
    const json_t *high = json_object_get(object, "high_freq_factor");
    enum status status =
        config_number(r, "low_freq_factor", json_object_get(object, "low_freq_factor"), 1e-3, 1e6,
                      &rope->low_freq_factor);

    if (status == STATUS_OK)
        status = config_number(r, "high_freq_factor", high, 1e-3, 1e6, &rope->high_freq_factor);
    if (status == STATUS_OK && rope->high_freq_factor <= rope->low_freq_factor)
        status = config_bad(r, STATUS_MALFORMED, "high_freq_factor", high,
                            "more than low_freq_factor (%g) is expected", rope->low_freq_factor);
    if (status == STATUS_OK)
        status = config_u32(r, "original_max_position_embeddings",
                            json_object_get(object, "original_max_position_embeddings"), 2,
                            OPS_POSITIONS_MAX, &rope->original_positions);
    return status;
}

static enum status read_longrope(const struct config_reader *r, const json_t *object,
                                 const struct config_raw *raw, struct model_rope *rope)
{
    const json_t *given = json_object_get(object, "attention_factor");
    const json_t *original = json_object_get(object, "original_max_position_embeddings");
    /* The fastest angle at the last position must be one that sines are exact for. */
    const double least = raw->positions_max / MATH_ANGLE_MAX;
    enum status status = STATUS_OK;

    /* The config's own field decides; the object's may only repeat it. */
    rope->original_positions = raw->original_positions;
    if (original != NULL && (!json_is_integer(original) ||
                             json_integer_value(original) != (json_int_t)raw->original_positions))
        return config_bad(r, STATUS_MALFORMED, "original_max_position_embeddings", original,
                          "the config's own is %u", raw->original_positions);
    rope->factor = (double)raw->positions_max / raw->original_positions;
    rope->attention_factor = 1;
    if (rope->factor > 1)
        rope->attention_factor =
            sqrt(1 + math_log2_d(rope->factor) / math_log2_d(rope->original_positions));
    if (given != NULL && !json_is_null(given))
        status = config_number(r, "attention_factor", given, 1e-3, 1e3, &rope->attention_factor);
    if (status == STATUS_OK)
        status = read_factors(r, object, "short_factor", rope->dim / 2, least, rope->short_factors);
    if (status == STATUS_OK)
        status = read_factors(r, object, "long_factor", rope->dim / 2, least, rope->long_factors);
    return status;
}

/* One rope from its object, which may be NULL: plain. `rope` has theta and dim of the config. */
static enum status read_rope(const struct config_reader *r, const char *field, const json_t *object,
                             const struct config_raw *raw, uint32_t head_dim,
                             struct model_rope *rope)
{
    const json_t *theta = json_object_get(object, "rope_theta");
    const json_t *part = json_object_get(object, "partial_rotary_factor");
    double partial = raw->partial_rotary;
    enum status status = STATUS_OK;

    if (object != NULL && !json_is_object(object))
        return config_bad(r, STATUS_MALFORMED, field, object, "an object is expected");
    if (object != NULL)
        status = read_kind(r, field, object, &rope->kind);
    if (status == STATUS_OK && object != NULL)
        status = check_keys(r, field, object, rope->kind);
    if (status == STATUS_OK && theta != NULL)
        status = config_number(r, "rope_theta", theta, 1, 1e12, &rope->theta);
    if (status == STATUS_OK && part != NULL)
        status = config_number(r, "partial_rotary_factor", part, r->family == MODEL_PHI3 ? 0.01 : 1,
                               1, &partial);
    if (status != STATUS_OK)
        return status;
    rope->dim = (uint32_t)(head_dim * partial);
    rope->factor = rope->attention_factor = 1;
    if (rope->dim < 2 || rope->dim % 2 != 0)
        return config_bad(r, STATUS_UNSUPPORTED, "partial_rotary_factor", part,
                          "%u of %u dimensions of a head would rotate; an even number is expected",
                          rope->dim, head_dim);
    if (rope->kind == MODEL_ROPE_LINEAR || rope->kind == MODEL_ROPE_LLAMA3)
        status =
            config_number(r, "factor", json_object_get(object, "factor"), 1, 1e6, &rope->factor);
    if (status == STATUS_OK && rope->kind == MODEL_ROPE_LLAMA3)
        status = read_llama3(r, object, rope);
    if (status == STATUS_OK && rope->kind == MODEL_ROPE_LONGROPE)
        status = read_longrope(r, object, raw, rope);
    return status;
}

static const json_t *get(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_null(value) ? NULL : value;
}

/* Gemma 3 has two; in rope_parameters each stands under the kind of layer it is for. */
static enum status read_two(const struct config_reader *r, const struct config_raw *raw,
                            const json_t *parameters, uint32_t head_dim,
                            struct model_config *config)
{
    const json_t *full = get(parameters, "full_attention");
    const json_t *sliding = get(parameters, "sliding_attention");
    enum status status;

    if (parameters != NULL && json_object_size(parameters) !=
                                  (size_t)(json_object_get(parameters, "full_attention") != NULL) +
                                      (json_object_get(parameters, "sliding_attention") != NULL))
        return config_bad(r, STATUS_UNSUPPORTED, "rope_parameters", parameters,
                          "an object of full_attention and sliding_attention is expected");
    if (parameters == NULL)
        full = get(r->root, "rope_scaling");
    config->rope_local.theta = raw->rope_local_theta;
    status = read_rope(r, "rope_parameters.full_attention", full, raw, head_dim, &config->rope);
    if (status == STATUS_OK)
        status = read_rope(r, "rope_parameters.sliding_attention", sliding, raw, head_dim,
                           &config->rope_local);
    return status;
}

enum status config_rope_read(const struct config_reader *r, const struct config_raw *raw,
                             uint32_t head_dim, struct model_config *config)
{
    const json_t *scaling = get(r->root, "rope_scaling");
    const json_t *parameters = get(r->root, "rope_parameters");

    if (scaling != NULL && parameters != NULL)
        return config_bad(r, STATUS_MALFORMED, "rope_scaling", scaling,
                          "rope_parameters is there too, and only one of them can hold");
    config->rope.theta = raw->rope_theta;
    if (r->family == MODEL_GEMMA3)
        return read_two(r, raw, parameters, head_dim, config);
    return read_rope(r, parameters != NULL ? "rope_parameters" : "rope_scaling",
                     parameters != NULL ? parameters : scaling, raw, head_dim, &config->rope);
}
