"""Plants one violation of each rule in a small tree and sees house.py report it, and only it.

A check that never fails checks nothing: every rule of house.py has a case here.
"""

import os
import subprocess
import tempfile
import textwrap
import unittest

import house

HEADER = "#pragma once\n\nint {name}(int x);\n"
CLEAN = {
    "base/README.md": "# base\n",
    "base/log.h": HEADER.format(name="log_it"),
    "base/log.c": '#include "base/log.h"\n\n#include <stdio.h>\n\nint log_it(int x)\n'
                  "{\n    return x;\n}\n",
    "wire/README.md": "# wire\n",
    "wire/kvgeom.h": HEADER.format(name="kvgeom_it"),
    "wire/msg.h": HEADER.format(name="msg_it"),
    "wire/msg.c": '#include "wire/msg.h"\n\n#include "base/log.h"\n\n#include <zmq.h>\n',
    "model/README.md": "# model\n",
    "model/model.c": '#include "wire/kvgeom.h"\n',
    "router/README.md": "# router\n",
    "router/router.h": HEADER.format(name="router_it"),
}


def function(n_lines, name="long_one"):
    """A function of so many lines, signature and braces counted."""
    return f"static int {name}(int x)\n{{\n" + "    x++;\n" * (n_lines - 4) + "    return x;\n}\n"


class Tree(unittest.TestCase):
    """A clean tree in a temporary folder, to which a case adds its violation."""

    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = place.name
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def expect(self, bad, *parts):
        """Exactly one violation, and its sentence has all parts."""
        self.assertEqual(len(bad), 1, bad)
        for part in parts:
            self.assertIn(part, bad[0])


class Floors(Tree):
    def case(self, path, include, *parts):
        self.write(path, f"{include}\n")
        self.expect(house.check_floors(self.root), f"{path}:1", *parts)

    def test_clean(self):
        self.assertEqual(house.check_floors(self.root), [])

    def test_upward(self):
        self.case("base/up.c", '#include "wire/msg.h"', "base/ may include only")

    def test_sideways(self):
        self.case("prefill/p.c", '#include "router/router.h"', "prefill/ may include only")

    def test_single_header_is_not_its_folder(self):
        self.case("model/m.c", '#include "wire/msg.h"', "wire/kvgeom.h")

    def test_clients_include_nothing_of_ours(self):
        self.case("clients/c/client.c", '#include "base/log.h"', "clients/ may include only")

    def test_nobody_includes_tests(self):
        self.write("tests/sim/sim.h", "")
        self.case("wire/w.c", '#include "tests/sim/sim.h"', "wire/ may include only")

    def test_library_of_another_floor(self):
        for folder, header in [("router", "ucp/api/ucp.h"), ("kvtransfer", "zmq.h"),
                               ("engine", "sys/socket.h"), ("wire", "event2/event.h"),
                               ("base", "msgpack.h"), ("kernels", "jansson.h"),
                               ("decode", "event2/http.h"), ("base", "cmocka.h"),
                               ("router", "pcre2.h"), ("base", "xxhash.h")]:
            with self.subTest(header):
                self.case(f"{folder}/x.c", f"#include <{header}>", f"{folder}/ must not know")
                os.remove(os.path.join(self.root, folder, "x.c"))

    def test_relative(self):
        self.case("base/x.c", '#include "log.h"', "starts at the root")

    def test_dots(self):
        self.case("base/x.c", '#include "../wire/msg.h"', "starts at the root")

    def test_source(self):
        self.case("tests/x.c", '#include "base/log.c"', "not included")

    def test_missing(self):
        self.case("base/x.c", '#include "base/none.h"', "no such file")

    def test_angled(self):
        self.case("wire/x.c", "#include <base/log.h>", "quotes")

    def test_indented_directive(self):
        self.case("base/x.c", '#  include "wire/msg.h"', "base/ may include only")

    def test_unknown_folder(self):
        self.write("attic/x.c", "")
        self.expect(house.check_floors(self.root), "attic/x.c", "no floor")

    def test_source_on_the_root(self):
        self.write("x.c", "")
        self.expect(house.check_floors(self.root), "x.c", "no floor")


