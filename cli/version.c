/* The one file that is compiled with the version (see the top CMakeLists.txt). */
#include "cli/version.h"

const char *version_text(void)
{
    return "baton " BATON_VERSION;
}
