// Keys and transactions: namespace, ordering, STM under contention.
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
					}, concurrency.WithIsolation(level),
						concurrency.WithPrefetch([]string{from, to}[n%2*2:]...), // every other one of both accounts
						concurrency.WithAbortContext(context.Background()))
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
