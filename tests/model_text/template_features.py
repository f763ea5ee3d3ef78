"""Small templates, one construct each, with the variables that all of them see.

Run as a script it compares all with jinja2: template_features.py PIPE.
"""
import sys

import template_oracle

VARIABLES = {
    "n": 7,
    "neg": -7,
    "zero": 0,
    "real": 2.5,
    "big": 123456789012345678901234567890,
    "yes": True,
    "no": False,
    "nil": None,
    "text": "Hello, Wörld!",
    "words": "the quick  brown\tfox\njumps ",
    "lines": "a\nb\r\nc\n\nd\u2028e",
    "html": "<b class=\"x\">&'</b>",
    "greek": "ΑΣ ΌΔΟΣ ß ŉ ﬁ İI ǆ",
    "empty": "",
    "list": [3, 1, 2],
    "names": ["bob", "Alice", "carol", "alice", "Bob"],
    "mixed": [1, "a", None, True, 2.0, [1, 2], {"k": "v"}, ""],
    "nested": [[1, 2], [3, 4], [5, 6]],
    "dict": {"b": 2, "a": 1, "C": 3, "items": "shadow", "_x": 9, "1": "one"},
    "users": [
        {"name": "Ann", "age": 30, "tags": ["x", "y"], "address": {"city": "Rome"}},
        {"name": "bob", "age": 25, "tags": [], "address": {"city": "oslo"}},
        {"name": "Cid", "age": 30, "address": {"city": "Oslo"}},
        {"name": "dee", "age": None, "tags": ["z"]},
    ],
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
    ],
}

