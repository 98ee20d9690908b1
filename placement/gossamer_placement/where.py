"""The language of `where=`: parsed once, checked against the kinds of the fields, then closures.

    gpu.memory >= 16GiB and site != 'field' and 'podman' in runtimes

Or, and, not; == != < <= > >= in, not in; numbers, sizes, percents, quoted text, true, false, and
lists of them. A missing value makes every comparison false but `!=` and `not in`.
"""

from __future__ import annotations

import functools
import operator
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from gossamer_mesh.errors import ConfigError
from gossamer_mesh.text import stray
from gossamer_mesh.units import parse_bytes
from gossamer_placement import fields
from gossamer_placement.fields import Field, Kind, Test

if TYPE_CHECKING:
    from gossamer_mesh.capability import Capabilities

MOST_BYTES: Final = 4096
MOST_DEPTH: Final = 32


class Clause(msgspec.Struct, frozen=True):
    """One condition: its normalised `text`, and whether it `holds`, which never raises."""

    text: str
    holds: Test


class Where(msgspec.Struct, frozen=True):
    """An expression, as it was written, and the clauses that must all hold, each once."""

    text: str
    clauses: tuple[Clause, ...]

    def holds(self, document: Capabilities) -> bool:
        return all(clause.holds(document) for clause in self.clauses)


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Where:
    """Return what `text` means.

    `ConfigError`, with the `column` (from 1) among its fields, if it is no expression: at most
    4 KiB, nested at most 32 deep, over the fields of `gossamer_placement.fields`.
    """
    size = len(text.encode(errors="surrogatepass"))
    if size > MOST_BYTES:
        _fail(text, 1, f"{size} bytes are too long, at most {MOST_BYTES} are read")
    at = stray(text)
    if at >= 0:
        _fail(text, at + 1, f"{text[at]!r} is half of a surrogate pair, and no character")
    clauses = _Parser(text).whole()
    return Where(text, tuple({clause.text: clause for clause in clauses}.values()))


# -- tokens --------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>[0-9][\w.]*(?:%|[ ][KkMmGgTtPp]i?[Bb]\b)?)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<word>(?:labels|resources)\.[A-Za-z0-9_./-]+|[A-Za-z_]\w*(?:\.\w+)*)
      | (?P<sign>==|!=|<=|>=|[-<>()\[\],])
      | (?P<end>\Z)
      | (?P<odd>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,9})?")
_ESCAPED: Final = re.compile(r"""\\(['"\\])""")
_PLAIN_LABEL: Final = re.compile(r"[A-Za-z0-9_./-]+")

_KEYWORDS: Final = frozenset({"and", "or", "not", "in"})
_BOOLEANS: Final = {"true": True, "false": False, "True": True, "False": False}
_RELATIONS: Final = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_LISTS: Final = {"(": ")", "[": "]"}

_ODD: Final = {
    "=": "write == to compare",
    "!": "write != to compare, not to negate",
    "&": "write and",
    "|": "write or",
    "'": "this quote is never closed",
    '"': "this quote is never closed",
}

_EXCERPT: Final = 100


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    column: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else _short(self.text)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        token = _Token(kind, match[kind], match.start(kind) + 1)
        if kind == "odd":
            _fail(text, token.column, _ODD.get(token.text, f"{token.text!r} means nothing here"))
        found.append(token)
        if kind == "end":
            break
    return found


