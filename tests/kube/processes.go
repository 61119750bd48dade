// The processes: the store under test, kube-apiserver on it, and kube-controller-manager.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

type world struct {
	dir, bin, program string
	// the etcd program that is replaced, if any
	etcd string
	// the member that replaces etcd
	successor *member
	// the server of kube-apiserver's events, or nil if the store keeps them
	events     *member
	apiServer  *exec.Cmd
	apiAddress string
	stores     []*member
	others     []*exec.Cmd
	token      string
}

func newWorld(program, bin string, members int, etcd string) *world {
	dir, err := os.MkdirTemp("", "witan-kube-")
	must(err)
	token := make([]byte, 16)
	_, err = rand.Read(token)
	must(err)
	w := &world{dir: dir, bin: bin, program: program, etcd: etcd, token: hex.EncodeToString(token)}
	for n := range members {
		name := fmt.Sprintf("m%d", n)
		w.stores = append(w.stores, &member{name: name, url: "http://" + freeAddress(), peerURL: "http://" + freeAddress()})
	}
	if members == 1 && etcd == "" {
		w.events = &member{name: "events", url: "http://" + freeAddress(), peerURL: "http://" + freeAddress()}
	}
	w.write("tokens.csv", w.token+`,admin,1,"system:masters"`+"\n")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	w.write("sa.key", string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) { must(os.WriteFile(w.path(name), []byte(text), 0o600)) }

// step starts at different values in concurrent processes.
var step = 61 * os.Getpid()

// freeAddress returns a port on which nobody listens, and never returns it again. The ports are below the kernel's range of local
// ports for outgoing connections. Otherwise, a client that dials a port before its server listens could take the port, even by
// connecting to itself. The check only binds the port: a process that starts meanwhile would inherit a listener.
func freeAddress() string {
	for range 10_000 {
		step++
		port := 22_000 + step%10_000
		socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		must(err)
		must(syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		must(syscall.Close(socket))
		if err == nil {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	panic("no free port")
}

func (w *world) spawn(program string, arguments ...string) *exec.Cmd {
	log, err := os.OpenFile(w.path(filepath.Base(program)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
	defer log.Close()
	process := exec.Command(program, arguments...)
	process.Dir, process.Stdout, process.Stderr = w.dir, log, log
	must(process.Start())
	return process
}

// startStores starts all members that do not run.
func (w *world) startStores() {
	for _, m := range w.stores {
		if m.process == nil {
			w.start(m)
		}
	}
}

func (w *world) start(m *member) {
	cluster := make([]string, len(w.stores))
	for n, other := range w.stores {
		cluster[n] = other.name + "=" + other.peerURL
	}
	w.run(m, w.storeProgram(), strings.Join(cluster, ","))
}

// storeProgram returns the program that the store runs first.
func (w *world) storeProgram() string {
	if w.etcd != "" {
		return w.etcd
	}
	return w.program
}

// run starts a member, with more arguments before its flags.
func (w *world) run(m *member, program, cluster string, words ...string) {
	m.process = w.spawn(program, append(words, "--name", m.name, "--data-dir", w.path(m.name),
		"--listen-client-urls", m.url, "--advertise-client-urls", m.url,
		"--listen-peer-urls", m.peerURL, "--initial-advertise-peer-urls", m.peerURL,
		"--initial-cluster", cluster)...)
}

// follow starts the member that will replace etcd.
func (w *world) follow() {
	m := &member{name: "successor", url: "http://" + freeAddress(), peerURL: "http://" + freeAddress()}
	w.successor = m
	w.run(m, w.program, m.name+"="+m.peerURL, "follow", "--from", w.storeURLs())
	eventually("the successor follows", func() bool {
		id, leader := m.status()
		return id != "" && id == leader
	})
}

// takePlace replaces etcd with the successor and moves kube-apiserver to it. It kills kube-apiserver, because an orderly end
// waits a minute for watches. The controllers then lose their lease, so they restart, too. Returns the milliseconds in which
// neither store accepted writes.
func (w *world) takePlace(api *api) string {
	answer, err := http.Post(w.successor.url+"/follow/cut-over", "application/json", nil)
	must(err)
	defer answer.Body.Close()
	var got object
	must(json.NewDecoder(answer.Body).Decode(&got))
	expect(answer.StatusCode == 200, "the cut-over: %v", got)
	for _, process := range append(w.others, w.apiServer) {
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	w.others = nil
	w.killStores()
	w.stores, w.etcd = []*member{w.successor}, ""
	w.spawnAPIServer()
	w.startControllers(api)
	return at(got, "pauseMs")
}

// killStores ends all members with SIGKILL.
func (w *world) killStores() {
	for _, m := range w.stores {
		m.kill()
	}
}

// storeURLs returns the client URLs of the store.
func (w *world) storeURLs() string {
	urls := make([]string, len(w.stores))
	for n, m := range w.stores {
		urls[n] = m.url
	}
	return strings.Join(urls, ",")
}

func (w *world) startAPIServer() *api {
	w.apiAddress = freeAddress()
	w.spawnAPIServer()
	return w.awaitAPIServer()
}

func (w *world) spawnAPIServer() {
	_, port, err := net.SplitHostPort(w.apiAddress)
	must(err)
	var overrides []string
	if w.events != nil {
		overrides = append(overrides, "--etcd-servers-overrides=/events#"+w.events.url)
	}
	w.apiServer = w.spawn(filepath.Join(w.bin, "kube-apiserver"), append(overrides,
		"--etcd-servers="+w.storeURLs(), "--bind-address=127.0.0.1", "--secure-port="+port,
		"--advertise-address=10.0.0.1", "--cert-dir="+w.path("certs"),
		"--authorization-mode=RBAC", "--token-auth-file="+w.path("tokens.csv"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+w.path("sa.key"),
		"--service-account-signing-key-file="+w.path("sa.key"))...)
}

func (w *world) awaitAPIServer() *api {
	certificate := w.path("certs/apiserver.crt")
	eventually("kube-apiserver's certificate", func() bool {
		text, err := os.ReadFile(certificate)
		return err == nil && len(text) > 0
	})
	api := newAPI("https://"+w.apiAddress, w.token, certificate)
	eventually("kube-apiserver is ready", func() bool {
		answer, err := api.request("GET", "/readyz", nil)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == 200
	})
	return api
}

func (w *world) startControllers(api *api) {
	w.write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: l, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: admin, user: {token: %q}}]
contexts: [{name: l, context: {cluster: l, user: admin}}]
current-context: l
`, api.url, w.path("certs/apiserver.crt"), w.token))
	_, port, err := net.SplitHostPort(freeAddress())
	must(err)
	w.others = append(w.others, w.spawn(filepath.Join(w.bin, "kube-controller-manager"),
		"--kubeconfig="+w.path("kubeconfig"), "--leader-elect=true",
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+w.path("certs-cm"),
		"--service-account-private-key-file="+w.path("sa.key"),
		"--root-ca-file="+w.path("certs/apiserver.crt"), "--use-service-account-credentials=true"))
}

// endOnSignals ends all processes when the run is interrupted.
func (w *world) endOnSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fail("a signal ended the run")
	}()
}

// end kills every process, the members last, and removes the directory or, with keep, prints its path.
func (w *world) end(keep bool) {
	for _, process := range append(w.others, w.apiServer) {
		if process != nil {
			_ = process.Process.Kill()
			_ = process.Wait()
		}
	}
	w.killStores()
	for _, m := range []*member{w.successor, w.events} {
		if m != nil {
			m.kill()
		}
	}
	if keep {
		fmt.Println("logs are in", w.dir)
	} else {
		_ = os.RemoveAll(w.dir)
	}
}
