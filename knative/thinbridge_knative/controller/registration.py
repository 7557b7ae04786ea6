"""Make the Bridge a source in Eventing's eyes, when it can be looked at.

Eventing looks at a CRD once, when it sees the label `duck.knative.dev/source`: it lists the kind, and where that fails
(the API server does not serve it yet, as with every CRD that is born with the label, or no role allows it yet) there
are no EventTypes until Eventing is restarted (`pkg/reconciler/source/crd` keeps what failed). So the label comes last.
"""

from thinbridge_knative.controller.world import World
from thinbridge_knative.resource import API_VERSION, CRD_NAME, KIND, SOURCE_LABEL

VERSION, DEFINITION = "apiextensions.k8s.io/v1", "CustomResourceDefinition"


def register(world: World) -> bool:
    """Label the CRD if bridges are served.

    Returns:
        Whether it has the label now.

    Raises:
        Failure: the cluster did not let us; try again.
    """
    found = world.get(VERSION, DEFINITION, "", CRD_NAME)
    if found is None:
        return False
    if (found["metadata"].get("labels") or {}).get(SOURCE_LABEL) == "true":
        return True
    world.find(API_VERSION, KIND, "", {})  # raises where bridges are not served yet
    label = {"name": CRD_NAME, "namespace": "", "labels": {SOURCE_LABEL: "true"}}
    world.apply({"apiVersion": VERSION, "kind": DEFINITION, "metadata": label})
    return True
