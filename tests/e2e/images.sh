#!/bin/sh
# Build the images of the end-to-end tests and hand them to the cluster; prints `export` lines with their names.
#
# With E2E_CLUSTER, the folder of a cluster that has its own builder (`image NAME:TAG CONTEXT OPTIONS`), that is used;
# else whatever `make images` finds, and kind or minikube load them, if the current context is one of theirs. A cluster
# with a registry: set E2E_BRIDGE_IMAGE, E2E_ECHO_IMAGE and E2E_THERMOSTAT_IMAGE, and this builds nothing.
set -eu
cd "$(dirname "$0")/../.."
prefix=dev.local/thinbridge-
tag=dev
examples="echo thermostat"

if [ -z "${E2E_BRIDGE_IMAGE:-}" ]; then
    [ -z "${E2E_CLUSTER:-}" ] || export ENGINE="$E2E_CLUSTER/image"
    PREFIX=$prefix TAG=$tag EXAMPLES=$examples sh knative/images.sh >&2
    context=$(kubectl config current-context)
    minikube=$(kubectl get nodes -o 'jsonpath={.items[0].metadata.labels.minikube\.k8s\.io/name}')
    for name in bridge $(printf 'function-%s ' $examples); do
        case $context in
        kind-*) kind load docker-image --name "${context#kind-}" "$prefix$name:$tag" >&2 ;;
        *) [ -z "$minikube" ] || minikube image load --profile "$minikube" "$prefix$name:$tag" >&2 ;;
        esac
    done
fi
echo "export E2E_BRIDGE_IMAGE=${E2E_BRIDGE_IMAGE:-${prefix}bridge:$tag}"
echo "export E2E_ECHO_IMAGE=${E2E_ECHO_IMAGE:-${prefix}function-echo:$tag}"
echo "export E2E_THERMOSTAT_IMAGE=${E2E_THERMOSTAT_IMAGE:-${prefix}function-thermostat:$tag}"
