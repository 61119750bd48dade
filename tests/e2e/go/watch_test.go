// Watches of a client whose server is killed and restarted.
package client

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestWatchGetsWhatWasWrittenWhileItWasAway(t *testing.T) {
	server := start(t)
	watcher, writer := server.client(), server.client()
	watch := watcher.Watch(within(t), "k", clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	created := <-watch
	same(t, "created", created.Created, true)
	for n := range 5 {
		// the other client may write before the watcher has reconnected
		server.kill()
		server.again()
		put(t, writer.KV, "k", fmt.Sprint(n))
	}
	var seen []string
	for len(seen) < 5 {
		seen = append(seen, next(t, watch)...)
	}
	for n, event := range seen {
		same(t, "event", event, fmt.Sprintf("PUT k %d", n))
	}
}
