// A client that writes continuously with etcd's own library and counts failures. tests/operator runs it while a cluster changes.
//
// Each line on standard input is a command; the answer is JSON:
//
//	endpoints URL...    uses these endpoints from now on
//	mark                returns the events since the last mark
//	check               returns the acknowledged writes that are missing
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// a write without an answer in this time has failed
	timeout = 5 * time.Second
	// pause between two writes of one worker
	pause   = 5 * time.Millisecond
	workers = 2
	// number of errors that are shown for a phase
	shown = 5
)

type phase struct {
	Written   int      `json:"written"`
	Failed    int      `json:"failed"`
	Errors    []string `json:"errors"`
	LongestMs int64    `json:"longest_ms"`
	GapMs     int64    `json:"gap_ms"`
	last      time.Time
}

type record struct {
	sync.Mutex
	phase
	acknowledged map[string]string
}

func main() {
	authority := flag.String("cacert", "", "authority of the members' certificates")
	certificate := flag.String("cert", "", "the client's certificate and key, in one file")
	name := flag.String("name", "", "a name that all members' certificates have")
	user := flag.String("user", "", "the user's name, if authentication is enabled")
	password := flag.String("password", "", "the user's password")
	flag.Parse()
	kept := &record{acknowledged: map[string]string{}}
	kept.last = time.Now()
	var client *clientv3.Client
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "endpoints":
			if client == nil {
				client = connect(words[1:], secured(*authority, *certificate, *name), *user, *password)
				for worker := range workers {
					go write(client, kept, worker)
				}
			} else {
				client.SetEndpoints(words[1:]...)
			}
			answer(map[string]int{"endpoints": len(words) - 1})
		case "mark":
			kept.Lock()
			// a write that started before the mark and has not ended delays the phase that the mark ends
			kept.GapMs = max(kept.GapMs, time.Since(kept.last).Milliseconds())
			done := kept.phase
			kept.phase = phase{last: kept.last}
			kept.Unlock()
			answer(done)
		case "check":
			answer(check(client, kept))
		default:
			must(fmt.Errorf("no such command: %q", lines.Text()))
		}
	}
}

func connect(endpoints []string, secured *tls.Config, user, password string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 2 * time.Second, Logger: zap.NewNop(),
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
		TLS: secured, Username: user, Password: password,
	})
	must(err)
	return client
}

// secured reads its files at each handshake, because they may change. Returns nil without a CA.
func secured(authority, certificate, name string) *tls.Config {
	if authority == "" {
		return nil
	}
	// the library would verify the address that it dials, which no certificate contains
	config := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		text, err := os.ReadFile(authority)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		return err
	}}
	if certificate != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certificate, certificate)
			return &pair, err
		}
	}
	return config
}

func write(client *clientv3.Client, kept *record, worker int) {
	for n := 0; ; n++ {
		name, value := fmt.Sprintf("writer/%d/%d", worker, n), fmt.Sprint(n)
		begun := time.Now()
		limited, cancel := context.WithTimeout(context.Background(), timeout)
		_, err := client.Put(limited, name, value)
		cancel()
		kept.add(name, value, begun, err)
		time.Sleep(pause)
	}
}

func (kept *record) add(name, value string, begun time.Time, err error) {
	kept.Lock()
	defer kept.Unlock()
	now := time.Now()
	if err != nil {
		kept.Failed++
		if len(kept.Errors) < shown {
			kept.Errors = append(kept.Errors, fmt.Sprintf("%s after %d ms: %v", now.Format("15:04:05.000"), now.Sub(begun).Milliseconds(), err))
		}
		return
	}
	kept.acknowledged[name] = value
	kept.Written++
	kept.LongestMs = max(kept.LongestMs, now.Sub(begun).Milliseconds())
	kept.GapMs = max(kept.GapMs, now.Sub(kept.last).Milliseconds())
	kept.last = now
}

// check reads all written keys and counts the missing ones. Returns the error if the read fails.
func check(client *clientv3.Client, kept *record) map[string]any {
	kept.Lock()
	wanted := map[string]string{}
	for name, value := range kept.acknowledged {
		wanted[name] = value
	}
	kept.Unlock()
	limited, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	found, err := client.Get(limited, "writer/", clientv3.WithPrefix())
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	has := map[string]string{}
	for _, pair := range found.Kvs {
		has[string(pair.Key)] = string(pair.Value)
	}
	missing := 0
	for name, value := range wanted {
		if has[name] != value {
			missing++
		}
	}
	return map[string]any{"acknowledged": len(wanted), "missing": missing}
}

func answer(what any) {
	must(json.NewEncoder(os.Stdout).Encode(what))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