class Symbols(Tree):
    def archive(self, library, text):
        source = os.path.join(self.root, f"{library}.c")
        self.write(f"{library}.c", text)
        subprocess.run(["cc", "-c", source, "-o", source + ".o"], check=True)
        subprocess.run(["ar", "rcs", os.path.join(self.root, f"libbaton_{library}.a"),
                        source + ".o"], check=True)

    def setUp(self):
        super().setUp()
        self.archive("base", "int log_it(void) { return 0; }")
        self.archive("wire", "int log_it(void); int msg_it(void) { return log_it(); }")

    def test_clean(self):
        self.assertEqual(house.check_symbols(self.root), [])

    def test_upward(self):
        self.archive("kernels", "int msg_it(void); int k_it(void) { return msg_it(); }")
        self.expect(house.check_symbols(self.root), "kernels needs msg_it of wire")

    def test_external(self):
        self.archive("router", "int ucp_init(void); int r_it(void) { return ucp_init(); }")
        self.expect(house.check_symbols(self.root), "router needs ucp_init", "UCX")

    def test_sockets(self):
        self.archive("engine", "int socket(void); int e_it(void) { return socket(); }")
        self.expect(house.check_symbols(self.root), "engine needs socket", "sockets")

    def test_heap(self):
        self.archive("wire", "void *calloc(unsigned long, unsigned long); "
                             "void *w_it(void) { return calloc(1, 1); }")
        self.expect(house.check_symbols(self.root), "wire needs calloc", "libc's heap")

    def test_text_in_a_worker(self):
        self.archive("model_text", "int tokenize_it(void) { return 0; }")
        self.archive("decode", "int tokenize_it(void); int d_it(void) { return tokenize_it(); }")
        self.expect(house.check_symbols(self.root), "decode needs tokenize_it of model_text")

    def test_double(self):
        self.archive("engine", "int log_it(void) { return 1; }")
        self.expect(house.check_symbols(self.root), "log_it is defined by both base and engine")

    def test_unknown_library(self):
        self.archive("attic", "int a_it(void) { return 1; }")
        self.expect(house.check_symbols(self.root), "no library attic")

    def test_nothing_built(self):
        self.expect(house.check_symbols(os.path.join(self.root, "base")), "build first")


class Headers(Tree):
    def test_clean(self):
        self.write("base/shared.h", '#pragma once\n#ifdef __cplusplus\nextern "C" {\n#endif\n'
                                    "int f(int x);\n#ifdef __cplusplus\n}\n#endif\n")
        self.assertEqual(house.check_headers(self.root), [])

    def test_not_self_contained(self):
        self.write("base/x.h", "#pragma once\nsize_t f(void);\n")
        self.expect(house.check_headers(self.root), "base/x.h: alone as c17", "size_t")

    def test_not_cxx(self):
        self.write("base/x.h", "#pragma once\n/* extern \"C\" */\nint f(int class);\n")
        self.expect(house.check_headers(self.root), "base/x.h: alone as c++17")

    def test_listed_not_cxx(self):
        self.write("base/x.h", "#pragma once\nint f(int class);\n")
        self.assertEqual(house.check_headers(self.root), [])
        self.write(house.SHARED_HEADERS, "# shared with CUDA\nbase/x.h\n")
        self.expect(house.check_headers(self.root), "base/x.h: alone as c++17")

    def test_listed_but_gone(self):
        self.write(house.SHARED_HEADERS, "base/gone.h\n")
        self.expect(house.check_headers(self.root), "there is no base/gone.h")

    def test_no_pragma(self):
        self.write("base/x.h", "int f(void);\n")
        self.expect(house.check_headers(self.root), "base/x.h: has no #pragma once")


class Sizes(Tree):
    def case(self, path, text, *parts):
        self.write(path, text)
        self.expect(house.check_sizes(self.root), path, *parts)

    def test_clean(self):
        self.write("base/x.c", "/* why */\n" + function(80))
        self.assertEqual(house.check_sizes(self.root), [])

    def test_long_file(self):
        self.case("base/x.c", "int x;\n" * 801, "801 lines")

    def test_long_function(self):
        self.case("base/x.c", function(81), "base/x.c:1", "long_one has 81 lines")

    def test_signature_counts(self):
        self.case("base/x.c", "/* why */\nstatic int\n" + function(80)[11:],
                  "base/x.c:2", "long_one has 81 lines")

    def test_second_function(self):
        self.case("base/x.c", function(20, "short_one") + "\n" + function(90), "long_one has 90")

    def test_long_kernel(self):
        self.write("kernels/README.md", "# kernels\n")
        self.write(house.LONG_KERNELS, "kernels/x.c long_one # unrolled by hand\n")
        self.write("tests/README.md", "# tests\n")
        self.write("kernels/x.c", function(250))
        self.assertEqual(house.check_sizes(self.root), [])
        self.case("kernels/x.c", function(251), "at most 250")

    def test_kernel_not_listed(self):
        self.write("kernels/README.md", "# kernels\n")
        self.case("kernels/x.c", function(81), "at most 80")

    def test_wide_line(self):
        self.case("base/x.c", "/* " + "x" * 98 + " */\n", "columns")

    def test_long_readme(self):
        self.case("base/README.md", "line\n" * 61, "61 lines")

    def test_no_readme(self):
        self.write("engine/x.c", "int x;\n")
        self.expect(house.check_sizes(self.root), "engine/: has no README.md")

    def test_empty_names(self):
        for name in ["common.c", "utils.h", "util.c", "misc/x.c", "helpers.py", "core.c",
                     "core/x.c"]:
            with self.subTest(name):
                self.case(f"base/{name}", "\n", "says nothing")
                os.remove(os.path.join(self.root, "base", name))

    def test_words(self):
        for text in ["TO" "DO: later", "FIX" "ME", "see /ho" "me/me/x", "in /wo" "rk/x",
                     "from py" "pi.org", "<<<<" "<<< HEAD"]:
            with self.subTest(text):
                self.case("base/x.md", textwrap.dedent(f"\n{text}\n"), "base/x.md:2")


if __name__ == "__main__":
    unittest.main()
