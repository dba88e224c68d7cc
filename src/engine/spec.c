/* SPDX-License-Identifier: MIT
 * spec.c - a specialisation as compiler options. */
#include "engine/engine.h"

void clattn__spec_options(const struct clattn__spec *spec, struct clattn__text *out)
{
#define SPEC_OPTION(name) clattn__text_add(out, "%s-D" #name "=%d", out->used ? " " : "", (int)spec->name);
    CLATTN__SPEC_LIST(SPEC_OPTION)
#undef SPEC_OPTION
}
