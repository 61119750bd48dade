// Watches: what a client's watch gives while the server is killed and started again under it.
package client

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

func TestWatchGoesOnAfterKills(t *testing.T) {
	server := start(t)
	client := server.client()
	watch := client.Watch(within(t), "w/", clientv3.WithPrefix())
	seen, want := []string{}, []string{}
	for round := range 4 {
		for n := range 50 {
			key := fmt.Sprintf("w/%d", n)
			text := fmt.Sprint(round, n)
			put(t, client.KV, key, text)
			want = append(want, "PUT "+key+" "+text)
		}
		for len(seen) < len(want) {
			seen = append(seen, next(t, watch)...)
		}
		server.kill()
		server.again()
	}
	if !slices.Equal(seen, want) {
		t.Fatalf("got %v, want %v", seen, want)
	}
}

func TestWatchGetsWhatWasWrittenWhileItWasAway(t *testing.T) {
	server := start(t)
	watcher, writer := server.client(), server.client()
	watch := watcher.Watch(within(t), "k", clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	created := <-watch
	same(t, "created", created.Created, true)
	for n := range 5 {
		// the other client may write before the watcher has come back
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

func TestWatchOfACompactedRevisionEnds(t *testing.T) {
	client := start(t).client()
	var revision int64
	for n := range 5 {
		revision = put(t, client.KV, "k", fmt.Sprint(n))
	}
	_, err := client.Compact(within(t), revision, clientv3.WithCompactPhysical())
	must(t, err)
	answer := <-client.Watch(within(t), "k", clientv3.WithRev(2))
	same(t, "compacted at", answer.CompactRevision, revision)
	if !errors.Is(answer.Err(), rpctypes.ErrCompacted) {
		t.Fatal(answer.Err())
	}
}

func TestFragmentsAreOneAnswer(t *testing.T) {
	client := start(t).client()
	watch := client.Watch(within(t), "f/", clientv3.WithPrefix(), clientv3.WithFragment())
	var puts []clientv3.Op
	large := string(make([]byte, 1<<19))
	for n := range 2 {
		puts = append(puts, clientv3.OpPut(fmt.Sprintf("f/%d", n), large))
	}
	_, err := client.Txn(within(t)).Then(puts...).Commit()
	must(t, err)
	same(t, "events at once", len(next(t, watch)), 2)
}

func TestProgressIsToldOnRequest(t *testing.T) {
	client := start(t).client()
	ctx := clientv3.WithRequireLeader(within(t))
	watch := client.Watch(ctx, "quiet", clientv3.WithCreatedNotify())
	<-watch
	revision := put(t, client.KV, "loud", "x")
	must(t, client.RequestProgress(ctx))
	answer := <-watch
	same(t, "progress", answer.IsProgressNotify(), true)
	same(t, "revision", answer.Header.Revision, revision)
}
