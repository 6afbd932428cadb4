"""Templates to compiled mails: ``python -m server.mail.build`` after changing a template or text.

A file of its own because it must never run where mail is sent: mjml and css_inline are native
code that ends the whole process on bad input, so they run in a child, and the sending side only
reads ``compiled/``. A test builds everything anew and compares.

Three notations, one after the other: ``[[ x ]]`` and ``[% ... %]`` (Jinja) put blocks together
here; MJML makes HTML of it; ``{{ x }}`` stays, for the words of an edition (``wording.py``) and
the facts of one mail. Colours travel through MJML and CSS as stand-ins and become
``{{ theme.x }}`` afterwards.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server.mail.kinds import KINDS
from server.mail.languages import MERCHANT_LANGUAGES, editions_for
from server.mail.own_words import blocks_of as blocks_of  # noqa: PLC0414
from server.mail.own_words import build_one as build_one  # noqa: PLC0414
from server.mail.rules import COMPILED, Name, Node, Part, parse
from server.mail.theme import Theme, palette
from server.mail.wording import labels_of, put_in, texts_of, words_of

TEMPLATES = Path(__file__).parent / "templates"
CHILD_SECONDS = 60
MAX_HTML_BYTES = 48_000  # with all forms; Gmail cuts a mail at 102 kB, phones on bad lines earlier

# What compiled mails may say in a colour that no theme changes: light, dark.
TONES = {"good": ("#1a7a48", "#66d19a"), "warn": ("#8a5a00", "#e8b857")}
# A font and a height that no template uses, to be found again in the finished HTML.
_STAND_INS = {
    name: f"#fab1{number:02x}" for number, name in enumerate(palette(Theme())) if name != "font"
} | {"font": "kontor-theme-font"}


class BuildError(ValueError):
    """A template is wrong; the text says which and why."""


def build() -> dict[str, str]:
    """All compiled files by name, ``<kind>.html`` and ``<kind>.txt``. Raises BuildError."""
    pages = compile_in_child({kind: _render(kind, "mjml") for kind in KINDS})
    files = {f"{kind}.html": _finish(html) for kind, html in pages.items()}
    for kind in KINDS:
        text = _LONE_MARK.sub(r"\1", _render(kind, "txt")).strip()
        files[f"{kind}.txt"] = f"{{{{ words.subject }}}}\n\n{text}\n"
    for name, content in files.items():
        check(name, content)
    return files


# {{#x}} alone on its line is no line of the mail.
_LONE_MARK = re.compile(r"(?m)^(\{\{[#^/]\w+\}\})\n")


def _render(kind: str, form: str) -> str:
    """One Jinja template: the kind, which extends the base of its form."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - it is given marks only, which are filled in escaped
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters["paragraphs"] = lambda mark: mark.replace("{{ words.", "{{ paragraphs.")
    jinja.filters["column"] = lambda mark: re.sub("labels|words", "columns", mark)
    texts = texts_of(MERCHANT_LANGUAGES[0])
    tone = TONES.get(KINDS[kind].tone, (_STAND_INS["link"], _STAND_INS["dark_link"]))
    own = (TEMPLATES / "kinds" / f"{kind}.{form}").read_text("utf-8")
    return jinja.get_template(f"kinds/{kind}.{form}").render(
        kind=KINDS[kind],
        # The link to the order's page stands in the foot where no button above leads there.
        links_page="page_url" in KINDS[kind].optional and "page_" not in own,
        colour=_STAND_INS | {"tone": tone[0], "dark_tone": tone[1]},
        sender="{{ shop_name }}" if KINDS[kind].reader == "customer" else "Kontor",
        t=_marks("words", texts[kind]),
        common=_marks("words", texts["common"]),
        label=_marks("labels", texts["labels"]),
    )


def _marks(group: str, texts: Mapping[str, str]) -> dict[str, str]:
    return {name: f"{{{{ {group}.{name} }}}}" for name in texts}


def compile_in_child(sources: dict[str, str]) -> dict[str, str]:
    """MJML to HTML by name. Raises BuildError, also if the compiler crashes."""
    try:
        child = subprocess.run(
            [sys.executable, "-m", "server.mail.build", "--child"],
            input=json.dumps(sources),
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as failure:
        lines = (failure.stderr or "").strip().splitlines()
        reason = lines[-1] if lines else f"the compiler ended with {failure.returncode}"
        raise BuildError(reason) from failure
    except subprocess.TimeoutExpired as failure:
        raise BuildError(f"the compiler took over {CHILD_SECONDS} s") from failure
    answer: dict[str, str] = json.loads(child.stdout)
    return answer


def _compile(source: str) -> str:
    """MJML to HTML with its CSS written into the elements. Only ever runs in the child.

    ``fonts={}``: otherwise mjml links a web font. ``disable_comments=False``: the conditions
    are comments. ``keep_style_tags``: the media queries stay.
    """
    import css_inline
    import mjml

    html = mjml.mjml2html(source, fonts={}, disable_comments=False)
    inlined: str = css_inline.inline(html, keep_style_tags=True, load_remote_stylesheets=False)
    return inlined


def _finish(html: str) -> str:
    """Conditions lose their comments and colours become theme marks.

    Until here a condition must be a comment, because an HTML parser throws loose text out of
    tables.
    """
    html = re.sub(r"<!--(\{\{[#^/]\w+\}\})-->", r"\1", html)
    for name, stand_in in _STAND_INS.items():
        html = html.replace(stand_in, "{{ theme." + name + " }}")
    return re.sub(r"[ \t]+\n", "\n", re.sub(r"\n\s*\n+", "\n", html)).strip() + "\n"


def check(name: str, skeleton: str) -> None:
    """Raises BuildError if a compiled file lacks words in an edition or shows what is no fact."""
    kind, _, form = name.partition(".")
    if "[[" in skeleton or "[%" in skeleton:
        raise BuildError(f"{name} still holds a mark of the build")
    if skeleton.count("<!--[if") != skeleton.count("<![endif]-->"):
        raise BuildError(f"{name}: a condition tore an Outlook comment apart")
    for edition in editions_for(KINDS[kind].reader):
        try:
            content = put_in(skeleton, words_of(kind, edition), labels_of(edition), form)
            _check_names(kind, content)
        except ValueError as problem:
            raise BuildError(f"{name} in {edition}: {problem}") from problem
        if len(content.encode()) > MAX_HTML_BYTES:
            raise BuildError(f"{name}: {len(content.encode())} bytes are too many")


def _check_names(kind: str, content: str) -> None:
    themed = {f"theme.{colour}" for colour in palette(Theme())}
    themed |= {"theme.header_image", "theme.header_height"}
    for unknown in sorted(set(_used(parse(content))) - KINDS[kind].facts - themed):
        raise BuildError(f"it shows {unknown!r}, which is no fact of this kind")


def _used(nodes: Iterable[Node]) -> Iterable[str]:
    for node in nodes:
        if isinstance(node, Name):
            yield node.name
        elif isinstance(node, Part):
            yield node.name
            yield from _used(node.body)


def main(arguments: list[str]) -> int:
    if arguments == ["--child"]:
        sources = json.load(sys.stdin)
        json.dump({stem: _compile(source) for stem, source in sources.items()}, sys.stdout)
        return 0
    files = build()
    COMPILED.mkdir(exist_ok=True)
    for old in COMPILED.iterdir():
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (COMPILED / name).write_text(content, "utf-8")
    sys.stdout.write(f"{len(files)} files in {COMPILED}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
