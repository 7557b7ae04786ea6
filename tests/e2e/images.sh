#!/usr/bin/env sh
# Build the images of the end-to-end tests and hand them to the cluster; prints `export` lines with their names.
#
# With E2E_CLUSTER, the folder of a cluster that has its own builder (`image NAME:TAG CONTEXT OPTIONS`), that is used;
# else docker or podman build, and kind or minikube load, if the current context is one of theirs. A cluster with a
# registry: set E2E_BRIDGE_IMAGE, E2E_ECHO_IMAGE and E2E_THERMOSTAT_IMAGE, and this builds nothing.
set -eu
cd "$(dirname "$0")/../.."
tag=e2e

# build NAME OPTIONS...: an image of this repository.
build() {
    name=$1
    shift
    if [ -n "${E2E_CLUSTER:-}" ]; then
        "$E2E_CLUSTER/image" "$name:$tag" . "$@" >&2
        return
    fi
    tool=$(command -v docker || command -v podman) || { echo "error: neither docker nor podman is there" >&2; exit 1; }
    "$tool" build --tag "dev.local/$name:$tag" "$@" . >&2
    case $(kubectl config current-context) in
    kind-*) kind load docker-image --name "$(kubectl config current-context | cut -c6-)" "dev.local/$name:$tag" >&2 ;;
    minikube) minikube image load "dev.local/$name:$tag" >&2 ;;
    esac
}

if [ -z "${E2E_BRIDGE_IMAGE:-}" ]; then
    build thinbridge-bridge --file Dockerfile
    for example in echo thermostat; do
        build "thinbridge-function-$example" --file functions/Dockerfile --build-arg "EXAMPLE=$example"
    done
fi
echo "export E2E_BRIDGE_IMAGE=${E2E_BRIDGE_IMAGE:-dev.local/thinbridge-bridge:$tag}"
echo "export E2E_ECHO_IMAGE=${E2E_ECHO_IMAGE:-dev.local/thinbridge-function-echo:$tag}"
echo "export E2E_THERMOSTAT_IMAGE=${E2E_THERMOSTAT_IMAGE:-dev.local/thinbridge-function-thermostat:$tag}"
