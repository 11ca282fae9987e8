"""The service against its own OpenAPI: schemathesis sends what fits it and what does not."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image
from service_gallery import SCENES, drawn_collection, encoded

from geoclip_lite.images import FORMATS
from geoclip_lite.service.app import create_app
from geoclip_lite.service.guard import PICTURES, Limits

pytestmark = pytest.mark.filterwarnings("ignore::geoclip_lite.encoders.TextWarning")
EXAMPLES = 25  # of each operation
# What fits the types is answered, or refused for what it means (404, 422), never as a bad request (400).
ACCEPTED = {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422"]}}

colours = st.tuples(*[st.integers(0, 255)] * 3)
sides = st.integers(1, 80)
drawn = st.builds(lambda w, h, colour: Image.new("RGB", (w, h), colour), sides, sides, colours)
for kind in PICTURES:
    schemathesis.openapi.media_type(kind, st.builds(encoded, drawn, st.sampled_from([*FORMATS])))


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    collection = drawn_collection(tmp_path_factory.mktemp("schema"), SCENES[:12])
    app = create_app(collection, Limits(waiting=100, seconds=60), writable=True, writers=("testserver",))
    config = schemathesis.Config.from_dict({"checks": ACCEPTED})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_keeps_to_its_own_description(case):
    response = case.call_and_validate(timeout=60)  # raises whatever its own description does not promise
    assert response.status_code < 500
