"""Directives that run the code they show, so that what stands below it is always true.

`run` shows what the code prints. `picture` shows the SVG that the last line makes. The blocks of a
page share their names and a temporary folder to work in.
"""

import contextlib
import io
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

folder = tempfile.TemporaryDirectory(prefix="nbnet-docs-")


class Run(SphinxDirective):
    """Code, and below it what it prints."""

    has_content = True

    def run(self):
        """Return the code and its output as two blocks."""
        code = "\n".join(self.content)
        page = self.env.temp_data
        names = page.setdefault("names", {"__name__": "page"})
        place = Path(folder.name, self.env.docname)
        place.mkdir(parents=True, exist_ok=True)
        printed = io.StringIO()
        with contextlib.chdir(place), contextlib.redirect_stdout(printed):
            exec(compile(code, self.get_source_info()[0], "exec"), names)
        blocks = [nodes.literal_block(code, code, language="python")]
        if printed.getvalue():
            output = printed.getvalue().rstrip()
            blocks.append(nodes.literal_block(output, output, language="none", classes=["output"]))
        return blocks


class Picture(SphinxDirective):
    """Code, and below it the picture that its last line makes."""

    has_content = True

    def run(self):
        """Return the code and the picture."""
        *lines, last = self.content
        names = {}
        exec("\n".join(lines), names)
        code = "\n".join(self.content)
        return [
            nodes.literal_block(code, code, language="python"),
            nodes.raw("", eval(last, names)._repr_html_(), format="html"),
        ]


def clean_up(app, exception):
    """Remove what the pages wrote."""
    folder.cleanup()


def setup(app):
    """Register the directives."""
    app.add_directive("run", Run)
    app.add_directive("picture", Picture)
    app.connect("build-finished", clean_up)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
