"""A Sphinx extension: buttons to the repository, to Colab and to Binder, where there is a repository.

The address is not part of the book. Whoever publishes it names it in GEOCLIP_REPOSITORY; without it the pages
have no such button. What the buttons open is the branch `launch`, which `book/launch.py` prepares.
"""

import os

BUTTONS = {
    "repository_provider": "github",
    "repository_branch": "launch",
    "use_repository_button": True,
    "use_issues_button": True,
    "launch_buttons": {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    },
}


def name_repository(app, config):
    """Give the theme the address, if there is one."""
    if address := os.environ.get("GEOCLIP_REPOSITORY"):
        config.html_theme_options |= {"repository_url": address, **BUTTONS}


def setup(app):
    app.connect("config-inited", name_repository, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