EXPRESSIONS = """
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 // -2, 7.5 // 2, -7.5 // 2
7 % 3, -7 % 3, 7 % -3, 7.5 % 2, -7.5 % 2, 5 % 2.5
2 ** 10, 2 ** -1, 2 ** 0.5, -2 ** 2, 2 ** 3 ** 2, (-2) ** 3
1 / 3, 2 / 1, 1e16, 1e15, 123456789.125, 1e-5, 0.0001, 1.5e300 * 1e10, -0.0
0.1 + 0.2, 1e22, 1e21, 5e-324, 1.7976931348623157e308, 100000000000000000000.0
9223372036854775807, -9223372036854775807 - 1
big + 1
big, big == big, big > n, big is integer, big is number, -1 < big
1_000, 0x1F, 0b101, 0o17, 1_0.5_0, 1e3, 0
1 < 2 < 3, 1 < 2 > 3, 1 == 1.0, 1 == true, 'a' < 'b', [1, 2] < [1, 3], (1, 2) == (1, 2), [1] == (1,)
1 in list, 4 in list, 'ell' in text, 'b' in dict, 'z' not in dict, 1 not in list
not yes, not nil, not not 1, yes and no, yes or no, nil or 'x', '' and 1, 0 or '' or nil
'a' ~ 1 ~ nil ~ true ~ 1.5 ~ [1] ~ undefined_name
'yes' if yes else 'no', 'x' if no, ('x' if no) is defined
n if n > 5 else 0 if n > 3 else 1
text[0], text[-1], text[7], text[100], text[1:4], text[:3], text[3:], text[::-1], text[1:9:3],
   text[-3:]
text[::2], text[8:2:-2], text[100:], text[:-100], list[1:], list[::-1], list[:2], list[-1], list[5]
nested[1][0], users[0].address.city, users[0]['address']['city'], users.0.name
dict.b, dict['b'], dict.items, dict['items'], dict.missing, dict['missing'], dict._x, dict.1
dict.get('b'), dict.get('zz'), dict.get('zz', 5)
missing, missing is defined, missing is undefined, missing | default('d'), missing == other
missing.attribute
missing['item']
missing + 1
missing()
dict.missing.more
nil.attribute, nil is none
nil.a.b
nil['x']
1 + 'a'
'a' + 1
[1] + (2,)
'a' * 3, 3 * 'ab', [1] * 2, 'a' * -1, (1,) * 2
[1, 2] + [3], (1,) + (2,), [] , (), {}, (1,), [[]], {'a': {'b': [1]}}
{'a': 1, 'b': 2, 'a': 3}, {1: 'x', true: 'y'}, {'x': 1}.x, {1: 2}[1]
{[1]: 2}
'%s is %d years and %.2f' % ('x', 5, 1.239)
'%5s|%-5s|%05d|%+d|%x|%X|%o|%e|%g|%c|%%|%r' % ('a', 'b', 42, 5, 255, 255, 8, 12345.678, 0.0001,
   'z', 'q')
'%(a)s-%(b)d' % {'a': 'x', 'b': 2}
'%s' % [1, 2], '%s' % 5, '%s %s' % (1,)
'%d' % 'x'
'%s'|format('x'), '%(k)s'|format(k=1), '%s'
'{} {}'.format(1, 'a'), '{0}{1}{0}'.format('x', 'y'), '{a}'.format(a=3), '{{}}'.format()
'{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:x}|{:+}|{:%}|{!r}'.format('a', 'b', 'c', 42, 1.005,
   1234567, 255, 5, 0.25, 'q')
'{0.name} {0[age]} {1[0]}'.format(users[0], list)
'{} {0}'.format(1)
text|upper, text|lower, text|title, text|capitalize, text|length, text|reverse, text|first,
   text|last
greek|upper, greek|lower, greek|title, greek|capitalize
text.upper(), text.lower(), text.title(), text.capitalize(), text.swapcase(), greek.title(),
   greek.swapcase()
"they're bill's-friends (from) the.UK"|title, "they're bill's friends".title()
words|trim, words.strip(), words.lstrip(), words.rstrip(), '  x '|trim, 'xxaxx'|trim('x'),
   'abcba'.strip('ab')
words.split(), words.split(' '), words.split(none, 1), 'a,b,,c'.split(','), 'a,b,c'.split(',',
   1), ''.split(), ''.split(',')
words.rsplit(), 'a,b,c'.rsplit(',', 1), ' a b  c '.rsplit(none, 1), 'a-b'.partition('-'),
   'a-b-c'.rpartition('-'), 'x'.partition('-')
'a,b'.split(sep=','), 'a b c'.split(maxsplit=1), 'abc'.split('')
lines.splitlines(), lines.splitlines(true), ''.splitlines()
text.startswith('He'), text.endswith('!'), text.startswith(('x', 'H')), text.startswith('l', 2),
   text.find('o'), text.rfind('l'), text.find('z'), text.index('W'), text.count('l'),
   text.find('l', 5), 'aaa'.count('a', 1), 'abc'.count('')
text.index('zzz')
text.replace('l', 'L'), text.replace('l', 'L', 1), 'abc'.replace('', '-'), text|replace('o', 0),
   'aaa'|replace('a', 'b', 2), 'ab'.replace('', '-', 2)
'x'.join(['a', 'b']), ','.join('abc'), 'x'.join([])
'x'.join([1])
'5'.zfill(3), [('<'|safe).zfill(3)], '-5'.zfill(4), 'a'.center(5), 'a'.center(4, '*'),
   'a'.ljust(3) ~ '|',
   'a'.rjust(3), 'ab'.center(5, '-')
'abc'.isalpha(), 'a1'.isalnum(), '12'.isdigit(), '²'.isdigit(), '½'.isnumeric(), ' '.isspace(),
   'aB'.isupper(), 'AB'.isupper(), 'ab1'.islower(), ''.isalpha(), 'é'.isascii()
'prefix-x'.removeprefix('prefix-'), 'x.py'.removesuffix('.py'), 'x'.removeprefix('y')
'abc'.encode()
list.append(4)
dict.update({})
dict.pop('a')
list.append, dict.clear
text.__class__, text._private, dict.__init__
''.__class__.__mro__
dict.keys(), dict.values(), dict.items(), dict.keys()|list, dict.values()|list,
   dict.items()|list, dict.keys()|length
dict|items|list, dict|list, dict|length, dict|first, dict|last, missing|items|list
'b' in dict.keys(), 2 in dict.values(), ('b', 2) in dict.items()
dict|dictsort, dict|dictsort(true), dict|dictsort(reverse=true), {'a': 2, 'b':
   1}|dictsort(by='value')
list|sort, list|sort(reverse=true), names|sort, names|sort(case_sensitive=true),
   users|map(attribute='name')|sort|list
users|selectattr('age')|sort(attribute='age,name')|map(attribute='name')|list,
   users|selectattr('age')|sort(attribute='age', reverse=true)|map(attribute='name')|join(' ')
mixed|sort
list|min, list|max, names|min, names|max, []|min, []|max is defined, users|max(attribute='name')
list|sum, [1.5, 2]|sum, users|selectattr('age')|sum(attribute='age'), []|sum, [[1],
   [2]]|sum(start=[]), [1]|sum(start=10)
['a']|sum
list|join, list|join(', '), list|join(attribute='x'), users|join('-', attribute='name'),
   text|join('.'), []|join(','), [1, nil, true]|join(' ')
list|first, list|last, []|first, []|last, ''|first, text|list|length, 'abc'|list
5|first
list|length, 'äö'|length, {}|length, 5|length
list|reverse|list, 'abc'|reverse, dict|reverse|list, (1, 2)|reverse|list, range(3)|reverse|list
names|unique|list, names|unique(case_sensitive=true)|list, [1, 1.0, true, '1']|unique|list,
   users|unique(attribute='age')|map(attribute='name')|list
names|map('upper')|list, users|map(attribute='address.city')|list,
   users|map(attribute='address.city', default='?')|list, users|map(attribute='tags.0')|list,
   ['1', '2']|map('int')|sum, names|map('replace', 'o', '0')|join(',')
users|map(attribute='nope')|list, users|map('nofilter')|list
list|map|list
list|select('odd')|list, list|reject('odd')|list, mixed|select|list, mixed|reject|list,
   list|select('gt', 1)|list, list|select('in', [1, 2])|list
users|selectattr('age', 'eq', 30)|map(attribute='name')|list, users|rejectattr('age',
   'none')|map(attribute='name')|list, users|selectattr('tags')|map(attribute='name')|list,
   users|selectattr('tags', 'defined')|list|length, users|selectattr('address.city', 'equalto',
   'Rome')|list|length
users|selectattr()|list
list|select('notest')|list
users|groupby('age')|list
users|selectattr('age')|groupby('age')|map('list')|list
users|selectattr('address')|groupby('address.city')|map(attribute='grouper')|list,
   users|groupby('address.city', default='x')|map('first')|list
range(10)|batch(3)|list, range(10)|batch(3, 0)|list, range(10)|slice(3)|list, range(10)|slice(3,
   'x')|list, []|batch(2)|list
'3'|int, '3.7'|int, 'x'|int, 'x'|int(5), 3.9|int, -3.9|int, true|int, nil|int, '0x1f'|int(0,
   16), '1f'|int(base=16), ' 12 '|int, '1_000'|int, '0b11'|int(base=2), [1]|int
'3.5'|float, 'x'|float, 'x'|float(1.5), 3|float, '1e5'|float, nil|float
missing|int
42.55|round, 42.55|round(1), 42.55|round(1, 'floor'), 42.41|round(0, 'ceil'), 42|round,
   2.5|round, 3.5|round, -2.5|round, 1234|round(-2), 1250|round(-2), 1350|round(-2),
   1234.5|round(-2), 0.05|round(1), 42|round(1, 'ceil')
'x'|round
-5|abs, 5.5|abs, -5.5|abs, true|abs
'x'|abs
html|e, html|escape, html|escape|escape, html|forceescape, html|safe, (html|safe) ~ '<',
   (html|safe) + '<', '<' + (html|safe), '<'|safe + '>' + 'x'
('<'|safe) * 2, ('%s'|safe) % '<', ('<b>'|safe)|upper, ('<a>,<b>'|safe).split(','),
   ('<'|safe)|string|e, ('<'|safe)|replace('<', '>') ~ '', ('x'|safe).replace('x', '<'),
   ('<'|safe)|trim + '<', ('<'|safe)|length, ('<x>'|safe)[0] + '<', ('-'|safe).join(['<', '>']),
   [('<'|safe)]
'a\\nb'|indent, 'a\\n\\nb'|indent(2), 'a\\nb'|indent(2, true), 'a\\n\\nb'|indent(2, first=true,
   blank=true), 'a\\nb'|indent('> ')
'foo bar baz qux'|truncate(9), 'foo bar baz qux'|truncate(9, true), 'foo bar baz
   qux'|truncate(11), 'foo bar baz qux'|truncate(11, false, '...', 0), 'föö bär'|truncate(5, true,
   '…', 0)
'foo bar, baz-qux'|wordcount, 'abc'|center(9) ~ '|', 'a b&c/d?é=ü'|urlencode, {'a b': 'c/d',
   'x': 1}|urlencode, [('a', 'b')]|urlencode
1|filesizeformat, 500|filesizeformat, 13000|filesizeformat, 4100000|filesizeformat,
   3000|filesizeformat(true), 1e12|filesizeformat
mixed|tojson, dict|tojson, users|tojson(indent=2), {}|tojson(indent=2), []|tojson, {'a':
   []}|tojson(indent=1), text|tojson(ensure_ascii=true), '👩 \\x7f \\x01'|tojson(true)
dict|tojson(sort_keys=true), dict|tojson(separators=(',', ':')), {'a': [1, {'b':
   2}]}|tojson(indent=4), {'a': 1}|tojson(indent='--'), [1, 2]|tojson(indent=0)
html|tojson, "a\\"b\\\\c/d\\n\\t\\u2028"|tojson, {1: 1, 1.5: 2, none: 3, true: 4}|tojson,
   1e100|tojson, (1, 2)|tojson, big|tojson
missing|tojson
range(3)|tojson
{(1, 2): 3}|tojson
missing|default, missing|d('x'), nil|default('x'), nil|default('x', true), ''|default('x',
   boolean=true), dict.zz|default(1), 0|d(5, true)
n is number, n is integer, n is float, real is float, yes is integer, yes is number, yes is
   boolean, n is string, text is string, text is iterable, text is sequence, n is iterable, list
   is sequence, dict is mapping, list is mapping, dict is sequence, dict is iterable, nil is none,
   n is none
n is odd, n is even, n is divisibleby 7, n is divisibleby(3), 0 is even, neg is odd, 2.0 is even
'abc' is lower, 'ABC' is upper, 'aBc' is lower, '' is lower, '1' is upper, 'é' is lower
n is eq 7, n is ne 7, n is lt 8, n is gt(8), n is ge 7, n is le 6, n is equalto 7, n is sameas
   7, yes is sameas true, n is in list, 3 is in list, n is not in [7], n is greaterthan 3, n is
   lessthan 3, n is == 7
n is not defined, n is not none, not n is none, missing is not defined, n is defined and n > 3
yes is true, no is false, 1 is true, yes is not false, html|safe is escaped, html is escaped,
   range is callable, n is callable, missing is callable, dict.get is callable, 'upper' is filter,
   'nope' is filter, 'odd' is test, 'nope' is test
'a' is odd
range(5)|list, range(1, 5)|list, range(0, 10, 3)|list, range(5, 0, -2)|list, range(0)|list,
   range(3), range(1, 10, 2), range(5)[2], range(5)[-1], range(10)[2:5]|list, range(10)[::2], 3 in
   range(5), range(3)|length
range(1000000)
range(0, 5, 0)
range('a')
dict(a=1, b=2), dict([('x', 1)]), dict({'y': 2}, z=3)
namespace(a=1), namespace(a=1).a, namespace().b
namespace(_x=1)
strftime_now('%Y-%m-%d %H:%M:%S %a %A %b %B %d %j %p %I %y %-d %-m %e %U %W %V %G %u %w %% %F %T
   %D %R %c %x %X %C %h %Z%z|%f')
raise_exception('custom: ' ~ n)
raise_exception()
undefined_function(1)
text()
text.nope()
namespace.x
cycler('a', 'b').next(), joiner()()
'\\n\\t\\'\\"\\\\\\x41\\u00e9\\U0001f600\\101\\q', "it's", 'say "hi"'
'a' 'b' "c"
['it\\'s', "\\"", "'\\"", '\\n\\x00é\\u200b\\x7f😀\\u2028'], {'k': 'v'}, ('a',), 1.0, true, nil
- 5, +5, --5, -real, -true, not 1 == 2
-'a'
n.real
list.index(2), list.count(1), (1, 2, 1).count(1), list.index(9)
list.copy(), dict.copy()
text|attr('upper'), dict|attr('b'), (dict|attr('get'))('b')
names|map('first')|join, ['<', '>']|map('e')|join, [1, 2, 3]|map('string')|map('length')|list
(list|map('string')|list)[0], ('a,b'.split(','))|last, list|sort|first
loop, self_test, caller, varargs
text|nofilter
text is notest
text|upper|lower|title|trim|length
text | replace("Hello", "Bye") | upper
{'a': 1}.items()|list, {'a': 1}['a'], [1, 2][0], (1, 2)[1], 'abc'[1], {'a': [1, 2]}.a[1]
[1, 2, 3,], (1, 2,), {'a': 1,}
1.5.real
'a' if 'b' in 'abc' and not 'd' in 'abc' else 'c'
messages[0]['role'], messages[-1].role, messages[1:]|map(attribute='role')|list,
   messages|length, (messages|first).content
'</think>' in 'a</think>b', 'a</think>b'.split('</think>')[-1],
   'a</think>b'.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n')
"\\u00e9" == 'é', 'é' < 'z', 'a' <= 'a', nil == none, [nil] == [none], 1 != '1', {} == {}, {'a':
   1} == {'a': 1.0}
nil < 1
1 < 'a'
nil + 1
1 / 0
1 // 0
1 % 0
1.0 / 0
[1, 2]['a'], [1, 2][1.0], 'abc'['a'], {'a': 1}[[1]]
[1][::0]
n[1:]
dict[1:]
{missing: 1}, {missing: 1}[missing], {list|map('upper'): 1}|length, range(2) in dict
'{:^5}|{:^6}|{:*^4}'.format('sy', 'abc', 'x'), 'sy'.center(5), 'abc'.center(6)
not n|select, n|map('upper') is iterable, n|unique is defined, n|batch(2) is not string, n|items
   is defined
n|select|list
n|items|list
(1, 2)|truncate(5), list|truncate
list|truncate(1, true, '')
'a' % missing, '%s' % missing, '%s %s' % (missing, 1)
range(1, 9, 3)[::-2], range(10)[7:2:-2], range(3)[5:], range(0, 10, 4)[1:]
'x' in missing, missing in list, missing == nil, missing|list, missing|length, missing|join
"%5.1f|%-6d|%06.2f|%+.3e|%#x|%#o|%5c|%.3s" % (3.14159, 42, 2.5, 12345.6789, 255, 8, 'z', 'abcdef')
*
1 +
(1
[1, 2
{'a' 1}
a b
1 2
'unclosed
a.
a[]
a|
a is
is defined
x = 1
1 if
@
"""

