"""The pipeline for people: a service and a search page. Run it: `python -m geoclip_lite.service`

app         create_app: the routes
models      what is asked and answered, in types
searching   a search, from the request's words to the answer's
why         why a picture is where it is, in a sentence
collection  pictures under one encoder or several
sources     where a collection comes from: the drawn demo, or a folder
pictures    pictures from strangers, and copies to show
limits      how much may be asked for, and how long it may take
desk        a few workers and a short queue
tidying     what many small writes leave
guard       what stands between the network and the routes
protocol    heads of requests that must arrive in time
problems, description   what went wrong, for people and in the OpenAPI
watching    figures and logs
running     the server, and a service in a process of its own
load, trials   what it bears: clients, and what is done to it
page/       the search page
"""

from importlib.util import find_spec

if lacking := [name for name in ("fastapi", "prometheus_client", "uvicorn") if find_spec(name) is None]:
    raise ImportError(f"the service needs {', '.join(lacking)}: pip install 'geoclip-lite[index,serve]'")
