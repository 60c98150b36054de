"""What people read when they are refused: the texts of all services, found in the code."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import cartwheel

SOURCE = Path(cartwheel.__file__).parent
SENTENCE = re.compile(r"[A-Z`{].*[.}]", re.DOTALL)
CODE_FIRST = {"BadRequest", "Unauthorized", "Forbidden", "CardError", "Contradiction"}
"""The simulator's errors, whose text follows their code."""


def test_every_text_of_a_refusal_is_a_sentence() -> None:
    found = {f"{place}: {text}" for place, text in refusal_texts()}
    assert len(found) > 80
    assert [each for each in found if not SENTENCE.fullmatch(each.partition(": ")[2])] == []


def refusal_texts() -> Iterator[tuple[str, str]]:
    """Yield where each text is, and the text, with {…} for what is filled in."""
    trees = {
        path: ast.parse(path.read_text())
        for path in sorted(SOURCE.rglob("*.py"))
        if not path.is_relative_to(SOURCE / "local")  # its refusals are for operators
    }
    kinds = refusals(trees.values())
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and name_of(node.func) in kinds:
                for text in texts_of(text_argument(node, path), tree):
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", text


def text_argument(call: ast.Call, path: Path) -> ast.expr:
    kind = name_of(call.func)
    if kind == "FieldError" or ("simulator/" in str(path) and kind in CODE_FIRST):
        return call.args[1]
    return call.args[-1 if path.name == "refusals.py" else 0]


def refusals(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of the classes of refusals, and of what makes field errors."""
    bases = {
        node.name: {name_of(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    kinds = {"Refusal", "ApiError"}
    while more := {name for name, of in bases.items() if of & kinds} - kinds:
        kinds |= more
    return kinds - {"Missing"} | {"FieldError"}


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def texts_of(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """Yield what a text's expression says; of a name, all that it is given in the module."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values):
            yield "".join(
                str(each.value) if isinstance(each, ast.Constant) else "{…}" for each in values
            )
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts_of(body, tree)
            yield from texts_of(orelse, tree)
        case ast.Name(id=name):
            for other in ast.walk(tree):
                if isinstance(other, ast.Assign) and name in map(name_of, other.targets):
                    yield from texts_of(other.value, tree)
        case _:
            pass
