"""The site works without a network: the build warns of everything that a page would fetch."""

import re
from html.parser import HTMLParser
from pathlib import Path

# The attributes by which a browser fetches something by itself. A link that is clicked is not one.
FETCHED = {"src", "srcset", "data", "poster"}
RELATIONS = {"canonical", "author", "license", "search", "next", "prev", "index"}  # not fetched
REMOTE = re.compile(r"(?:https?:)?//", re.I)
REMOTE_IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s;]+)""", re.I)


class Page(HTMLParser):
    """The remote addresses that a browser fetches for a page."""

    def __init__(self):
        super().__init__()
        self.remote = []
        self.style = False

    def handle_starttag(self, tag, attributes):
        """Look at the attributes of one element."""
        values = {name: value or "" for name, value in attributes}
        self.style = tag == "style"
        names = set(FETCHED)
        if tag == "link" and not RELATIONS.issuperset(values.get("rel", "").split()):
            names.add("href")
        if tag in ("image", "use"):  # of SVG
            names |= {"href", "xlink:href"}
        self.remote += [values[name] for name in names & set(values) if REMOTE.match(values[name])]
        self.remote += REMOTE_IN_STYLE.findall(values.get("style", ""))

    def handle_data(self, data):
        """Look at the text of a style sheet within the page."""
        if self.style:
            self.remote += REMOTE_IN_STYLE.findall(data)


def remote_addresses(path):
    """Return the addresses beyond the site that a browser fetches for an HTML, SVG or CSS file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return REMOTE_IN_STYLE.findall(text)
    page = Page()
    page.feed(text)
    page.close()
    return page.remote


def check(app, exception):
    """Warn of each remote address in the files that were built."""
    from sphinx.util import logging  # here, so that the tests do without Sphinx

    logger = logging.getLogger(__name__)
    if exception is None and app.builder.format == "html":
        for path in sorted(Path(app.outdir).rglob("*")):
            if path.suffix in (".html", ".svg", ".css"):
                for address in remote_addresses(path):
                    name = path.relative_to(app.outdir)
                    logger.warning("%s would be fetched from a network by %s", address, name)


def setup(app):
    """Check the site at the end of the build."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
