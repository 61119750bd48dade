// Keys and transactions: namespace, ordering, mirror, STM under contention.
package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/clientv3util"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

func TestNamespaceHidesItsPrefix(t *testing.T) {
	client := start(t).client()
	kv := namespace.NewKV(client.KV, "app/")
	watch := namespace.NewWatcher(client.Watcher, "app/").Watch(within(t), "", clientv3.WithPrefix())
	put(t, kv, "a", "1")
	put(t, client.KV, "b", "outside")
	same(t, "inside", value(t, kv, "a"), "1")
	same(t, "outside", value(t, client.KV, "app/a"), "1")
	same(t, "not its own", value(t, kv, "b"), "")
	answer, err := kv.Txn(within(t)).
		If(clientv3util.KeyExists("a"), clientv3util.KeyMissing("b")).
		Then(clientv3.OpPut("c", "2"), clientv3.OpTxn(
			[]clientv3.Cmp{clientv3util.KeyMissing("c")}, // compares come before all writes
			[]clientv3.Op{clientv3.OpGet("", clientv3.WithPrefix())}, nil)).
		Commit()
	must(t, err)
	same(t, "succeeded", answer.Succeeded, true)
	nested := answer.Responses[1].GetResponseTxn()
	same(t, "nested", nested.Succeeded, true)
	same(t, "keys in the namespace", nested.Responses[0].GetResponseRange().Count, int64(2))
	gone, err := kv.Delete(within(t), "", clientv3.WithFromKey())
	must(t, err)
	same(t, "deleted", gone.Deleted, int64(2))
	same(t, "the others stay", value(t, client.KV, "b"), "outside")
	for _, want := range []string{"PUT a 1", "PUT c 2", "DELETE a,DELETE c"} {
		same(t, "event", strings.Join(next(t, watch), ","), want)
	}
}

func TestOrderingSeesNoOlderRevision(t *testing.T) {
	server := start(t)
	client := server.client()
	violations := 0
	kv := ordering.NewKV(client.KV, func(clientv3.Op, clientv3.OpResponse, int64) error {
		violations++
		return errors.New("an older revision")
	})
	for round := range 3 {
		for n := range 20 {
			want := fmt.Sprint(round, n)
			put(t, client.KV, "a", want)
			answer, err := kv.Get(within(t), "a", clientv3.WithSerializable())
			must(t, err)
			same(t, "value", string(answer.Kvs[0].Value), want)
			_, err = kv.Txn(within(t)).Then(clientv3.OpGet("a")).Commit()
			must(t, err)
		}
		server.kill()
		server.again()
	}
	same(t, "violations", violations, 0)
}

func TestMirrorGetsBaseAndUpdates(t *testing.T) {
	client := start(t).client()
	want := map[string]string{}
	for n := range 2500 { // more than a page of the syncer, which asks for 1000
		key := fmt.Sprintf("m/%04d", n)
		put(t, client.KV, key, strconv.Itoa(n))
		want[key] = strconv.Itoa(n)
	}
	syncer := mirror.NewSyncer(client, "m/", 0)
	pages, errs := syncer.SyncBase(within(t))
	copied := map[string]string{}
	for page := range pages {
		for _, kv := range page.Kvs {
			copied[string(kv.Key)] = string(kv.Value)
		}
	}
	for err := range errs {
		t.Fatal(err)
	}
	same(t, "keys of the base", len(copied), len(want))
	for key, value := range want {
		same(t, key, copied[key], value)
	}
	updates := syncer.SyncUpdates(within(t))
	put(t, client.KV, "m/new", "x")
	_, err := client.Delete(within(t), "m/0000")
	must(t, err)
	same(t, "update", next(t, updates)[0], "PUT m/new x")
	same(t, "update", next(t, updates)[0], "DELETE m/0000")
}

func TestSTMKeepsTheSumUnderContention(t *testing.T) {
	const accounts, clients, transfers, funds = 5, 8, 25, 100
	server := start(t)
	client := server.client()
	account := func(n int) string { return fmt.Sprintf("account/%d", n) }
	for _, level := range []concurrency.Isolation{
		concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads,
	} {
		for n := range accounts {
			put(t, client.KV, account(n), strconv.Itoa(funds))
		}
		var group sync.WaitGroup
		errs := make(chan error, clients)
		for c := range clients {
			client := server.client()
			group.Go(func() {
				for n := range transfers {
					from, to := account((c+n)%accounts), account((c+3*n+1)%accounts)
					if from == to {
						continue
					}
					_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
						left, _ := strconv.Atoi(stm.Get(from))
						right, _ := strconv.Atoi(stm.Get(to))
						stm.Put(from, strconv.Itoa(left-1))
						stm.Put(to, strconv.Itoa(right+1))
						return nil
					}, concurrency.WithIsolation(level), concurrency.WithAbortContext(context.Background()))
					if err != nil {
						errs <- err
						return
					}
				}
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			t.Fatal(err)
		}
		sum := 0
		for n := range accounts {
			has, err := strconv.Atoi(value(t, client.KV, account(n)))
			must(t, err)
			sum += has
		}
		same(t, fmt.Sprintf("sum at level %d", level), sum, accounts*funds)
	}
}

func TestSTMCountsEveryIncrement(t *testing.T) {
	const clients, increments = 8, 25
	server := start(t)
	var group sync.WaitGroup
	for range clients {
		client := server.client()
		group.Go(func() {
			for range increments {
				_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
					n, _ := strconv.Atoi(stm.Get("count"))
					stm.Put("count", strconv.Itoa(n+1))
					return nil
				}, concurrency.WithPrefetch("count"))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	same(t, "count", value(t, server.client().KV, "count"), strconv.Itoa(clients*increments))
}

func TestSortsAndLimits(t *testing.T) {
	client := start(t).client()
	for n, key := range []string{"c", "a", "b"} {
		put(t, client.KV, "s/"+key, strconv.Itoa(n))
	}
	put(t, client.KV, "s/c", "9")
	keys := func(options ...clientv3.OpOption) string {
		answer, err := client.Get(within(t), "s/", append(options, clientv3.WithPrefix())...)
		must(t, err)
		var keys []string
		for _, kv := range answer.Kvs {
			keys = append(keys, strings.TrimPrefix(string(kv.Key), "s/"))
		}
		return strings.Join(keys, "")
	}
	same(t, "by key", keys(clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)), "cba")
	same(t, "by creation", keys(clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)), "cab")
	same(t, "by change", keys(clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortAscend)), "abc")
	same(t, "by version", keys(clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend))[:1], "c")
	same(t, "by value", keys(clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend)), "cba")
	same(t, "first", keys(clientv3.WithFirstKey()...), "a")
	same(t, "last revision", keys(clientv3.WithLastRev()...), "c")
	same(t, "as they are", keys(), "abc")
}
