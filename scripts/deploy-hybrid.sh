#!/usr/bin/env bash
# The command that people know from docker-compose, over `make up`.
set -eu
usage="usage: scripts/deploy-hybrid.sh [--build] [--monitoring] [--production]
  --build        make images anew from what is in the checkout and the registries
  --monitoring   with Prometheus and Grafana
  --production   the production stack instead of hybrid"
stack=hybrid
for argument in "$@"; do
    case "$argument" in
        --build) export FRESH=1 ;;
        --monitoring) export ENABLE_MONITORING=true ;;
        --production) stack=production ;;
        -h | --help) echo "$usage"; exit 0 ;;
        *) echo "unknown option: $argument" >&2; echo "$usage" >&2; exit 2 ;;
    esac
done
cd "$(dirname "$0")/.."
exec make --no-print-directory up STACK="$stack"
