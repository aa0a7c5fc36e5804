// Pins the modules that custom resource definitions are taken from, for `integration/tools/fetch istio-crds gateway-crds
// operator-crds cert-manager-crds`; nothing is built of them. To move one to another version: change it here and in tools.toml,
// empty go.sum, and in this folder run `go mod download` with all paths.
module crds

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2

require github.com/prometheus-operator/prometheus-operator v0.93.1

require istio.io/api v1.29.2

require sigs.k8s.io/gateway-api v1.6.1
