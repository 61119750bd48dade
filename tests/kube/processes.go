// The processes: the store under test, kube-apiserver on it, kube-controller-manager on that.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

type world struct {
	dir, bin, program string
	store             *exec.Cmd
	others            []*exec.Cmd
	storeURL, peerURL string
	token             string
}

func newWorld(program, bin string) *world {
	dir, err := os.MkdirTemp("", "witan-kube-")
	must(err)
	token := make([]byte, 16)
	_, err = rand.Read(token)
	must(err)
	w := &world{dir: dir, bin: bin, program: program, token: hex.EncodeToString(token)}
	w.storeURL, w.peerURL = "http://"+freeAddress(), "http://"+freeAddress()
	w.write("tokens.csv", w.token+`,admin,1,"system:masters"`+"\n")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	w.write("sa.key", string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) { must(os.WriteFile(w.path(name), []byte(text), 0o600)) }

func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	return listener.Addr().String()
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

func (w *world) startStore() {
	w.store = w.spawn(w.program, "--name", "default", "--data-dir", w.path("data"),
		"--listen-client-urls", w.storeURL, "--advertise-client-urls", w.storeURL,
		"--listen-peer-urls", w.peerURL, "--initial-advertise-peer-urls", w.peerURL,
		"--initial-cluster", "default="+w.peerURL)
}

// killStore ends the store as a power cut would.
func (w *world) killStore() {
	must(w.store.Process.Kill())
	_ = w.store.Wait()
}

func (w *world) startAPIServer() *api {
	address := freeAddress()
	_, port, err := net.SplitHostPort(address)
	must(err)
	w.others = append(w.others, w.spawn(filepath.Join(w.bin, "kube-apiserver"),
		"--etcd-servers="+w.storeURL, "--bind-address=127.0.0.1", "--secure-port="+port,
		"--advertise-address=10.0.0.1", "--cert-dir="+w.path("certs"),
		"--authorization-mode=RBAC", "--token-auth-file="+w.path("tokens.csv"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+w.path("sa.key"),
		"--service-account-signing-key-file="+w.path("sa.key")))
	certificate := w.path("certs/apiserver.crt")
	eventually("kube-apiserver's certificate", func() bool {
		text, err := os.ReadFile(certificate)
		return err == nil && len(text) > 0
	})
	api := newAPI("https://"+address, w.token, certificate)
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

// endOnSignals leaves no process behind when the run itself is ended.
func (w *world) endOnSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fail("ended from outside")
	}()
}

// end kills every process, the store last, and removes the folder, or says where it is.
func (w *world) end(keep bool) {
	for i := len(w.others) - 1; i >= 0; i-- {
		_ = w.others[i].Process.Kill()
		_ = w.others[i].Wait()
	}
	if w.store != nil {
		_ = w.store.Process.Kill()
		_ = w.store.Wait()
	}
	if keep {
		fmt.Println("logs are in", w.dir)
	} else {
		_ = os.RemoveAll(w.dir)
	}
}
