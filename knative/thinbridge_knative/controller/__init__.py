"""The controller: keeps what a Bridge becomes in the cluster as the Bridge says.

`python -m thinbridge_knative.controller` runs it:

    operator    kopf's only door: watches, and says which bridge to look at; health, metrics
    worker      one look at a time per bridge, again until it is settled, never twice at once
    reconciler  one look: read, compare, apply what differs, write the status
    comparison  whether an object is as it is wanted
    world       the cluster as the reconciler needs it, over `client`

Level-triggered: an event only says that a look is due; what is done follows from what is there. No finalizer: owner
references let Kubernetes remove what a deleted Bridge leaves, so a controller that is away holds nobody up.
"""
