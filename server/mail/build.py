"""Templates to compiled mails: ``python -m server.mail.build`` after changing a template or text.

A file of its own because it must never run where mail is sent: mjml and css_inline are native
code that ends the whole process on bad input, so they run in a child, and the sending side only
reads ``compiled/``. A test builds everything anew and compares.

Three notations, one after the other: ``[[ x ]]`` and ``[% ... %]`` (Jinja) put words and blocks
together here; MJML makes HTML of it; ``{{ x }}`` stays for the facts of one mail. Colours travel
through MJML and CSS as stand-ins and become ``{{ theme.x }}`` afterwards.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from html import escape
from itertools import product
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server.mail.rules import COMPILED, KINDS, LANGUAGES, Name, Node, Part, parse
from server.mail.theme import Theme, palette

TEMPLATES = Path(__file__).parent / "templates"
CHILD_SECONDS = 60
LABEL_COLUMNS = 20  # where values begin in plain text
MAX_HTML_BYTES = 40_000  # Gmail cuts at 102 kB; phones on bad lines thank us earlier

# What compiled mails may say in a colour that no theme changes: light, dark.
TONES = {"good": ("#1a7a48", "#66d19a"), "warn": ("#8a5a00", "#e8b857")}
# A font and a height that no template uses, to be found again in the finished HTML.
_STAND_INS = {
    name: f"#fab1{number:02x}" for number, name in enumerate(palette(Theme())) if name != "font"
} | {"font": "kontor-theme-font"}


class BuildError(Exception):
    """A template is wrong; the text says which and why."""


def build() -> dict[str, str]:
    """All compiled files by name, ``<kind>.<language>.html`` and ``.txt``. Raises BuildError."""
    wanted = list(product(KINDS, LANGUAGES))
    words = {language: _words(language) for language in LANGUAGES}
    sources = {f"{kind}.{lang}": _render(kind, lang, words[lang], "mjml") for kind, lang in wanted}
    files = {}
    for stem, html in compile_in_child(sources).items():
        files[f"{stem}.html"] = _finish(stem, html)
    for kind, lang in wanted:
        subject = words[lang][kind]["subject"]
        text = _LONE_MARK.sub(r"\1", _render(kind, lang, words[lang], "txt")).strip()
        files[f"{kind}.{lang}.txt"] = f"{subject}\n\n{text}\n"
    for name, content in files.items():
        check_names(name, content)
    return files


# {{#x}} alone on its line is no line of the mail.
_LONE_MARK = re.compile(r"(?m)^(\{\{[#^/]\w+\}\})\n")


def _render(kind: str, language: str, words: dict[str, dict[str, str]], form: str) -> str:
    """One Jinja template: the kind, which extends the base of its form."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - the words are ours and escaped by their own filters
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
    jinja.filters["paragraphs"] = _paragraphs
    jinja.filters["plain"] = lambda text: text.replace("**", "")
    jinja.filters["column"] = lambda label: f"{label}:".ljust(LABEL_COLUMNS)
    marked = _marked if form == "mjml" else (lambda text: text)
    grouped = {
        group: {key: marked(value) for key, value in words[group].items()}
        for group in (kind, "common", "labels")
    }
    tone = TONES.get(KINDS[kind].tone, (_STAND_INS["link"], _STAND_INS["dark_link"]))
    return jinja.get_template(f"kinds/{kind}.{form}").render(
        language=language,
        kind=KINDS[kind],
        colour=_STAND_INS | {"tone": tone[0], "dark_tone": tone[1]},
        sender="{{ shop_name }}" if KINDS[kind].reader == "customer" else "Kontor",
        t=grouped[kind],
        common=grouped["common"],
        label=grouped["labels"],
        raw=words[kind],
    )


def _words(language: str) -> dict[str, dict[str, str]]:
    raw = tomllib.loads((TEMPLATES / "texts" / f"{language}.toml").read_text("utf-8"))
    return {
        group: {key: value.strip() for key, value in part.items()} for group, part in raw.items()
    }


def _marked(text: str) -> str:
    """Escapes and turns ``**bold**`` into a tag. A condition becomes a comment (see _finish)."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text, quote=True))
    return re.sub(r"(\{\{[#^/]\w+\}\})", r"<!--\1-->", bold)


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{part}</p>" for part in re.split(r"\n\s*\n", text))


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


def _finish(stem: str, html: str) -> str:
    """Conditions lose their comments and colours become theme marks.

    Until here a condition must be a comment, because an HTML parser throws loose text out of
    tables.
    """
    html = re.sub(r"<!--(\{\{[#^/]\w+\}\})-->", r"\1", html)
    for name, stand_in in _STAND_INS.items():
        html = html.replace(stand_in, "{{ theme." + name + " }}")
    html = re.sub(r"[ \t]+\n", "\n", re.sub(r"\n\s*\n+", "\n", html)).strip() + "\n"
    if len(html.encode()) > MAX_HTML_BYTES * 9 // 10:
        raise BuildError(f"{stem}: {len(html.encode())} bytes leave no room for the facts")
    if html.count("<!--[if") != html.count("<![endif]-->"):
        raise BuildError(f"{stem}: a condition tore an Outlook comment apart")
    return html


def check_names(name: str, content: str) -> None:
    """Raises BuildError if a compiled file shows what is no fact of its kind."""
    kind = KINDS[name.split(".", maxsplit=1)[0]]
    known = kind.required | kind.optional | kind.items
    themed = {f"theme.{colour}" for colour in palette(Theme())}
    themed |= {"theme.header_image", "theme.header_height"}
    used = set(_used(parse(content)))
    for unknown in sorted(used - known - themed):
        raise BuildError(f"{name} shows {unknown!r}, which is no fact of this kind")
    if "[[" in content or "[%" in content:
        raise BuildError(f"{name} still holds a mark of the build")


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
