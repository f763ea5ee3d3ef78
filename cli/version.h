/* Which build this is. */
#pragma once

/* "baton 0.1.0-dev+abc1234". */
const char *version_text(void);
