/* Faults that tests plant on purpose, to prove that they would be found. In every build but those
 * test libraries PLANTED is the constant 0 and the compiler drops what it guards. */
#pragma once

#ifdef BATON_PLANT
#define PLANTED(n) (BATON_PLANT == (n))
/* What the test of the real binary looks for. */
__attribute__((used)) static const char baton_plant_mark[] = "BATON_PLANT_MARK";
#else
#define PLANTED(n) 0
#endif
