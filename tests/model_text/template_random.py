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
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
         "mapping", "sequence", "iterable", "callable", "true", "false", "odd", "even",
         "divisibleby 2", "eq 1", "ne 'a'", "lt 3", "ge(2)", "in list", "upper", "lower",
         "sameas none", "equalto('a')"]
CONSTANTS = ["0", "1", "2", "-1", "3.5", "1e3", "0.1", "'a'", "'Hello'", "''", "'x y'", "'é'",
             "true", "false", "none", "[]", "[1, 'a']", "(1, 2)", "{}", "{'a': 1}", "'<b>'",
             "'%s'", "'{} {x}'", "100"]


LEAVES = {
    "str": ["text", "words", "lines", "html", "empty", "greek", "'a'", "'Hello'", "'x y'", "'é<'",
            "names[0]", "dict['1']", "messages[0].role", "users[0].name"],
    "num": ["n", "neg", "zero", "real", "yes", "1", "2", "-3", "0.5", "1e3", "dict.b", "list[0]",
            "users[0].age", "(names|length)", "range(9)[2]"],
    "list": ["list", "names", "nested", "mixed", "users", "messages", "[]", "[1, 2.5, n]",
             "(1, 'a')", "['b', 'a']", "range(4)", "nested[0]", "dict.keys()|list", "dict|items"],
    "dict": ["dict", "users[0]", "users[1].address", "{}", "{'a': 1, 'b': [2]}", "messages[0]"],
    "bool": ["yes", "no", "nil", "missing", "missing is defined", "nil is none"],
}
LEAVES["any"] = sum(LEAVES.values(), []) + NAMES + CONSTANTS
# What gives which kind; %s %n %l %d %b %a stand for a str, num, list, dict, bool and anything.
RULES = {
    "str": ["%s|upper", "%s|lower", "%s|title", "%s|capitalize", "%s|trim", "%s|reverse",
            "(%s ~ %a)", "(%a ~ %n)", "(%s + %s)", "%s|replace(%s, %s)", "%a|string", "%a|tojson",
            "%a|tojson(indent=%n|int|abs)", "%l|join(%s)", "%l|join", "%s|e", "%s|safe",
            "(%s)[%n|int]", "(%s)[:%n|int]", "(%s)[%n|int:]", "(%s)[::-1]", "(%s).strip(%s)",
            "(%s).lstrip()", "(%s).rstrip(%s)", "(%s).title()", "(%s).replace(%s, %s, 1)",
            "(%s).upper()", "(%s).zfill(7)", "(%s).center(12, '*')", "(%s if %b else %s)",
            "%s|indent", "%s|indent(1, true, true)", "%s|truncate(7)", "%s|truncate(6, true, '')",
            "%s|center(14)", "%s|urlencode", "'%%s-%%r' % (%a, %a)", "'{}|{!r}'.format(%a, %s)",
            "(%s).removeprefix(%s)", "(%s).split(%s or ' ')[0]", "(%s * 2)", "%s|default(%s)",
            "(%s).ljust(9)", "%d|tojson", "(%s).join(%l|map('string'))", "%a|e", "%s|forceescape",
            "%n|filesizeformat", "'%%5.2f|%%-4d|%%x' % (%n, %n, %n|int|abs)",
            "'{:>6}|{:<4}|{:^5}'.format(%s, %s, %s)", "'{:.2f}'.format(%n|float)",
             "(%s).swapcase()",
            "%s|first", "%s|last", "%l|map('string')|join('/')"],
    "num": ["(%n + %n)", "(%n - %n)", "(%n * %n)", "(%n / %n)", "(%n // %n)", "(%n % %n)", "(-%n)",
            "%s|length", "%l|length", "%d|length", "%n|abs", "%n|round", "%n|round(1)",
            "%n|round(1, 'ceil')", "%n|round(0, 'floor')", "%n|int", "%n|float", "%s|int(%n)",
            "%s|float", "(%s).find(%s)", "(%s).rfind(%s)", "(%s).count(%s)", "[%n, %n]|sum",
            "[%n, %n]|max", "[%n, %n]|min", "(%n if %b else %n)", "(%n ** 2)", "%s|wordcount",
            "%l|list|count", "(%l|list).index(%a)", "%n|default(1)", "(%n or %n)", "%b|int",
            "loop.index", "loop.length", "loop.revindex0"],
    "list": ["[%a, %a]", "(%a, %a)", "%l|list", "%l|list|reverse|list", "%l|reverse|list",
             "%s|list",
             "%d|list", "%d|items|list", "%d.values()|list", "%d|dictsort", "[%s, %s, %s]|sort",
             "[%n, %n, %n]|sort(reverse=true)", "[%s, %s, %s]|unique|list", "%l|map('string')|list",
             "%l|map('length')|list", "%l|select('string')|list", "%l|reject('none')|list",
             "%l|select|list", "users|selectattr(%s)|list", "users|map(attribute='name')|list",
             "users|map(attribute=%s, default=%a)|list", "users|selectattr('age', 'eq', %n)|list",
             "users|rejectattr('tags')|map(attribute='name')", "(%l|list)[%n|int:]",
             "(%l|list)[:%n|int]", "(%l|list)[::2]", "(%l|list + [%a])", "(%s).split()",
             "(%s).split(%s)", "(%s).rsplit(%s, 1)", "(%s).splitlines()", "(%s).partition(%s)",
             "%l|batch(2)|list", "%l|batch(3, %a)|list", "%l|slice(2)|list", "range(%n|int)|list",
             "users|groupby('age', default=0)", "messages|groupby('role')|map('last')|list",
             "(%l if %b else %l)", "[%l, %l]|map('first')|list", "(%l|list * 2)",
             "[%s, %s]|map('upper')|list", "[%s, %s]|map('replace', %s, %s)|list",
             "%l|map('default', %a)|list", "[%n, %n, 3]|select('gt', %n)|list"],
    "dict": ["{'k': %a, %s: %a}", "dict(a=%a)", "(%d if %b else %d)", "{%n: %s}", "(%d or %d)",
             "dict(%d)", "dict([[%s, %n]])", "namespace(a=%a)"],
    "bool": ["(%n < %n)", "(%n >= %n)", "(%a == %a)", "(%a != %a)", "(%s < %s)", "(%s in %s)",
             "(%s in %l)", "(%a in %l|list)", "(%s in %d)", "(%s not in %d)", "(not %a)",
             "(%a and %a)", "(%a or %a)", "(%a is %t)", "(%n is %t)", "(%s is %t)", "(%l is %t)",
             "(%a is not %t)", "(%s).startswith(%s)", "(%s).endswith(%s)", "(%n < %n < %n)",
             "(%s).isdigit()", "(%s).isupper()", "%a|default(%b, true)"],
    "any": ["%s", "%n", "%l", "%d", "%b", "%l|first", "%l|last", "(%l|list)[%n|int]", "(%d)[%s]",
            "(%d).a", "(%d).get(%s, %a)", "(%a if %b else %a)", "(%a if %b)", "%l|list|min",
            "[%n, %n]|max", "users[%n|int].name", "%a|default(%a)",
            "users|map(attribute='age')|select|list|max", "(%d).items()", "ns.a", "m(%a)",
            "m(b=%a)", "%a|attr('x')", "loop.previtem", "loop.nextitem", "(%d).b", "(%a).content"],
}
KINDS = {"s": "str", "n": "num", "l": "list", "d": "dict", "b": "bool", "a": "any"}


class Grammar:
    def __init__(self, rng):
        self.rng = rng

    def pick(self, items):
        return self.rng.choice(items)

    def expression(self, depth, kind="any"):
        r = self.rng.random()
        if r < 0.03:  # now and then something of another kind, for the errors
            kind = self.pick(list(RULES))
        if depth <= 0 or r < 0.15:
            return self.pick(LEAVES[kind])
        out, rule, i = [], self.pick(RULES[kind]), 0
        while i < len(rule):
            c = rule[i + 1] if rule[i] == "%" and i + 1 < len(rule) else ""
            if c == "%":
                out.append("%")
            elif c == "t":
                out.append(self.pick(TESTS))
            elif c in KINDS and c:
                inner = self.expression(depth - 1, KINDS[c])
                out.append(f"({inner})" if rule[i + 2: i + 3] in ("|", ".", "[") else inner)
            else:
                out.append(rule[i])
                i += 1
                continue
            i += 2
        return "".join(out)

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
        if rng.random() < 0.5:
            template = grammar.body(3)
        else:
            template = "{{ " + grammar.expression(rng.randint(1, 4)) + " }}"
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
