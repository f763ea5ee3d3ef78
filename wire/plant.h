/* Faults that tests plant on purpose, to prove that they would be found. In every build but those
 * test libraries PLANTED is the constant 0 and the compiler drops what it guards. */
#pragma once

#ifdef BATON_PLANT
#define PLANTED(n) (BATON_PLANT == (n))
#else
#define PLANTED(n) 0
#endif
