// CoreDNS with its etcd plugin alone: the whole of it takes minutes to build. What does not live here: the
// questions that it is asked, in coredns_cases.py.
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
