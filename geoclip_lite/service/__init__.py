"""The pipeline for people: a service and a search page over a folder. `python -m geoclip_lite.service`

app         the routes
models      what is asked and answered, in types
guard       limits, a bounded pool, middleware, problems, metrics
search      a search, from a request to its answer
why         why a picture is where it is, in a sentence
collection  a folder's pictures under one encoder or several, and what clients sent in and took out
pictures    thumbnails and full pictures
running     the server, and its logs
page/       the search page
"""

from importlib.util import find_spec

if lacking := [name for name in ("fastapi", "prometheus_client", "uvicorn") if find_spec(name) is None]:
    raise ImportError(f"the service needs {', '.join(lacking)}: pip install 'geoclip-lite[index,serve]'")