TEMPLATES = [
    "plain text",
    "",
    "\n",
    "a\n",
    "a\n\n",
    "a\r\nb\rc\n",
    "{{ 'a\r\nb' }}",
    "{# comment #}x{#- y -#}  z{# a\nb #}\nq",
    "{# not closed",
    "x {%- if yes -%} y {%- endif -%} z",
    "x {%+ if yes +%} y {%+ endif %} z",
    "  {% if yes %}\n  a\n  {% endif %}\n  b\n",
    "  x {% if yes %}\n  a\n {% endif %} y\n",
    "  {{ n }}\n  {{- n }}\n  {{ n -}}  \n z",
    "\t{% set a = 1 %}\n\t{{ a }}\n",
    "a\n   {%- set b = 1 -%}   \n  b",
    "  {#- c -#}  x  {# d #}\n  y",
    "{% raw %}{{ n }}{% if %}{% endraw %}",
    "  {% raw %}\n a {% endraw %}\n b",
    "x {%- raw -%} {{ y }} {%- endraw -%} z",
    "{% raw %}",
    "{{ n }}{#",
    "{{ n }}{%",
    "{% raw %}a{% endraw",
    "{% if yes %}a{% else %}b{% endif %}",
    "{% if no %}a{% elif n == 7 %}b{% elif yes %}c{% else %}d{% endif %}",
    "{% if no %}a{% elif nil %}b{% endif %}c",
    "{% if yes: %}colon{% endif %}",
    "{% if yes %}a",
    "{% endif %}",
    "{% if %}a{% endif %}",
    "{% else %}",
    "{% for x in list %}{{ x }},{% endfor %}",
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 "
    "}}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }};{% endfor %}",
    "{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in list %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in list %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in list %}a{% else %}none{% endfor %}",
    "{% for x in missing %}a{% else %}none{% endfor %}",
    "{% for x in nil %}a{% endfor %}",
    "{% for x in 5 %}a{% endfor %}",
    "{% for c in 'añb' %}[{{ c }}]{% endfor %}",
    "{% for k in dict %}{{ k }};{% endfor %}",
    "{% for k, v in dict.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in dict|items %}{{ k }}={{ v }};{{ loop.last }}{% endfor %}",
    "{% for k, v in dict|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for (a, b) in nested %}{{ a + b }} {% endfor %}",
    "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for a, b in [[1]] %}{{ a }}{% endfor %}",
    "{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}",
    "{% for x in list if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}none{% "
    "endfor %}",
    "{% for x in list if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for k, v in dict.items() if v != 2 %}{{ k }}{{ loop.last }} {% endfor %}",
    "{% for a, b in nested if a > 1 %}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}",
    "{% for x in list %}{% for y in list if y != x %}{{ loop.index }}{% endfor %}{{ loop.index "
    "}};{% endfor %}",
    "{% for x in list %}{% if loop.index == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in list %}{% continue %}{% else %}e{% endfor %}",
    "{% for x in list %}{% break %}{% else %}e{% endfor %}",
    "{% for x in list %}{% filter upper %}a{% if x == 1 %}{% break %}{% endif %}{% endfilter %}"
    "{% endfor %}",
    "{% for x in list %}{% set y %}a{% if x == 1 %}{% continue %}{% endif %}{% endset %}{{ y }}"
    "{{ x }}{% endfor %}",
    "{% break %}",
    "{% for x in list %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for loop in list %}{{ loop }}{% endfor %}",
    "{% for x in list %}{% set loop = 1 %}{% endfor %}",
    "{% for x in list %}{{ loop }}{% endfor %}",
    "{% for x in list|map('string') %}{{ loop.length }}{{ x }}{% endfor %}",
    "{% for x in list|map('string') %}{{ loop.last }}{{ loop.length }}{{ x }}{% endfor %}",
    "{% set g = list|map('string') %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}"
    "{% endfor %}.",
    "{% for x in list %}{% set a = x %}{% endfor %}{{ a }}",
    "{% set a = 0 %}{% for x in list %}{% set a = a + x %}{{ a }} {% endfor %}{{ a }}",
    "{% set a = 0 %}{% if yes %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% if no %}{% set n = 1 %}{% endif %}{{ n }}",
    "{% if yes %}{% set n = 1 %}{% endif %}{{ n }}",
    "{% set n = n + 1 %}{{ n }}",
    "{% if not zz is defined %}{% set zz = 5 %}{% endif %}{{ zz }}",
    "{% for x in list %}{% if loop.first %}{% set q = 1 %}{% endif %}{{ q is defined }}{% "
    "endfor %}",
    "{% for x in list %}{{ n }}{% set n = x %}{{ n }}{% endfor %}{{ n }}",
    "{% for n in list %}{{ n }}{% endfor %}{{ n }}",
    "{% set ns = namespace(a=0) %}{% for x in list %}{% set ns.a = ns.a + x %}{% endfor %}{{ "
    "ns.a }}",
    "{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y }}{{ ns }}",
    "{% set ns = namespace(a=1) %}{% set ns._b = 1 %}",
    "{% set n.a = 1 %}",
    "{% set zz.a = 1 %}",
    "{% set ns = namespace(a=1, b=2) %}{% set ns.a, ns.b = ns.b, ns.a %}{{ ns.a }}{{ ns.b }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}",
    "{% set a, b = [1] %}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a %}x{{ n }}y{% endset %}[{{ a }}]",
    "{% set a | upper | replace('X', 'z') %}x{{ n }}y{% endset %}[{{ a }}]",
    "{% set ns = namespace() %}{% set ns.t %}abc{% endset %}{{ ns.t }}",
    "{% set a %}{% set b = 1 %}{{ b }}{% endset %}{{ a }}{{ b }}",
    "{% set 1 = 2 %}",
    "{% set none = 2 %}",
    "{% set a.b.c = 1 %}",
    "{% set a[0] = 1 %}",
    "{% set %}",
    "{% macro m(a, b=2, c='x') %}[{{ a }}|{{ b }}|{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}"
    "{{ m(1, c=5) }}{{ m(a=9) }}{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a, a) %}{% endmacro %}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m(n) %}{% if n > 0 %}{{ n }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro m() %}{{ n }}{% endmacro %}{% set n = 3 %}{{ m() }}",
    "{% macro m() %}{% set n = 5 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}",
    "{% macro m() %}{{ later }}{% endmacro %}{{ m() }}{% set later = 1 %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% for x in list %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m(x) %}{% for x in x %}{{ x }}{% endfor %}{{ x }}{% endmacro %}{{ m([1, 2]) }}",
    "{{ m() }}{% macro m() %}x{% endmacro %}",
    "{% macro m() %} a {% endmacro %}{{ m()|trim }}{{ m() is string }}{{ m|string }}{{ m.name }}",
    "{% macro m() -%} a {%- endmacro %}[{{ m() }}]",
    "{% macro m(x) %}({{ caller() }}){% endmacro %}{% call m(1) %}body {{ n }}{% endcall %}",
    "{% macro m(x) %}({{ caller(x, 2) }}){% endmacro %}{% call(a, b=3) m(1) %}{{ a }}{{ b }}{% "
    "endcall %}",
    "{% macro m() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro m(a) %}{{ caller(a) }}{% endmacro %}{% for x in list %}{% call(v) m(x) %}{{ v }}"
    "{{ x }}{{ loop.index }}{% endcall %}{% endfor %}",
    "{% call n %}x{% endcall %}",
    "{% macro %}",
    "{% macro m %}{% endmacro %}",
    "{% macro m() %}",
    "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}"
    "{{ m(5, *[6]) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(**5) }}",
    "{{ text.replace(*['l', 'L']) }}{{ dict(**{'a': 1}) }}",
    "{% filter upper %}abc {{ text }}{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}aa{{ n }}{% endfilter %}",
    "{% filter trim %}  {% set q = 1 %}{{ q }} {% endfilter %}{{ q }}",
    "{% filter nofilter %}x{% endfilter %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }}",
    "{% with n = n + 1 %}{{ n }}{% endwith %}{{ n }}",
    "{% with a = 1, b = a %}{{ b }}{% endwith %}",
    "{% generation %}a{{ n }}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q }}",
    "{% generation %}\n  x\n{% endgeneration %}\ny",
    "{%- for m in messages %}\n{%- if m.role == 'assistant' %}{%- generation %}{{ m.content }}"
    "{%- endgeneration %}{%- endif %}{%- endfor %}",
    "{% print n, text %}",
    "{{ n, text }}",
    "{{ }}",
    "{{ n",
    "{{ n }",
    "{% if n %",
    "{{ '}}' }}{{ \"%}\" }}{{ {'a': {'b': 1}} }}",
    "{{{'a': 1}}}",
    "{{ '{{ n }}' }}{{ '{% if %}' }}",
    "{{-1}}{{- 2 }}{{+3}}",
    "{{ 1 }}}}",
    "}} %} #} { % { {",
    "{% unknown %}",
    "{% if yes %}{{ text|nofilter }}{% endif %}",
    "{% if no %}{{ text|nofilter }}{% endif %}ok",
    "{% if no %}{{ text is notest }}{% endif %}ok",
    "{{ text|nofilter if no else 'ok' }}",
    "{{ 'ok' if yes else text|nofilter }}",
    "{% for x in list %}{{ x|nofilter }}{% endfor %}",
    "{% set x = 1 %}{% set y = x %}{% set x = 2 %}{{ x }}{{ y }}",
    "{% set f = text.upper %}{{ f() }}",
    "{% set d = dict %}{{ d.b }}{% set l = list %}{{ l[0] }}",
    "{{ raise_exception('Line one\nand {{ two }}') }}",
    "{% if messages[0].role != 'user' %}{{ raise_exception('first must be user') }}{% endif %}",
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}",
    "{% for message in messages %}{% if loop.index0 % 2 == 1 %}{{ message.role }}{% endif %}{% "
    "endfor %}",
    "{% for message in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}"
    "{{ index }}{{ message.role }}{% endfor %}",
    "{%- set ns = namespace(multi=true, last=messages|length - 1) %}{%- for message in "
    "messages[::-1] %}{%- if ns.multi and message.role == 'user' and message.content is string "
    "and not (message.content.startswith('<tool_response>') and "
    "message.content.endswith('</tool_response>')) %}{%- set ns.multi = false %}{%- set "
    "ns.last = messages|length - 1 - loop.index0 %}{%- endif %}{%- endfor %}{{ ns.last }}",
    "{% set c = cycler('x', 'y', 'z') %}{% for i in range(5) %}{{ c.next() }}{% endfor %}{% "
    "set j = joiner('|') %}{% for i in range(3) %}{{ j() }}{{ i }}{% endfor %}",
    "{% set x = [] %}{% for i in list %}{% set x = x + [i] %}{{ x }}{% endfor %}{{ x }}",
    "{% macro t(v) %}{% if v is mapping %}{ {%- for k, w in v.items() %}{{ k }}:{{ t(w) }},{% "
    "endfor -%} }{% elif v is iterable and v is not string %}[{% for w in v %}{{ t(w) }};{% "
    "endfor %}]{% else %}{{ v }}{% endif %}{% endmacro %}{{ t(users) }}",
    "{% set caller = 1 %}{{ caller }}",
    "{% macro m(caller=3) %}{{ caller }}{% endmacro %}{{ m() }}{{ m(4) }}{% call m() %}x{% "
    "endcall %}",
    "{% macro m(caller) %}{{ caller }}{% endmacro %}",
    "{{ loop }}{{ loop.index }}",
    "{% for x in list %}{% include 'x' %}{% endfor %}",
    "{% extends 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% do 1 %}",
    "{% trans %}x{% endtrans %}",
    "é ü 你好 {{ '你' ~ '好' }} 👍🏽",
    "{{ names|sort(attribute=0) }}",
    "{{ [{'a': 1}, {'a': 0}]|sort(attribute='a') }}",
    "{{ 'x' if missing.foo is defined else 'y' }}",
    "{{ dict.foo.bar is defined }}",
    "{% for user in users %}{{ user.name }}: {{ user.tags | join(', ') if user.tags else "
    "'none' }}\n{% endfor %}",
    "{% set a = none %}{{ a }}{{ a is none }}{{ a == none }}",
    "{{ '%s' % none }}{{ '%s' % true }}{{ '%s' % 1.0 }}{{ '%s' % [none] }}",
    "{% if 'tools' in dict %}x{% endif %}{% if dict is defined and dict.b == 2 %}y{% endif %}",
    "{{ 'a\\\nb' }}",
    "{% set x = {'a': 1} %}{% for k in x %}{{ k }}{{ x[k] }}{% endfor %}",
    "{% if (yes\n   and\n   not no) %}multi\n{% endif %}\nend",
    "{{ strftime_now('%d %b %Y') }}",
    "{{ (1, 2, 3)[1:] }}{{ 'x'.__len__ }}",
    "{{ text | truncate }}",
    "{{ [1,2,3] | batch(2) | list | tojson }}",
    "{{ list is sequence and list is not string and list is not mapping }}",
]


