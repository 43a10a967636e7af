"""The console keeps no style, template or script that no page asks for."""

import re
from itertools import chain
from pathlib import Path

CONSOLE = Path(__file__).parents[3] / "vtn" / "console"
STYLES = "".join(file.read_text() for file in CONSOLE.glob("static/*.css"))
PAGES = "".join(
    file.read_text()
    for file in chain(
        CONSOLE.glob("templates/**/*.html"),
        CONSOLE.glob("static/*.js"),
        CONSOLE.rglob("*.py"),
        CONSOLE.parent.glob("*.py"),
    )
)


def test_every_class_and_id_of_the_stylesheets_is_somewhere_on_a_page():
    selectors = "".join(
        re.findall(r"([^{}]*)\{", re.sub(r"/\*.*?\*/", "", STYLES, flags=re.DOTALL))
    )
    named = set(re.findall(r"[.#]([a-zA-Z][\w-]*)", selectors))
    unused = {one for one in named if not re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", PAGES)}

    assert len(named) > 50
    assert unused == set()


def test_every_template_and_script_is_asked_for():
    templates = CONSOLE / "templates"
    files = {str(file.relative_to(templates)) for file in templates.rglob("*.html")}
    files |= {file.name for file in CONSOLE.glob("static/*.js")}

    assert {file for file in files if file not in PAGES} == set()
