"""A Sphinx extension: MathJax from the book's own files, and no more of it than the pages use.

sphinx-mathjax-offline brings all 24 MB of MathJax and loads its largest bundle. The book loads the parts
named in `mathjax3_config.loader` through `startup.js`: a third lighter, and without the menu script.
"""

from importlib.resources import as_file, files
from pathlib import Path
from shutil import copytree, ignore_patterns

# Files of MathJax that no page asks for: other inputs and outputs, the speech engine, the ready-made bundles.
UNUSED = ignore_patterns(
    "asciimath*", "mml", "mml.js", "mml-*", "svg*", "sre*", "ui", "adaptors", "node-main.js", "latest.js",
    "tex-*", "complexity.js", "explorer.js", "semantic-enrich.js",
)  # fmt: skip


def copy_mathjax(app, error):
    """Put the used part of MathJax beside the other static files once the pages are written."""
    if error or app.builder.format != "html":
        return
    with as_file(files("sphinx-mathjax-offline") / "static" / "mathjax") as source:
        copytree(source, Path(app.outdir, "_static", "mathjax"), ignore=UNUSED, dirs_exist_ok=True)


def setup(app):
    app.config.mathjax_path = "mathjax/startup.js"
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
