"""Formulas become MathML when the site is built.

Browsers draw MathML by themselves, so that a page needs neither a script nor a network to show a
formula. (MathJax, which is Sphinx's default, is a script that every page loads from a server.)
"""

from docutils.nodes import SkipNode
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

logger = logging.getLogger(__name__)
converter = LatexToMathML(fancy_error=False)


def mathml(node, displaystyle):
    """Return a formula as MathML. One that cannot be converted is a warning."""
    latex = node.astext()
    try:
        return converter.convert_with_local_state(latex, displaystyle=displaystyle)
    except LatexError as error:
        logger.warning("the formula %s: %s", latex, error, location=node)
        return ""


def visit_inline(translator, node):
    """Write a formula that stands in a line of text."""
    translator.body.append(mathml(node, displaystyle=False))
    raise SkipNode


def visit_display(translator, node):
    """Write a formula that has lines of its own."""
    translator.body.append(f'<div class="formula">{mathml(node, displaystyle=True)}</div>\n')
    raise SkipNode


def setup(app):
    """Register the renderer that `html_math_renderer = "mathml"` asks for."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
