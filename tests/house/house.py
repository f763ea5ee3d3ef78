"""The rules of the house, as checks that fail.

Each check takes the root of a tree and returns sentences, one for each violation: who may include
and link whom (floors, symbols), headers that stand alone (headers), and sizes, names and words
(sizes). test_house.py plants one violation of each kind and sees it reported. To change a rule,
change a table here in the same commit as the code that needs it, and say why there.

usage: house.py CHECK [--root TREE] [--build FOLDER] [--cc COMPILER]
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

# --- the tables ----------------------------------------------------------------------------------

# Folder -> what of ours its files may include: folders, or single headers.
INCLUDES = {
    "base": [],
    "wire": ["base/"],
    "kernels": ["base/status.h", "base/check.h"],
    "model": ["base/", "kernels/", "wire/kvgeom.h"],
    "engine": ["base/", "wire/", "model/", "kernels/"],
    "kvtransfer": ["base/", "wire/", "kernels/device.h"],
    "router": ["base/", "wire/", "model/"],  # of model only model_text: the symbols tell
    "prefill": ["base/", "wire/", "model/", "engine/", "kvtransfer/"],
    "decode": ["base/", "wire/", "model/", "engine/", "kvtransfer/"],
    "clients": [],
}
TOP_FLOOR = ["cli", "bench", "tests"]  # these may include everything

# Library -> the libraries whose symbols it may need.
LIBRARIES = {
    "base": [],
    "wire": ["base"],
    "kernels": ["base"],
    "model_text": ["base"],
    "model": ["base", "kernels", "wire", "model_text"],
    "engine": ["base", "wire", "model", "kernels"],
    "kvtransfer": ["base", "wire", "kernels"],
    "router": ["base", "wire", "model_text"],
    "prefill": ["base", "wire", "model", "engine", "kvtransfer"],
    "decode": ["base", "wire", "model", "engine", "kvtransfer"],
}

# Library of the system -> (its headers, its symbols, who may know it beside the top floor).
EXTERNAL = {
    "libevent": (r"event2/|event\.h|evhttp\.h|evdns\.h|evutil\.h",
                 r"event_|evbuffer_|evhttp_|bufferevent_|evconnlistener_|evthread_|evutil_",
                 ["base", "router"]),
    "libyaml": (r"yaml\.h", r"yaml_", ["base"]),
    "jansson": (r"jansson", r"json_|jansson_", ["base", "model", "model_text", "router"]),
    "ZeroMQ": (r"zmq", r"zmq_", ["wire", "clients"]),
    "msgpack-c": (r"msgpack", r"msgpack_", ["wire", "clients"]),
    "UCX": (r"(ucp|uct|ucs|ucm)/", r"(ucp|uct|ucs|ucm)_", ["kvtransfer"]),
    "PCRE2": (r"pcre2", r"pcre2_", ["model", "model_text"]),
    "utf8proc": (r"utf8proc", r"utf8proc_", ["model", "model_text"]),
    "xxHash": (r"xxh", r"XXH", ["wire", "kvtransfer", "model"]),
    "CUDA": (r"cuda|cublas|nccl", r"cuda|cublas|nccl", ["kernels"]),
    "sockets": (r"sys/socket|netinet/|arpa/|netdb|sys/un\.h",
                r"(socket|bind|listen|accept4?|connect|getaddrinfo|(send|recv)(msg|to|from)?)$",
                ["base", "wire", "kvtransfer", "router", "prefill", "decode", "clients"]),
    # The rest takes its memory from base/mem.h, whose n-th allocation tests can make fail.
    "libc's heap": (r"(?!)", r"([mc]alloc|realloc(array)?|str(n)?dup|(aligned_|memory|v)alloc"
                             r"|posix_memalign)$", ["base", "kernels"]),
    "cmocka": (r"cmocka", r"_?cmocka_", []),
}

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 80
KERNEL_LINES_MAX = 250
README_LINES_MAX = 60
COLUMNS_MAX = 100

# Functions in kernels/ that may have up to 250 lines, as "file function".
LONG_KERNELS = "tests/house/long_kernels.txt"
# Headers that CUDA sources share, besides those that contain extern "C".
SHARED_HEADERS = "tests/house/shared_headers.txt"

BAD_NAMES = re.compile(r"(common|utils?|misc|helpers?|core)$")
# Spelled in pieces, so that this file obeys its own rules.
BAD_WORDS = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME)\b"), "an unfinished note: do it, or say what is not done"),
    (re.compile(r"/(home|ro" r"ot|wo" r"rk|Us" r"ers)/\w"), "a path of one machine"),
    (re.compile(r"py" r"pi\.org|python" r"hosted|np" r"mjs|deb\.debi" r"an"), "a registry's host"),
    (re.compile(r"^(<{7}|>{7}) "), "a merge conflict"),
]

SOURCES = (".c", ".h", ".cu", ".cuh", ".py", ".sh", ".cmake")
NOT_OURS = re.compile(r"\./(build[^/]*|\.git)$|.*/(__pycache__|corpus)$")

# --- reading a tree ------------------------------------------------------------------------------


def files_of(root, *endings):
    """The tree's own files with one of the endings (all without), as sorted relative paths."""
    found = []
    for folder, folders, names in os.walk(root):
        place = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if not NOT_OURS.match(os.path.join(place, f))]
        found += [os.path.normpath(os.path.join(place, n)) for n in names
                  if not endings or n.endswith(endings)]
    return sorted(found)


