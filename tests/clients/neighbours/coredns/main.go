// CoreDNS with only its etcd plugin, because a complete build takes minutes. coredns_cases.py sends the queries.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/etcd"
)

func main() {
	dnsserver.Directives = []string{"bind", "etcd"}
	coremain.Run()
}