def _fail(text: str, column: int, message: str) -> NoReturn:
    first = max(0, column - 1 - _EXCERPT // 2) if len(text) > _EXCERPT else 0
    shown = text[first : first + _EXCERPT]
    shown = f"{'…' if first else ''}{shown}{'…' if first + _EXCERPT < len(text) else ''}"
    raise ConfigError(f"where={shown!r}: column {column}: {message}", where=text, column=column)


def _short(text: str) -> str:
    return text if len(text) <= _EXCERPT // 2 else f"{text[: _EXCERPT // 2]}…"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


# -- grammar -------------------------------------------------------------------------------------


class _Literal(msgspec.Struct, frozen=True):
    kind: Kind
    text: str
    column: int
    value: Any


class _Named(msgspec.Struct, frozen=True):
    text: str
    column: int
    field: Field

    @property
    def kind(self) -> Kind:
        return self.field.kind


_Operand = _Literal | _Named
_Clauses = tuple[Clause, ...]


class _Parser:
    """Recursive descent. A condition is the clauses that must all hold."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> _Clauses:
        clauses = self._either()
        if self._next.kind != "end":
            self._expected("and, or, or the end")
        return clauses

    def _either(self) -> _Clauses:
        choices = [self._both()]
        while self._take("or"):
            choices.append(self._both())
        if len(choices) == 1:
            return choices[0]
        text = " or ".join(_joined(clauses) for clauses in choices)
        return (Clause(f"({text})", _any_of([_all_of(clauses) for clauses in choices])),)

    def _both(self) -> _Clauses:
        clauses = self._negation()
        while self._take("and"):
            clauses += self._negation()
        return clauses

    def _negation(self) -> _Clauses:
        if not self._next_is("not"):
            return self._condition()
        self._deeper()
        self._advance()
        clauses = self._negation()
        self._depth -= 1
        text = clauses[0].text if len(clauses) == 1 else f"({_joined(clauses)})"
        return (Clause(f"not {text}", _complement(_all_of(clauses))),)

    def _condition(self) -> _Clauses:
        if not self._next_is("("):
            return (self._comparison(),)
        self._deeper()
        self._advance()
        clauses = self._either()
        self._close(")", "and, or, or )")
        self._depth -= 1
        if self._comparator():
            self._fail(self._next.column, "a condition in parentheses cannot be compared")
        return clauses

    def _comparison(self) -> Clause:
        left = self._operand()
        sign = self._comparator()
        if not sign:
            return Clause(left.text, self._truth(left))
        for _ in sign.split():
            self._advance()
        right = self._operand()
        if self._comparator():
            self._fail(self._next.column, "comparisons cannot be chained; write a < b and b < c")
        compile_ = self._membership if sign.endswith("in") else self._relation
        return Clause(f"{left.text} {sign} {right.text}", compile_(sign, left, right))

    def _comparator(self) -> str:
        """Return the comparison that comes next, "" if none does."""
        text = self._next.text
        if text == "not" and self._tokens[self._at + 1].text == "in":
            return "not in"
        return text if text == "in" or text in _RELATIONS else ""

    # -- operands --------------------------------------------------------------------------------

    def _operand(self) -> _Operand:
        token = self._next
        if token.text in _LISTS:
            return self._list()
        if token.kind == "word" and token.text not in _KEYWORDS and token.text not in _BOOLEANS:
            return self._field()
        return self._literal("a field or a value")

    def _field(self) -> _Named:
        token = self._advance()
        if token.text == "labels" and self._take("["):
            key = self._literal("a label's name in quotes")
            if key.kind != "text":
                self._fail(key.column, "a label's name is written in quotes")
            self._close("]", "]")
            plain = _PLAIN_LABEL.fullmatch(key.value)
            text = f"labels.{key.value}" if plain else f"labels[{key.text}]"
            return _Named(text, token.column, fields.label(key.value))
        field = fields.find(token.text)
        if field is None:
            near = fields.nearest(token.text)
            hint = f"did you mean {near}?" if near else "text is written in quotes."
            known = ", ".join(sorted(each.name for each in fields.known()))
            self._fail(token.column, f"unknown field {token}, {hint} The fields are {known}")
        return _Named(token.text, token.column, field)

    def _list(self) -> _Literal:
        opening = self._advance()
        closing = _LISTS[opening.text]
        items: list[_Literal] = []
        while not self._next_is(closing):
            items.append(self._literal(f"a value or {closing}"))
            if not self._take(","):
                break
        self._close(closing, f", or {closing}")
        text = f"[{', '.join(item.text for item in items)}]"
        return _Literal("list", text, opening.column, items)

    def _literal(self, expected: str) -> _Literal:
        token = self._next
        if token.kind == "text":
            value = _ESCAPED.sub(r"\1", token.text[1:-1])
            literal = _Literal("text", _quoted(value), token.column, value)
        elif token.kind == "number":
            literal = self._number(token)
        elif token.text in _BOOLEANS:
            literal = _Literal("boolean", token.text.lower(), token.column, _BOOLEANS[token.text])
        elif token.text == "-" and self._tokens[self._at + 1].kind == "number":
            self._advance()
            positive = self._number(self._next)
            if positive.kind == "size":
                self._fail(token.column, "a size is not negative")
            literal = _Literal(positive.kind, f"-{positive.text}", token.column, -positive.value)
        else:
            self._expected(expected)
        self._advance()
        return literal

    def _number(self, token: _Token) -> _Literal:
        text = token.text.replace(" ", "")
        digits = text.removesuffix("%")
        if _NUMBER.fullmatch(digits):
            value = float(digits) if "." in digits else int(digits)
            if digits == text:
                return _Literal("number", text, token.column, value)
            return _Literal("share", text, token.column, value / 100)
        try:
            return _Literal("size", text, token.column, parse_bytes(text))
        except ConfigError:
            form = "a number, a size like 16GiB or 512MB, or a share like 80%"
            self._fail(token.column, f"{token} is not {form}")

    # -- meaning ---------------------------------------------------------------------------------

    def _truth(self, operand: _Operand) -> Test:
        if isinstance(operand, _Named):
            read = operand.field.read
            return lambda document: bool(read(document))
        if operand.kind != "boolean":
            self._expected("a comparison")
        value: bool = operand.value
        return lambda _: value

    def _relation(self, sign: str, left: _Operand, right: _Operand) -> Test:
        if isinstance(left, _Literal):
            left, right, sign = right, left, _MIRRORED.get(sign, sign)
        field = self._comparable(left, right)
        other = right.field.read if isinstance(right, _Named) else field.constant(right.value)
        if sign not in _MIRRORED:
            same = fields.equal(field, other)
            return same if sign == "==" else _complement(same)
        if field.kind not in fields.ORDERED:
            self._fail(left.column, f"{_said(left)}, which has no order: write == or !=")
        return fields.ordered(_RELATIONS[sign], field, other)

    def _membership(self, sign: str, left: _Operand, right: _Operand) -> Test:
        test = self._listed(left, right) if right.kind == "list" else self._contained(left, right)
        return test if sign == "in" else _complement(test)

    def _listed(self, left: _Operand, right: _Operand) -> Test:
        items: list[_Literal] = right.value if isinstance(right, _Literal) else []
        field = self._comparable(left, None)
        for item in items:
            self._comparable(left, item)
        return fields.one_of(field, [item.value for item in items])

    def _contained(self, left: _Operand, right: _Operand) -> Test:
        if not isinstance(right, _Named) or right.kind not in fields.CONTAINERS:
            self._fail(right.column, f"{_said(right)}: nothing can be in it")
        if left.kind != "text":
            self._fail(left.column, f"{_said(left)}: only text can be in {_short(right.text)}")
        if isinstance(left, _Named):
            return fields.part_of(left.field.read, right.field)
        return fields.part_of(right.field.constant(left.value), right.field)

    def _comparable(self, left: _Operand, right: _Operand | None) -> Field:
        """Return the field on the left, if what is on the right can be equal to it."""
        if isinstance(left, _Literal):
            self._fail(left.column, "one side of a comparison must be a field")
        field = left.field
        if field.kind == "names":
            self._fail(left.column, f"{_said(left)}: write 'name' in {_short(left.text)}")
        if isinstance(right, _Named):
            allowed = right.kind == left.kind != "texts"
        else:
            allowed = right is None or right.kind in fields.LITERALS[field.kind]
        if right is not None and not allowed:
            quotes = "text" in fields.LITERALS[field.kind] and right.kind == "number"
            hint = f"; write '{right.text}'" if quotes else ""
            message = f"{_said(left)}, and {_said(right)}: they cannot be compared{hint}"
            self._fail(right.column, message)
        return field

    # -- the tokens ------------------------------------------------------------------------------

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _next_is(self, text: str) -> bool:
        return self._tokens[self._at].text == text

    def _advance(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _take(self, text: str) -> bool:
        if not self._next_is(text):
            return False
        self._at += 1
        return True

    def _close(self, text: str, expected: str) -> None:
        if not self._take(text):
            self._expected(expected)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            self._fail(self._next.column, f"nested more than {MOST_DEPTH} deep")

    def _expected(self, what: str) -> NoReturn:
        self._fail(self._next.column, f"expected {what}, found {self._next}")

    def _fail(self, column: int, message: str) -> NoReturn:
        _fail(self._text, column, message)


def _said(operand: _Operand) -> str:
    return f"{_short(operand.text)} is {fields.KINDS[operand.kind]}"


def _joined(clauses: _Clauses) -> str:
    return " and ".join(clause.text for clause in clauses)


def _all_of(clauses: _Clauses) -> Test:
    if len(clauses) == 1:
        return clauses[0].holds
    tests = [clause.holds for clause in clauses]
    return lambda document: all(test(document) for test in tests)


def _any_of(tests: list[Test]) -> Test:
    return lambda document: any(test(document) for test in tests)


def _complement(test: Test) -> Test:
    return lambda document: not test(document)
