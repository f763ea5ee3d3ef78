"""Random templates from a grammar, compared with jinja2.

  template_random.py PIPE [COUNT] [SEED]

Counts as equal: the same text, or an error on both sides. What Baton refuses by name (status
UNSUPPORTED, or an integer over 64 bits) is counted apart.
"""
import random
import sys

import template_features
import template_oracle

NAMES = list(template_features.VARIABLES) + ["missing", "x", "y", "loop", "ns"]
ATTRIBUTES = ["name", "age", "a", "b", "tags", "role", "content", "address.city", "0", "items",
              "index", "last", "length", "nope", "upper", "keys"]
FILTERS = ["upper", "lower", "trim", "title", "capitalize", "length", "list", "first", "last",
           "reverse", "sort", "unique", "join", "string", "int", "float", "abs", "round", "sum",
           "min", "max", "tojson", "e", "safe", "items", "dictsort", "default", "select",
           "reject", "wordcount", "urlencode", "count", "map('string')", "map('upper')",
           "map(attribute='name')", "join(', ')", "join('-', attribute='name')", "default('d')",
           "default('d', true)", "replace('a', 'b')", "replace('l', x)", "round(1)",
           "round(1, 'floor')", "int(3)", "selectattr('name')", "selectattr('age', 'eq', 30)",
           "rejectattr('tags')", "select('odd')", "select('string')", "reject('none')",
           "sort(reverse=true)", "sort(attribute='name')", "batch(2)", "slice(2)", "tojson(indent=1)",
           "indent(2)", "indent(1, true)", "truncate(6)", "truncate(5, true)", "center(9)",
           "groupby('age')", "dictsort(by='value')", "trim('a')", "format(1)", "map('length')",
           "max(attribute='age')", "attr('name')", "tojson(sort_keys=true)", "tojson(true)"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
         "mapping", "sequence", "iterable", "callable", "true", "false", "odd", "even",
         "divisibleby 2", "eq 1", "ne 'a'", "lt 3", "ge(2)", "in list", "upper", "lower",
         "sameas none", "equalto('a')"]
METHODS = ["upper()", "lower()", "strip()", "lstrip()", "rstrip()", "title()", "split()",
           "split('l')", "split(',', 1)", "rsplit(' ', 1)", "splitlines()", "startswith('H')",
           "endswith('!')", "find('o')", "rfind('o')", "count('l')", "replace('l', 'LL')",
           "replace('', '-')", "join(names)", "keys()", "values()", "items()", "get('a')",
           "get('zz', 3)", "capitalize()", "zfill(9)", "center(7, '*')", "partition('l')",
           "isdigit()", "isalpha()", "index(1)", "count(1)", "format(1, x=2)", "strip('Hd')",
           "swapcase()", "isupper()", "copy()", "append(1)", "removeprefix('H')"]
CONSTANTS = ["0", "1", "2", "-1", "3.5", "1e3", "0.1", "'a'", "'Hello'", "''", "'x y'", "'é'",
             "true", "false", "none", "[]", "[1, 'a']", "(1, 2)", "{}", "{'a': 1}", "'<b>'",
             "'%s'", "'{} {x}'", "100"]


