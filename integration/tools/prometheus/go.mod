// Pins Prometheus and everything it is built from, for `integration/tools/fetch prometheus promtool`. `go install` would do if the
// module had no replacement of its own, which is repeated here. To move it to another version: change the version here and
// in tools.toml, empty go.sum, and in this folder run
//
//	CGO_ENABLED=0 go build -mod=mod -tags remove_all_sd,netgo -o /dev/null github.com/prometheus/prometheus/cmd/prometheus \
//	    github.com/prometheus/prometheus/cmd/promtool
module prometheus

go 1.26.0

require github.com/prometheus/prometheus v0.315.0

replace cloud.google.com/go => cloud.google.com/go v0.123.0
