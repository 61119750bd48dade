// Proxies that terminate TLS and open a new TLS connection, as Traefik, Caddy and Envoy do. They offer the server h2
// and http/1.1, and carry gRPC over the protocol that it chooses.

package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// startTLS starts a new server with TLS and returns it with its certificate.
func startTLS(t *testing.T) (*server, tls.Certificate) {
	t.Helper()
	s := prepare(t, "https://")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certificateFile, keyFile := filepath.Join(s.dir, "server.crt"), filepath.Join(s.dir, "server.key")
	must(t, os.WriteFile(certificateFile, certificatePEM, 0o600))
	must(t, os.WriteFile(keyFile, keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificatePEM)
	s.trust = &tls.Config{RootCAs: pool}
	s.arguments = []string{"--cert-file", certificateFile, "--key-file", keyFile}
	s.again()
	return s, pair
}

// proxyOf starts a proxy that re-encrypts TLS, and reports which protocols the server chose.
func proxyOf(t *testing.T, s *server, pair tls.Certificate) (string, <-chan string) {
	t.Helper()
	target, err := url.Parse(s.url)
	must(t, err)
	chosen := make(chan string, 1000)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{TLSClientConfig: s.trust.Clone(), ForceAttemptHTTP2: true}
	proxy.ModifyResponse = func(answer *http.Response) error {
		chosen <- answer.Proto
		return nil
	}
	front := httptest.NewUnstartedServer(proxy)
	front.EnableHTTP2 = true
	front.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	front.StartTLS()
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front.URL, chosen
}

func TestClientThroughProxyThatOpensTLSAgain(t *testing.T) {
	s, pair := startTLS(t)
	address, chosen := proxyOf(t, s, pair)
	client := s.clientOf(address)
	watch := client.Watch(within(t), "k", clientv3.WithCreatedNotify())
	created := <-watch
	must(t, created.Err())
	put(t, client, "k", "v")
	same(t, "event", strings.Join(next(t, watch), ", "), "PUT k v")
	same(t, "value", value(t, client, "k"), "v")
	lease, err := client.Grant(within(t), 60)
	must(t, err)
	_, err = client.KeepAliveOnce(within(t), lease.ID)
	must(t, err)
	// a server error reaches the client as an error
	_, err = client.Put(within(t), "", "v")
	if err == nil || !strings.Contains(err.Error(), "key is not provided") {
		t.Fatalf("unexpected error: %v", err)
	}
	same(t, "protocol", <-chosen, "HTTP/2.0")
}

func TestHTTPThroughProxyThatOpensTLSAgain(t *testing.T) {
	s, pair := startTLS(t)
	address, chosen := proxyOf(t, s, pair)
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust.Clone(), ForceAttemptHTTP2: true}}
	answer, err := browser.Post(address+"/v3/kv/put", "application/json", strings.NewReader(`{"key":"aw==","value":"dg=="}`))
	must(t, err)
	must(t, answer.Body.Close())
	same(t, "status", answer.StatusCode, http.StatusOK)
	same(t, "protocol to the proxy", answer.Proto, "HTTP/2.0")
	same(t, "protocol behind it", <-chosen, "HTTP/2.0")
	same(t, "value", value(t, s.client(), "k"), "v")
}
