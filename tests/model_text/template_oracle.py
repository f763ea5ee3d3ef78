"""jinja2 with the settings that Hugging Face gives it, and Baton's templates on a pipe beside it.

Needs the package jinja2 (3.1.6). The other template_*.py scripts import this module.
"""
import datetime
import json
import os
import struct
import subprocess

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1732104000  # Wed 20 Nov 2024, 12:00:00 UTC


class Generation(jinja2.ext.Extension):
    """{% generation %}: its text goes through, as when no one tracks it."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(lineno)

    def _body(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    """Hugging Face's namespaces refuse names that start with an underscore."""

    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attrs = dict(*args, **kwargs)
        for name in attrs:
            Namespace.check(name)
        jinja2.utils.Namespace.__init__(self, attrs)

    def __setitem__(self, name, value):
        Namespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError("underscore")


class Raised(jinja2.exceptions.TemplateError):
    """What raise_exception raises."""


def environment():
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def strftime_now(format):
        now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
        return now.replace(tzinfo=None).strftime(format)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    env.globals["dict"] = lambda *args, **kwargs: dict(*args, **kwargs)
    env.globals["namespace"] = Namespace
    return env


ENV = environment()


def reference(template, variables):
    """(True, text), or (False, message, raised)."""
    try:
        text = ENV.from_string(template).render(**variables)
        text.encode("utf-8")
        return (True, text)
    except Raised as error:
        return (False, str(error), True)
    except RecursionError:
        return (False, "recursion", False)
    except Exception as error:  # whatever a template makes Python raise
        return (False, f"{type(error).__name__}: {error}", False)


class Pipe:
    """Baton's side: the program template_pipe."""

    def __init__(self, program=None):
        program = program or os.environ.get("TEMPLATE_PIPE", "template_pipe")
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def render(self, template, variables):
        """(True, text), or (False, message, raised, line, status)."""
        source = template.encode("utf-8")
        text = json.dumps(variables, ensure_ascii=False).encode("utf-8")
        self.process.stdin.write(
            struct.pack("=I", len(source)) + source + struct.pack("=I", len(text)) + text
            + struct.pack("=I", NOW)
        )
        self.process.stdin.flush()
        head = self.process.stdout.read(16)
        status, line, raised, length = struct.unpack("=IIII", head)
        answer = self.process.stdout.read(length).decode("utf-8")
        if status == 0:
            return (True, answer)
        return (False, answer, bool(raised), line, status)
