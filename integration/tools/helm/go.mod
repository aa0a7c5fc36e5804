// Pins Helm and everything it is built from, for `integration/tools/fetch helm`. To move it to another version: change the
// version here and in tools.toml, empty go.sum, and in this folder run
//
//	CGO_ENABLED=0 go build -mod=mod -o /dev/null helm.sh/helm/v4/cmd/helm
module helm

go 1.26.0

require helm.sh/helm/v4 v4.3.1
