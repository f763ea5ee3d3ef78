/* `baton bench`: what Baton costs and reaches, each number beside the limit of this machine that
 * was measured in the same run. See README.md for the rows. */
#pragma once

/* Runs `bench` with what follows it on the command line (args[0] is "bench"), prints to stdout, and
 * gives the exit code: 0, 1 where a measurement failed (or missed its target, with --check), 2 for
 * a wrong command line. It forks, so the process must have no other threads. */
int bench_main(int argc, char **argv);
