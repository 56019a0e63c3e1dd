#!/usr/bin/env bash
# Asks everything the stack uses; exit 0 only when all of it is healthy. STACK names the stack (hybrid).
set -eu
cd "$(dirname "$0")/.."
exec python3 -m toolchain run --quiet --parts python,pulumi -- python -m operate.health "$@"
