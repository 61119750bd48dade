// Package client tests a server with etcd's own Go client and its packages. SERVER names the program; each test starts its own
// process. This file starts, kills and restarts the server. The same tests pass with etcd, which shows that their expectations
// are right.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Limit for every action, long enough for two busy cores.
const patience = 30 * time.Second

type server struct {
	t       *testing.T
	dir     string
	url     string
	peerURL string
	process *exec.Cmd
	// additional arguments, and the CA that clients trust if the URL has TLS
	arguments []string
	trust     *tls.Config
}

// start returns a new server that answers.
func start(t *testing.T) *server {
	t.Helper()
	s := prepare(t, "http://")
	s.again()
	return s
}

// prepare returns a new server without starting it.
func prepare(t *testing.T, scheme string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), url: scheme + freeAddress(t), peerURL: "http://" + freeAddress(t)}
	t.Cleanup(func() {
		if s.process != nil {
			s.kill()
		}
		if t.Failed() {
			if log, err := os.ReadFile(s.logFile()); err == nil {
				t.Logf("end of the server's log:\n%s", log[max(0, len(log)-4000):])
			}
		}
	})
	return s
}

// step starts at different values in concurrent processes.
var step = 61 * os.Getpid()

// freeAddress returns an address on which no process listens, and never returns it again. The ports are below the kernel's
// range of local ports for outgoing connections. Otherwise, a client that dials a port before its server listens could take the
// port, even by connecting to itself. The check only binds the port: a process that starts meanwhile would inherit a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 10_000 {
		step++
		port := 22_000 + step%10_000
		socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		must(t, syscall.Close(socket))
		if err == nil {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	panic("no free port")
}

func (s *server) logFile() string { return filepath.Join(s.dir, "log") }

// again restarts the server with the same directory and ports, and waits until it answers.
func (s *server) again() {
	s.t.Helper()
	program := os.Getenv("SERVER")
	if program == "" {
		s.t.Fatal("SERVER names the program under test; tests/e2e/go/run sets it")
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(s.t, err)
	defer log.Close()
	arguments := append([]string{
		"--name", "default", "--data-dir", filepath.Join(s.dir, "data"),
		"--listen-client-urls", s.url, "--advertise-client-urls", s.url,
		"--listen-peer-urls", s.peerURL, "--initial-advertise-peer-urls", s.peerURL,
		"--initial-cluster", "default=" + s.peerURL}, s.arguments...)
	s.process = exec.Command(program, arguments...)
	s.process.Stdout, s.process.Stderr = log, log
	must(s.t, s.process.Start())
	// a client whose first connection fails retries only after a second
	eventually(s.t, "the server listens", func() bool {
		_, address, _ := strings.Cut(s.url, "://")
		connection, err := net.Dial("tcp", address)
		if err == nil {
			_ = connection.Close()
		}
		return err == nil
	})
	client := s.client()
	defer client.Close()
	eventually(s.t, "the server answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := client.Get(ctx, "ready")
		return err == nil
	})
}

// kill ends the server with SIGKILL.
func (s *server) kill() {
	s.t.Helper()
	must(s.t, s.process.Process.Kill())
	_ = s.process.Wait()
	s.process = nil
}

// client opens a client that is closed with the test.
func (s *server) client() *clientv3.Client {
	s.t.Helper()
	return s.clientOf(s.url)
}

// clientOf opens a client that reaches the server at another URL.
func (s *server) clientOf(url string) *clientv3.Client {
	s.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, DialTimeout: patience, TLS: s.trust})
	must(s.t, err)
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually checks a condition until it holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited %v without success: %s", patience, what)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// value reads one key, and returns "" if it does not exist.
func value(t *testing.T, kv clientv3.KV, key string) string {
	t.Helper()
	answer, err := kv.Get(within(t), key)
	must(t, err)
	if len(answer.Kvs) == 0 {
		return ""
	}
	return string(answer.Kvs[0].Value)
}

func put(t *testing.T, kv clientv3.KV, key, value string, options ...clientv3.OpOption) int64 {
	t.Helper()
	answer, err := kv.Put(within(t), key, value, options...)
	must(t, err)
	return answer.Header.Revision
}

// next returns the events of the next response with events, as `PUT key value` or `DELETE key`.
func next(t *testing.T, watch clientv3.WatchChan) []string {
	t.Helper()
	for {
		select {
		case answer, open := <-watch:
			if !open {
				t.Fatal("the watch is closed")
			}
			must(t, answer.Err())
			var events []string
			for _, event := range answer.Events {
				switch event.Type {
				case clientv3.EventTypePut:
					events = append(events, fmt.Sprintf("PUT %s %s", event.Kv.Key, event.Kv.Value))
				case clientv3.EventTypeDelete:
					events = append(events, fmt.Sprintf("DELETE %s", event.Kv.Key))
				}
			}
			if len(events) > 0 {
				return events
			}
		case <-time.After(patience):
			t.Fatalf("no event for %v", patience)
		}
	}
}
