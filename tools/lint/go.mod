module silly.store/etcd/tools/lint

go 1.26.0

require (
	codeberg.org/polyfloyd/go-errorlint v1.9.1
	github.com/gostaticanalysis/comment v1.5.0
	github.com/gostaticanalysis/nilerr v0.1.2
	github.com/kkHAIKE/contextcheck v1.1.6
	github.com/nishanths/exhaustive v0.17.1
	github.com/securego/gosec/v2 v2.30.0
	golang.org/x/tools v0.52.0
)

require (
	github.com/ccojocar/zxcvbn-go v1.0.4 // indirect
	github.com/golangci/misspell v0.8.0 // indirect
	github.com/gostaticanalysis/analysisutil v0.7.1 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/tools/go/packages/packagestest v0.1.1-deprecated // indirect
)

tool github.com/golangci/misspell/cmd/misspell