def lines_of(root, path):
    """The lines of a text file; none for a binary one."""
    with open(os.path.join(root, path), "rb") as file:
        data = file.read()
    if b"\0" in data:
        return []
    return data.decode("utf-8", errors="replace").splitlines()


def listed(root, path):
    """The entries of a list file: one a line, without comments. Empty if there is no file."""
    if not os.path.exists(os.path.join(root, path)):
        return []
    entries = (line.split("#")[0].split() for line in lines_of(root, path))
    return [" ".join(entry) for entry in entries if entry]


# --- floors: who includes whom -------------------------------------------------------------------

INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)[">]')


def check_own_include(root, folder, target):
    """What is wrong with including our own file `target` from `folder`, or None."""
    top = target.split("/")[0]
    if folder == "clients" and "/" not in target:
        return None  # a client is built by itself, out of its own folder
    if "/" not in target or target.startswith("."):
        return "an include of ours starts at the root of the tree"
    if target.endswith(".c"):
        return "sources are linked, not included"
    if not os.path.exists(os.path.join(root, target)):
        return "there is no such file"
    if top == folder or folder in TOP_FLOOR:
        return None
    allowed = INCLUDES[folder]
    if any(target == a or (a.endswith("/") and target.startswith(a)) for a in allowed):
        return None
    return f"{folder}/ may include only {', '.join([folder + '/'] + allowed)} of ours"


def check_system_include(folder, target):
    """What is wrong with including <target> from `folder`, or None."""
    if target.split("/")[0] in INCLUDES or target.split("/")[0] in TOP_FLOOR:
        return 'ours are included with "quotes"'
    if folder in TOP_FLOOR:
        return None
    for library, (headers, _, users) in EXTERNAL.items():
        if re.match(headers, target) and folder not in users:
            return f"{folder}/ must not know {library}"
    return None


def check_floors(root):
    bad = []
    for path in files_of(root, ".c", ".h", ".cu", ".cuh"):
        folder = path.split("/")[0]
        if "/" not in path or (folder not in INCLUDES and folder not in TOP_FLOOR):
            bad.append(f"{path}: no floor has a folder {folder}; INCLUDES in house.py lists them")
            continue
        for number, line in enumerate(lines_of(root, path), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            wrong = (check_own_include(root, folder, target) if quote == '"'
                     else check_system_include(folder, target))
            if wrong:
                bad.append(f"{path}:{number}: includes {target}: {wrong}")
    return bad


# --- symbols: who links whom ---------------------------------------------------------------------


def symbols_of(archive):
    """(defined, undefined) global symbols of a static library, as sets."""
    defined, undefined = set(), set()
    out = subprocess.run(["nm", "-g", "-P", archive], capture_output=True, text=True, check=True)
    for line in out.stdout.splitlines():
        word = line.split()
        if len(word) < 2 or len(word[1]) != 1:
            continue
        if word[1] in "Uw":
            undefined.add(word[0])
        elif word[1] in "TDBRVWCSG":
            defined.add(word[0])
    return defined, undefined - defined


def archives_of(build):
    """Library name -> file, for libbaton_*.a outside the tests."""
    found = {}
    for folder, folders, names in os.walk(build):
        folders[:] = [f for f in folders if f not in ("tests", "CMakeFiles")]
        for name in names:
            match = re.fullmatch(r"libbaton_(\w+)\.a", name)
            if match:
                found[match.group(1)] = os.path.join(folder, name)
    return found


def check_need(library, symbol, owners):
    """What is wrong with `library` needing `symbol`, or None. owners: symbol -> our library."""
    owner = owners.get(symbol)
    if owner:
        if owner in LIBRARIES[library]:
            return None
        return f"{library} needs {symbol} of {owner}; it may use only {LIBRARIES[library]}"
    for name, (_, symbols, users) in EXTERNAL.items():
        if re.match(symbols, symbol) and library not in users:
            return f"{library} needs {symbol}: it must not know {name}"
    return None


def check_symbols(build):
    archives = archives_of(build)
    if not archives:
        return [f"{build}: there are no libraries: build first"]
    bad, owners, needs = [], {}, {}
    for library, path in sorted(archives.items()):
        if library not in LIBRARIES:
            if library not in TOP_FLOOR:
                bad.append(f"{path}: house.py lists no library {library}")
            continue
        defined, needs[library] = symbols_of(path)
        for symbol in sorted(defined):
            if owners.setdefault(symbol, library) != library:
                bad.append(f"{symbol} is defined by both {owners[symbol]} and {library}")
    for library in sorted(needs):
        wrong = (check_need(library, symbol, owners) for symbol in sorted(needs[library]))
        bad += [w for w in wrong if w]
    return bad


# --- headers: each compiles alone ----------------------------------------------------------------


def compile_alone(root, compiler, language, path):
    """Compiles a file that includes nothing but the header; returns the first error, or None."""
    command = [*compiler.split(), "-x", language[:-2], f"-std={language}", "-fsyntax-only", "-Wall",
               "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", root, "-"]
    # In the root, as a quoted name is searched in the current folder first.
    out = subprocess.run(command, input=f'#include "{path}"\n', cwd=root, capture_output=True,
                         text=True, check=False)
    if out.returncode == 0:
        return None
    errors = [line for line in out.stderr.splitlines() if "error" in line]
    return f"{path}: alone as {language}: {(errors or [out.stderr.strip()])[0]}"


def check_headers(root, cc="cc", cxx="c++"):
    bad, jobs = [], []
    shared = listed(root, SHARED_HEADERS)
    bad += [f"{SHARED_HEADERS}: there is no {p}" for p in shared
            if not os.path.exists(os.path.join(root, p))]
    for path in files_of(root, ".h"):
        lines = lines_of(root, path)
        if "#pragma once" not in lines:
            bad.append(f"{path}: has no #pragma once")
        jobs.append((cc, "c17", path))
        if path in shared or any('extern "C"' in line for line in lines):
            jobs.append((cxx, "c++17", path))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda job: compile_alone(root, *job), jobs)
        bad += [r for r in results if r]
    return bad


# --- sizes, names and words ----------------------------------------------------------------------


def functions_of(lines):
    """(name, first line, number of lines) of each C function, as clang-format lays it out: its
    brace alone in column 0. The signature counts."""
    found, start = [], None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
            while start > 0 and re.match(r"[^}#*/]", lines[start - 1]) \
                    and not lines[start - 1].endswith((";", "*/")):
                start -= 1
            names = re.findall(r"(\w+)\s*\(", " ".join(lines[start:number]))
            name = names[0] if names else "?"
        elif line.startswith("}") and start is not None:
            found.append((name, start + 1, number - start + 1))
            start = None
    return found


def check_functions(root, path, lines):
    long_kernels = listed(root, LONG_KERNELS)
    bad = []
    for name, first, size in functions_of(lines):
        limit = FUNCTION_LINES_MAX
        if path.startswith("kernels/") and f"{path} {name}" in long_kernels:
            limit = KERNEL_LINES_MAX
        if size > limit:
            bad.append(f"{path}:{first}: {name} has {size} lines, at most {limit} are allowed")
    return bad


def check_text(root, path, lines):
    """Lines, columns and words of one file."""
    bad = []
    name = os.path.basename(path)
    if path.endswith(SOURCES) or name in ("dev", "run", "CMakeLists.txt"):
        if len(lines) > FILE_LINES_MAX:
            bad.append(f"{path}: has {len(lines)} lines, at most {FILE_LINES_MAX} are allowed: "
                       "it has two subjects")
        bad += [f"{path}:{n}: has {len(line.expandtabs())} columns, {COLUMNS_MAX} are allowed"
                for n, line in enumerate(lines, 1) if len(line.expandtabs()) > COLUMNS_MAX]
    for number, line in enumerate(lines, 1):
        bad += [f"{path}:{number}: {what}" for word, what in BAD_WORDS if word.search(line)]
    if name == "README.md" and "/" in path and len(lines) > README_LINES_MAX:
        bad.append(f"{path}: has {len(lines)} lines, at most {README_LINES_MAX} are allowed")
    return bad


def check_sizes(root):
    bad = []
    paths = files_of(root)
    for path in paths:
        lines = lines_of(root, path)
        bad += check_text(root, path, lines)
        if path.endswith((".c", ".h", ".cu", ".cuh")):
            bad += check_functions(root, path, lines)
        for part in path.split("/"):
            if BAD_NAMES.match(part.split(".")[0]):
                bad.append(f"{path}: '{part}' says nothing: name it for what it is")
    folders = {p.split("/")[0] for p in paths if "/" in p and not p.startswith(".")}
    bad += [f"{folder}/: has no README.md" for folder in sorted(folders)
            if f"{folder}/README.md" not in paths]
    return bad


# --- command line --------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="check a rule of the house")
    parser.add_argument("check", choices=["floors", "symbols", "headers", "sizes"])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "../.."))
    parser.add_argument("--build", default="build")
    parser.add_argument("--cc", default="cc")
    args = parser.parse_args()
    root = os.path.realpath(args.root)
    if args.check == "floors":
        bad = check_floors(root)
    elif args.check == "symbols":
        bad = check_symbols(args.build)
    elif args.check == "headers":
        bad = check_headers(root, args.cc)
    else:
        bad = check_sizes(root)
    for sentence in bad:
        print(sentence)
    print(f"{args.check}: {len(bad)} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
