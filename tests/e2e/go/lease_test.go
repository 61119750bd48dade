// Leases and their users: sessions, mutexes, elections.
package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func grant(t *testing.T, lease clientv3.Lease, ttl int64) clientv3.LeaseID {
	t.Helper()
	answer, err := lease.Grant(within(t), ttl)
	must(t, err)
	return answer.ID
}

func session(t *testing.T, client *clientv3.Client, options ...concurrency.SessionOption) *concurrency.Session {
	t.Helper()
	session, err := concurrency.NewSession(client, options...)
	must(t, err)
	return session
}

func TestLeaseLivesWhileItIsKeptAndOverRestarts(t *testing.T) {
	server := start(t)
	client := server.client()
	id := grant(t, client, 3)
	put(t, client.KV, "kept", "1", clientv3.WithLease(id))
	answers, err := client.KeepAlive(within(t), id)
	must(t, err)
	for range 2 {
		answer, open := <-answers
		same(t, "kept alive", open, true)
		same(t, "granted", answer.TTL, int64(3))
		server.kill()
		server.again()
	}
	_, open := <-answers
	same(t, "kept alive", open, true)
	same(t, "its key", value(t, client.KV, "kept"), "1")
	lives, err := client.TimeToLive(within(t), id, clientv3.WithAttachedKeys())
	must(t, err)
	same(t, "granted", lives.GrantedTTL, int64(3))
	same(t, "keys", string(lives.Keys[0]), "kept")
	all, err := client.Leases(within(t))
	must(t, err)
	same(t, "leases", len(all.Leases), 1)
	_, err = client.Revoke(within(t), id)
	must(t, err)
	same(t, "its key", value(t, client.KV, "kept"), "")
	eventually(t, "the keep-alive ends", func() bool {
		_, open := <-answers
		return !open
	})
	_, err = client.Revoke(within(t), id)
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Fatal(err)
	}
	_, err = client.KeepAliveOnce(within(t), id)
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Fatal(err)
	}
}

func TestMutexLetsOneIn(t *testing.T) {
	const clients, rounds = 6, 10
	server := start(t)
	var group sync.WaitGroup
	for range clients {
		client := server.client()
		session := session(t, client, concurrency.WithTTL(30))
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			mutex := concurrency.NewMutex(session, "lock/")
			for range rounds {
				if err := mutex.Lock(ctx); err != nil {
					t.Error(err)
					return
				}
				// not atomic: only the lock makes it correct
				answer, err := client.Get(ctx, "count")
				n := 0
				if err == nil && len(answer.Kvs) > 0 {
					n, err = strconv.Atoi(string(answer.Kvs[0].Value))
				}
				if err == nil {
					_, err = client.Txn(ctx).If(mutex.IsOwner()).Then(clientv3.OpPut("count", strconv.Itoa(n+1))).Commit()
				}
				if err = errors.Join(err, mutex.Unlock(ctx)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	same(t, "count", value(t, server.client().KV, "count"), strconv.Itoa(clients*rounds))
}

func TestElectionHasOneLeaderAtATime(t *testing.T) {
	server := start(t)
	observer := concurrency.NewElection(session(t, server.client()), "election")
	seen := observer.Observe(within(t))
	var sessions []*concurrency.Session
	leads := make(chan int, 3)
	for n := range 3 {
		candidate := session(t, server.client(), concurrency.WithTTL(30))
		sessions = append(sessions, candidate)
		go func() {
			election := concurrency.NewElection(candidate, "election")
			if election.Campaign(context.Background(), strconv.Itoa(n)) == nil {
				leads <- n
			}
		}()
	}
	for range 3 {
		leader := <-leads
		eventually(t, "the observer sees the leader", func() bool {
			answer := <-seen
			return len(answer.Kvs) == 1 && string(answer.Kvs[0].Value) == strconv.Itoa(leader)
		})
		answer, err := observer.Leader(within(t))
		must(t, err)
		same(t, "leader", string(answer.Kvs[0].Value), strconv.Itoa(leader))
		select {
		case other := <-leads:
			t.Fatalf("%d leads at the same time as %d", other, leader)
		default:
		}
		must(t, sessions[leader].Close())
	}
	_, err := observer.Leader(within(t))
	if !errors.Is(err, concurrency.ErrElectionNoLeader) {
		t.Fatal(err)
	}
}

func TestManyLeasesEndAtOnce(t *testing.T) {
	client := start(t).client()
	for n := range 200 {
		put(t, client.KV, fmt.Sprintf("many/%d", n), "", clientv3.WithLease(grant(t, client, 1)))
	}
	eventually(t, "all keys are deleted", func() bool {
		answer, err := client.Get(within(t), "many/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		must(t, err)
		return answer.Count == 0
	})
	begun := time.Now()
	put(t, client.KV, "after", "")
	if took := time.Since(begun); took > 5*time.Second {
		t.Fatalf("a put took %v", took)
	}
}
