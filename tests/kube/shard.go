// Events on a separate server, as in large clusters: kube-apiserver stores only events there, and serves everything else while
// that server is down.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

const (
	registry   = "/registry/"
	events     = registry + "events/"
	eventsPath = "/api/v1/namespaces/load/events"
	// the check of kube-apiserver for the first server in --etcd-servers-overrides
	eventsCheck = "etcd-override-readiness-0"
	without     = "/readyz?exclude=etcd-override-0&exclude=" + eventsCheck
	// number of objects that are created while the server of events is down
	meanwhile = 50
)

// startEvents starts the server of events.
func (w *world) startEvents() {
	w.run(w.events, w.program, w.events.name+"="+w.events.peerURL)
}

func shard(api *api) {
	store := here.stores[0]
	expect(store.count(events) == 0 && store.count(registry) > objects, "events in the first server: %d of %d keys",
		store.count(events), store.count(registry))
	expect(here.events.count(events) > 0 && here.events.count(events) == here.events.count(registry),
		"events in their own server: %d of %d keys", here.events.count(events), here.events.count(registry))
	passed(fmt.Sprintf("the second server has all %d events, and nothing else", here.events.count(events)))

	here.events.kill()
	eventually("kube-apiserver reports that the server of events is down", func() bool {
		status, _ := api.try("GET", "/readyz/"+eventsCheck, nil)
		return status >= 500
	})
	for n := range meanwhile {
		name := fmt.Sprintf("meanwhile-%d", n)
		status, got := api.try("POST", maps, object{"metadata": object{"name": name}})
		expect(status == 201, "%s: %d %v", name, status, got)
		status, got = api.try("GET", without, nil)
		expect(status == 200, "kube-apiserver is not ready without the server of events: %d %v", status, got)
	}
	here.startEvents()
	eventually("kube-apiserver is ready with the server of events", func() bool {
		status, _ := api.try("GET", "/readyz", nil)
		return status == 200
	})
	event(api, "a-later-event")
	names, ok := api.names(eventsPath)
	expect(ok && names["an-event"] && names["a-later-event"], "events after a kill -9 of their server: %v", names)
	passed(fmt.Sprintf("%d objects are created while the second server is down, and its events exist when it is back", meanwhile))
}

func event(api *api, name string) {
	api.create(eventsPath, object{
		"metadata":       object{"name": name},
		"involvedObject": object{"kind": "Namespace", "name": "load", "namespace": "load"},
		"reason":         "Checked", "type": "Normal",
	})
}

// count returns the number of keys that start with a prefix, which must end in a slash.
func (m *member) count(prefix string) int {
	end := strings.TrimSuffix(prefix, "/") + string(rune('/'+1))
	text := base64.StdEncoding.EncodeToString
	answer, err := askOnce.Post(m.url+"/v3/kv/range", "application/json", strings.NewReader(
		fmt.Sprintf(`{"key": %q, "range_end": %q, "count_only": true}`, text([]byte(prefix)), text([]byte(end)))))
	must(err)
	defer answer.Body.Close()
	var got object
	must(json.NewDecoder(answer.Body).Decode(&got))
	expect(answer.StatusCode == 200, "keys of %s: %v", prefix, got)
	count, err := strconv.Atoi(at(got, "count"))
	if at(got, "count") != "" {
		must(err)
	}
	return count
}