class Grammar:
    def __init__(self, rng):
        self.rng = rng

    def pick(self, items):
        return self.rng.choice(items)

    def expression(self, depth):
        r = self.rng.random()
        if depth <= 0 or r < 0.16:
            return self.pick(NAMES) if self.rng.random() < 0.6 else self.pick(CONSTANTS)
        sub = lambda: self.expression(depth - 1)
        if r < 0.30:
            return f"{sub()}|{self.pick(FILTERS)}"
        if r < 0.38:
            return f"({sub()}).{self.pick(METHODS)}"
        if r < 0.46:
            return f"({sub()}).{self.pick(ATTRIBUTES)}"
        if r < 0.52:
            return f"({sub()})[{sub()}]"
        if r < 0.57:
            bound = lambda: self.pick(["", "", "1", "-1", "2", "-2", "0", "5"])
            step = self.pick(["", ":", ":2", ":-1", ":-2"])
            return f"({sub()})[{bound()}:{bound()}{step}]"
        if r < 0.70:
            op = self.pick(["+", "-", "*", "/", "//", "%", "~", "+", "~", "and", "or"])
            return f"({sub()} {op} {sub()})"
        if r < 0.78:
            op = self.pick(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
            return f"({sub()} {op} {sub()})"
        if r < 0.85:
            return f"({sub()} is {self.pick(['', 'not '])}{self.pick(TESTS)})"
        if r < 0.89:
            return f"({sub()} if {sub()} else {sub()})"
        if r < 0.92:
            return f"(not {sub()})"
        if r < 0.95:
            return f"[{sub()}, {sub()}]"
        if r < 0.97:
            return f"{{'k': {sub()}, {self.pick(CONSTANTS)}: {sub()}}}"
        return self.pick(["range(4)", "range(1, 9, 3)", "namespace(a=1)", "dict(b=2)", "(-n)",
                          "m(1)", "m(b=2)", "'%s-%d' % ('q', 4)"])

    def space(self):
        return self.pick(["", "", " ", "\n", "  \n", "\n\n  ", "text ", " é\n", "\t"])

    def tag(self, body):
        left = self.pick(["", "", "", "-", "+"])
        right = self.pick(["", "", "", "-", "+"])
        return "{%" + left + " " + body + " " + right + "%}"

    def body(self, depth):
        pieces = [self.space()]
        for _ in range(self.rng.randint(1, 3)):
            pieces.append(self.statement(depth))
            pieces.append(self.space())
        return "".join(pieces)

    def statement(self, depth):
        r = self.rng.random()
        expression = self.expression(2)
        if depth <= 0 or r < 0.45:
            return "{{" + self.pick(["", "", "-"]) + " " + expression + " " + self.pick(
                ["", "", "-"]) + "}}"
        inner = lambda: self.body(depth - 1)
        if r < 0.58:
            other = self.tag("else") + inner() if self.rng.random() < 0.5 else ""
            if self.rng.random() < 0.3:
                other = self.tag("elif " + self.expression(1)) + inner() + other
            return self.tag("if " + expression) + inner() + other + self.tag("endif")
        if r < 0.74:
            target = self.pick(["x", "y", "x, y", "n", "x"])
            source = self.pick(["list", "names", "users", "nested", "messages", "dict.items()",
                                "dict|items", "mixed", "range(3)", "text", expression])
            test = f" if {self.expression(1)}" if self.rng.random() < 0.25 else ""
            jump = ""
            if self.rng.random() < 0.2:
                jump = self.tag("if loop.index == 2") + self.tag(self.pick(["break", "continue"]))
                jump += self.tag("endif")
            other = self.tag("else") + inner() if self.rng.random() < 0.2 else ""
            return (self.tag(f"for {target} in {source}{test}") + jump + inner() + other
                    + self.tag("endfor"))
        if r < 0.84:
            return self.tag(f"set {self.pick(['x', 'y', 'n', 'ns.a', 'x, y'])} = {expression}")
        if r < 0.88:
            return self.tag("set " + self.pick(["x", "y|upper"]).replace("|", " | ")) + inner() + (
                self.tag("endset"))
        if r < 0.92:
            return (self.tag("macro m(" + self.pick(["", "a", "a, b=3", "x=n"]) + ")") + inner()
                    + self.tag("endmacro") + "{{ m(1) }}")
        if r < 0.94:
            return self.tag("filter " + self.pick(["upper", "trim", "replace('e', 'E')|title"])) + (
                inner() + self.tag("endfilter"))
        if r < 0.96:
            return self.tag("with x = " + expression) + inner() + self.tag("endwith")
        if r < 0.98:
            return "{#" + self.pick(["", "-"]) + " c " + self.pick(["", "-"]) + "#}"
        return self.tag("raw") + " {{ x }} " + self.tag("endraw")


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rng = random.Random(seed)
    grammar = Grammar(rng)
    pipe = template_oracle.Pipe(sys.argv[1])
    texts = errors = refused = different = 0
    for i in range(count):
        template = grammar.body(3) if rng.random() < 0.5 else "{{ " + grammar.expression(4) + " }}"
        want = template_oracle.reference(template, template_features.VARIABLES)
        got = pipe.render(template, template_features.VARIABLES)
        if not got[0] and (got[4] == 14 or "64 bits" in got[1]):
            refused += 1
        elif want[0] and " at 0x" in want[1]:
            refused += 1  # an address of Python's
        elif template_features.same(want, got):
            texts += want[0]
            errors += not want[0]
        else:
            different += 1
            if different <= 30:
                print(f"DIFFERENT {template!r}\n  {want}\n  {got}"[:1500])
    print(f"{count} templates, seed {seed}: {texts} texts and {errors} errors equal, "
          f"{refused} refused, {different} different")
    return different != 0


if __name__ == "__main__":
    sys.exit(main())
