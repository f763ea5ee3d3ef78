/* The planted bugs and what each breaks. CMakeLists.txt compiles the one file of each with
 * -DBATON_PLANT=n and links a simulator that must find it; nothing of it is in the real binary. */
#pragma once

/* X(number, file, what) */
#define SIM_PLANTS(X)                                                                              \
    X(1, "kvtransfer/kvt_pair.c", "hand-overs of a stuck pair are closed without a fence")         \
    X(3, "kvtransfer/kvt_in.c", "the digest of a landed piece is not compared")                    \
    X(5, "kvtransfer/kvt_in.c", "blocks are given up while fetches into them are pending")         \
    X(8, "kvtransfer/kvt_in.c", "a seal is enough, pieces may be missing")                         \
    X(11, "prefill/prefill.c", "lent blocks are freed at a cancel while they may be read")         \
    X(12, "decode/decode.c", "landing blocks are freed at a cancel while bytes may land")          \
    X(13, "router/requests.c", "prompts of a lost P are not computed again")                       \
    X(14, "router/place.c", "D is not told when a request leaves it")                              \
    X(15, "router/place.c", "the prompt/emitted border is lost at resubmission")                   \
    X(16, "router/place.c", "a new reservation has the generation of the old one")                 \
    X(17, "router/requests.c", "answers of old attempts and generations are taken")                \
    X(18, "router/requests.c", "D's copy of the first token is taken for the next one")            \
    X(19, "router/requests.c", "a request may crash nodes for ever")                               \
    X(20, "router/requests.c", "a node that dies before its done makes the stream go on")          \
    X(21, "wire/session.c", "a lost message does not break its session")                           \
    X(22, "wire/bond.c", "a node goes on with the requests of a lost router")                      \
    X(23, "decode/decode.c", "D does not say that a landing failed")                               \
    X(24, "decode/batch.c", "the likeliest ids of a step's tokens are lost")                       \
    X(25, "router/answer_text.c",                                                                  \
      "text held back for a stop string is sent twice to a new reader")                            \
    X(26, "router/requests.c", "a stop string does not end its request")                           \
    X(27, "router/answer_text.c", "stop strings are looked for before min_tokens")
