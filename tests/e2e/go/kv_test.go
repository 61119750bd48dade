// Keys and transactions in a namespace.
package client

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/clientv3util"
	"go.etcd.io/etcd/client/v3/namespace"
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
