#!/bin/sh
# make images: the bridge and its controller, and a function of each example, with whatever builds images here.
#
#   ENGINE  docker, podman or buildah; or a program that is called as `ENGINE NAME:TAG CONTEXT OPTIONS…`
#   PREFIX  what names begin with: dev.local/thinbridge- (Knative asks no registry for dev.local), registry.example/me/
#   TAG     dev; never latest, which Kubernetes pulls from a registry
#   EXAMPLES  the functions: all of functions/examples
set -eu
cd "$(dirname "$0")/.."

PREFIX=${PREFIX:-dev.local/thinbridge-}
TAG=${TAG:-dev}
EXAMPLES=${EXAMPLES:-$(ls functions/examples)}

# An engine counts when it can build: a docker client without its daemon can't.
find_engine() {
    for engine in docker podman buildah; do
        if "$engine" info >/dev/null 2>&1; then
            echo "$engine"
            return
        fi
    done
    echo "error: no engine that builds images: install docker, podman or buildah and start it, or name one: make images ENGINE=…" >&2
    exit 1
}
ENGINE=${ENGINE:-$(find_engine)}

# build NAME [OPTIONS…]
build() {
    image=$PREFIX$1:$TAG
    shift
    set -- "$@" --label "org.opencontainers.image.version=$version" --label "org.opencontainers.image.revision=$revision"
    begin=$(date +%s)
    case ${ENGINE##*/} in
    docker | podman) "$ENGINE" build --quiet --tag "$image" "$@" . >/dev/null ;;
    buildah) "$ENGINE" build --quiet --layers --tag "$image" "$@" . >/dev/null ;;
    *) "$ENGINE" "$image" . "$@" >/dev/null ;;
    esac
    echo "$image  $(($(date +%s) - begin)) s"
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' bridges/thinbridge/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
build bridge
for example in $EXAMPLES; do
    build "function-$(echo "$example" | tr _ -)" --file functions/Dockerfile --build-arg "EXAMPLE=$example"
done
