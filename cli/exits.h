/* How `baton` ends: what scripts, systemd and the supervisor can rely on. */
#pragma once

enum exit_code {
    EXIT_DONE = 0,        /* all is well */
    EXIT_FAILED = 1,      /* the request or the command failed; the sentence says why */
    EXIT_USAGE = 2,       /* the command line is wrong */
    EXIT_CONFIG = 3,      /* the fleet file is wrong, or refused for security */
    EXIT_ADDRESS = 4,     /* an address, device or other thing of the machine cannot be had */
    EXIT_UNREACHABLE = 5, /* nobody answers there, or the fleet was not ready in time */
    EXIT_FATAL = 6,       /* a running node met something it cannot go on from */
};
