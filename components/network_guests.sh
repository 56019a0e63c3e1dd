## Containers of other stacks may have joined, and the engine keeps a network that anybody is attached to.
docker network inspect -f '{{range $id, $_ := .Containers}}{{println $id}}{{end}}' @NETWORK@ | ##
xargs -r -n 1 docker network disconnect -f @NETWORK@ || true
