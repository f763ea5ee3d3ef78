/* The tables behind tmpl_filter_find and tmpl_method_find. */
#pragma once

#include "model/tmpl_eval.h"

#define TMPL_FILTER(function)                                                                      \
    static struct tmpl_value function(struct tmpl_ctx *ctx, struct tmpl_value subject,             \
                                      const struct tmpl_value *args,                               \
                                      const struct tmpl_arguments *raw)

/* Each ends with an entry without name. */
extern const struct tmpl_filter tmpl_text_filters[];
extern const struct tmpl_filter tmpl_list_filters[];
/* The methods of str, but for its predicates. */
extern const struct tmpl_filter tmpl_str_methods[];