def expressions():
    """One a line; a line that starts with two blanks goes on where the last one ended."""
    return EXPRESSIONS.strip().replace("\n  ", "").split("\n")


def templates():
    for line in expressions():
        yield "{{ " + line + " }}"
        for part in split_commas(line):
            yield "{{ " + part + " }}"
    yield from TEMPLATES


def split_commas(line):
    """The parts of a line at its outer commas, if there are several."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(line):
        if quote:
            if c == quote and line[i - 1] != "\\":
                quote = ""
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(line[start:i].strip())
            start = i + 1
    parts.append(line[start:].strip())
    return parts if len(parts) > 1 and depth == 0 and not quote and all(parts) else []


def same(want, got):
    if want[0] or got[0]:
        return want[:2] == got[:2]
    return want[2] == got[2] and (not want[2] or want[1] == got[1])


def main():
    pipe = template_oracle.Pipe(sys.argv[1])
    different = unsupported = total = 0
    for template in templates():
        want = template_oracle.reference(template, VARIABLES)
        got = pipe.render(template, VARIABLES)
        total += 1
        if same(want, got):
            continue
        if not got[0] and got[4] == 14:  # STATUS_UNSUPPORTED: refused by name
            unsupported += 1
            print(f"UNSUPPORTED {template!r}: {got[1]}")
            continue
        different += 1
        print(f"DIFFERENT {template!r}\n  {want}\n  {got}")
    print(f"{total} templates, {unsupported} refused, {different} different")
    return different != 0


if __name__ == "__main__":
    sys.exit(main())
