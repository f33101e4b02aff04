"""Runs one piece of code, and says what came of it. This is all that the platform calls in the interpreter.

Everything that code may import is imported here, while the interpreter is built: there are no files to import from later.
"""

import ast
import builtins
import importlib
import json
import sys
import traceback

LIBRARY = """
abc argparse array ast base64 binascii bisect calendar cmath codecs collections collections.abc colorsys configparser
contextlib contextvars copy csv dataclasses datetime decimal difflib dis email.utils encodings.ascii encodings.cp1252
encodings.idna encodings.latin_1 encodings.punycode encodings.utf_16 encodings.utf_16_be encodings.utf_16_le
encodings.utf_32 encodings.utf_8_sig enum errno fnmatch fractions functools gc getopt glob graphlib hashlib heapq hmac html
html.entities html.parser inspect io ipaddress itertools json keyword linecache locale logging math numbers operator os
os.path pathlib pickle platform pprint queue quopri random re reprlib sched secrets shlex shutil stat statistics string
stringprep struct tempfile textwrap threading time timeit token tokenize traceback types typing unicodedata unittest
urllib.parse uuid warnings weakref xml.dom.minidom xml.etree.ElementTree xml.sax zlib zoneinfo
""".split()

MOST_OF_A_RESULT = 64 * 1024
MOST_OF_A_MESSAGE = 2000
NAME = "<code>"


def load():
    """Imports the library. Some of it is not in this build: it stays absent."""
    for name in LIBRARY:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules.pop(name, None)
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"]
    sys.argv = [NAME]


def shortened(text, most):
    """The text, or its beginning and how long it was. Halves of characters, which UTF-8 has not, are written out."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def line_of(error):
    """The last line of the code that an error went through; a mistake in how it is written has its own."""
    if isinstance(error, SyntaxError) and error.filename == NAME:
        return error.lineno
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == NAME]
    return lines[-1] if lines else None


def told(error):
    """An error in words, with its line."""
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)
    except BaseException:
        message = ""
    return {"kind": type(error).__name__, "message": shortened(message, MOST_OF_A_MESSAGE), "line": line_of(error)}


def value_of(code, names):
    """Runs the code. The value is that of its last line, when that is an expression, as at Python's prompt."""
    tree = ast.parse(code, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NAME, "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), NAME, "eval"), names)


def answer_to(request):
    """Takes `{"code", "data"}` and gives `{"result", "error"}`, as JSON in UTF-8."""
    result = error = None
    try:
        asked = json.loads(request)
        names = {"__name__": "__main__", "__builtins__": builtins, "data": asked.get("data")}
        value = value_of(asked["code"], names)
        result = None if value is None else shortened(repr(value), MOST_OF_A_RESULT)
    except SystemExit as end:
        if end.code not in (None, 0):
            error = told(end)
    except BaseException as failure:
        error = told(failure)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    return json.dumps({"result": result, "error": error}).encode()


load()
