// A member of a store: kills and status.
package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A member of the store under test.
type member struct {
	name, url, peerURL string
	process            *exec.Cmd
}

// A client whose calls end soon, for members that may be down.
var askOnce = &http.Client{Timeout: 2 * time.Second}

func (m *member) kill() {
	if m.process != nil {
		_ = m.process.Process.Kill()
		_ = m.process.Wait()
		m.process = nil
	}
}

// killLeaders kills the leader repeatedly until stopped, each time when all members know the same leader. Returns the number of
// kills.
func (w *world) killLeaders(stop <-chan struct{}) int {
	for kills := 0; ; kills++ {
		select {
		case <-stop:
			return kills
		default:
		}
		var leader *member
		eventually("all members know the same leader", func() bool {
			leader = w.leader()
			return leader != nil
		})
		leader.kill()
		w.awaitOther(leader)
		w.start(leader)
	}
}

// awaitOther waits until a member other than dead leads.
func (w *world) awaitOther(dead *member) {
	eventually("another member leads", func() bool {
		for _, m := range w.stores {
			if id, leader := m.status(); m != dead && id != "" && id == leader {
				return true
			}
		}
		return false
	})
}

// leader returns the member that all members name as their leader, or nil while a member does not answer or the members
// disagree.
func (w *world) leader() *member {
	var found *member
	said := map[string]bool{}
	for _, m := range w.stores {
		id, leader := m.status()
		if id == leader {
			found = m
		}
		said[leader] = true
	}
	if len(said) != 1 || said["0"] || said[""] {
		return nil
	}
	return found
}

// status returns the ids of a member and of its leader, or empty strings if the member does not answer.
func (m *member) status() (id, leader string) {
	answer, err := askOnce.Post(m.url+"/v3/maintenance/status", "application/json", strings.NewReader("{}"))
	if err != nil {
		return "", ""
	}
	defer answer.Body.Close()
	var got object
	if answer.StatusCode != 200 || json.NewDecoder(answer.Body).Decode(&got) != nil {
		return "", ""
	}
	return at(got, "header", "member_id"), at(got, "leader")
}

// answered returns the number of successful calls of a method of etcd's KV service since the member started. It fails if the
// metric does not exist.
func (m *member) answered(method string) int {
	answer, err := askOnce.Get(m.url + "/metrics")
	must(err)
	defer answer.Body.Close()
	series := `grpc_server_handled_total{grpc_code="OK",grpc_method="` + method + `",grpc_service="etcdserverpb.KV",`
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), series) {
			fields := strings.Fields(lines.Text())
			count, err := strconv.Atoi(fields[len(fields)-1])
			must(err)
			return count
		}
	}
	fail("%s/metrics has no %s", m.url, series)
	return 0
}
