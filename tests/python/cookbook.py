"""Runs the Python of the cookbook, as it stands there, over its very questions.

usage: cookbook.py FOLDER, in which NAME.py is a block and NAME.sql the question above it, run in the order of names.
Prints a line for each block with a question: its name, the answer's rows, and the figures that its last line shows.
"""

import ast
import contextlib
import pathlib
import sys
import warnings

import numpy
import pandas

# Whatever a person would be shown is an error here.
warnings.simplefilter("error")
warnings.simplefilter("ignore", ResourceWarning)


def figures(shown) -> list[float]:
    """All finite numbers in a value; text that is written as numbers counts, as it does where R reads CSV."""
    columns = [shown[name] for name in shown] if isinstance(shown, pandas.DataFrame) else [shown]
    found = []
    for column in columns:
        numbers = pandas.to_numeric(pandas.Series(numpy.ravel(column)), errors="coerce")
        written = pandas.Series(numpy.ravel(column)).notna()
        if numbers[written].notna().all():
            found += [float(number) for number in numbers if numpy.isfinite(number)]
    return found


def run(block: pathlib.Path, names: dict):
    """Runs a block; its last line's value."""
    *before, last = ast.parse(block.read_text()).body
    if not isinstance(last, ast.Expr):
        before, last = [*before, last], None
    exec(compile(ast.Module(before, []), str(block), "exec"), names)
    return last and eval(compile(ast.Expression(last.value), str(block), "eval"), names)


names: dict = {}
lines = []
# What a block prints is no figure.
with contextlib.redirect_stdout(sys.stderr):
    for block in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
        question = block.with_suffix(".sql")
        if not question.exists():
            run(block, names)
            continue
        names["sql"] = question.read_text()
        names["answer"] = names["ask"](names["sql"])
        rows = len(names["answer"])
        lines.append([block.stem, rows, *map(repr, figures(run(block, names)))])
for line in lines:
    print(*line, sep="\t")
