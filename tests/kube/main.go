// Kubernetes' own kube-apiserver and kube-controller-manager on the store under test: thousands of objects are created,
// watched, listed and collected, and no acknowledged object may be missing. A single member is killed twice, and the leader of
// three members repeatedly. Alternatively, the store is etcd, and the store under test replaces it during the test.
//
// processes.go and members.go start processes, api.go has the client, shard.go tests a separate server for events, and start.go
// measures the startup of kube-apiserver.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	objects = 5000
	workers = 16
	// minimum number of kills of the leader of three members while objects are created
	killsMin = 5
	maps     = "/api/v1/namespaces/load/configmaps"
	things   = "/apis/example.test/v1/namespaces/load/things"
	leader   = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager"
	services = "/api/v1/namespaces/load/serviceaccounts"
	rbac     = "/apis/rbac.authorization.k8s.io/v1/namespaces/load/"
)

var (
	checks int
	here   *world
	begun  = time.Now()
)

func main() {
	if len(os.Args) != 6 {
		fmt.Println("usage: drive PROGRAM FOLDER-OF-KUBERNETES MEMBERS ETCD-OR-EMPTY OBJECTS-OF-MEASURED-START-OR-0")
		os.Exit(2)
	}
	members, err := strconv.Atoi(os.Args[3])
	must(err)
	here = newWorld(os.Args[1], os.Args[2], members, os.Args[4])
	here.endOnSignals()
	count, err := strconv.Atoi(os.Args[5])
	must(err)
	if count > 0 {
		here.events = nil
		here.startStores()
		measureStart(count)
		here.end(false)
		return
	}
	here.startStores()
	if here.events != nil {
		here.startEvents()
	}
	api := here.startAPIServer()
	passed("kube-apiserver is ready")
	here.startControllers(api)
	api.get("/api/v1/namespaces/default/serviceaccounts/default")
	passed("controllers create the default service account")
	if here.etcd == "" {
		streams(api)
	}

	namespaceAndTypes(api)
	rights(api)
	load(api)
	held := at(api.get(leader), "spec", "renewTime")
	collect(api)
	if here.events != nil {
		shard(api)
	}
	leads(api, held)
	again(api)
	empty(api)
	here.end(false)
	fmt.Printf("test result: ok. %d passed; 0 failed\n", checks)
}

// streams checks the calls with which kube-apiserver reads the store: Kubernetes 1.37 and later fill their watch caches with
// etcd 3.7's RangeStream, earlier releases with pages.
func streams(api *api) {
	minor, err := strconv.Atoi(at(api.get("/version"), "minor"))
	must(err)
	answered := 0
	for _, m := range here.stores {
		answered += m.answered("RangeStream")
	}
	expect((answered > 0) == (minor >= 37), "Kubernetes 1.%d had %d answers of RangeStream", minor, answered)
	passed(fmt.Sprintf("Kubernetes 1.%d had %d answers of RangeStream", minor, answered))
}

func namespaceAndTypes(api *api) {
	api.create("/api/v1/namespaces", object{"metadata": object{"name": "load"}})
	api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", object{
		"metadata": object{"name": "things.example.test"},
		"spec": object{
			"group": "example.test", "scope": "Namespaced",
			"names": object{"plural": "things", "singular": "thing", "kind": "Thing"},
			"versions": []object{{
				"name": "v1", "served": true, "storage": true,
				"schema": object{"openAPIV3Schema": object{"type": "object", "properties": object{
					"spec": object{
						"type":       "object",
						"properties": object{"replicas": object{"type": "integer", "minimum": 1}},
						"x-kubernetes-validations": []object{
							{"rule": "self.replicas <= 5", "message": "at most five"}},
					}}}},
			}},
		},
	})
	eventually("the new type is served", func() bool {
		status, _ := api.try("GET", things, nil)
		return status == 200
	})
	passed("a namespace and a custom resource definition are created")
	status, got := api.try("POST", things, thing("bad", 9))
	expect(status == 422 && strings.Contains(at(got, "message"), "at most five"), "an invalid object is refused: %d %v", status, got)
	passed("a validation rule refuses an invalid object")
	event(api, "an-event")
	passed("an event is created, whose key has a lease")
	flows, ok := api.names("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")
	expect(ok && len(flows) > 5, "flow schemas: %v", flows)
	passed("API priority and fairness has flow schemas")
}

func thing(name string, replicas int) object {
	return object{"apiVersion": "example.test/v1", "kind": "Thing",
		"metadata": object{"name": name}, "spec": object{"replicas": replicas}}
}

// rights checks that a service account's token grants the permissions of its role.
func rights(api *api) {
	api.create(services, object{"metadata": object{"name": "reader"}})
	api.create(rbac+"roles", object{"metadata": object{"name": "reader"}, "rules": []object{
		{"apiGroups": []string{"example.test"}, "resources": []string{"things"}, "verbs": []string{"get", "list"}}}})
	api.create(rbac+"rolebindings", object{"metadata": object{"name": "reader"},
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
		"subjects": []object{{"kind": "ServiceAccount", "name": "reader", "namespace": "load"}}})
	token := at(api.create(services+"/reader/token", object{"spec": object{}}), "status", "token")
	eventually("the role is known", func() bool {
		status, _ := api.as(token).try("GET", things, nil)
		return status == 200
	})
	status, _ := api.as(token).try("GET", maps, nil)
	expect(status == 403, "another kind: %d", status)
	status, _ = api.as("none").try("GET", things, nil)
	expect(status == 401, "a wrong token: %d", status)
	passed("a token grants the permissions of its role")
}

// load creates all objects. When half of them exist, a single-member store is killed, or etcd is replaced. The leader of
// several members is killed repeatedly.
func load(api *api) {
	version := at(api.get(maps), "metadata", "resourceVersion")
	seen, stop := make(chan string, 3*objects), make(chan struct{})
	go api.follow(maps, version, seen, stop)

	var made atomic.Int64
	half, all := make(chan struct{}), make(chan struct{})
	go func() {
		parallel(objects, func(n int) {
			if n%5 == 0 {
				api.create(things, thing(fmt.Sprintf("o-%d", n), 1+n%5))
			} else {
				api.create(maps, object{"metadata": object{"name": fmt.Sprintf("o-%d", n)}, "data": object{"n": fmt.Sprint(n)}})
			}
			if made.Add(1) == objects/2 {
				close(half)
			}
		})
		close(all)
	}()
	if here.etcd != "" {
		here.follow()
		<-half
		pause := here.takePlace(api)
		<-all
		passed(fmt.Sprintf("%d objects are created while etcd is replaced: no store accepted writes for %s ms", objects, pause))
		streams(api)
	} else if len(here.stores) == 1 {
		<-half
		here.killStores()
		here.startStores()
		<-all
		passed(fmt.Sprintf("%d objects are created during a kill -9 of the store", objects))
	} else {
		kills := here.killLeaders(all)
		expect(kills >= killsMin, "the leader was killed only %d times", kills)
		passed(fmt.Sprintf("%d objects are created during %d kills -9 of the leader", objects, kills))
	}
	whole(api)
	reported := map[string]bool{}
	for deadline := time.After(patience); len(reported) < objects*4/5; {
		select {
		case name := <-seen:
			if strings.HasPrefix(name, "o-") {
				reported[name] = true
			}
		case <-deadline:
			fail("the watch reported %d of %d objects", len(reported), objects*4/5)
		}
	}
	close(stop)
	passed("a watch reported every object")
}

// whole checks that the store and the watch cache list every object.
func whole(api *api) {
	eventually("every object is listed by the store", func() bool {
		mapNames, ok := api.names(maps)
		thingNames, too := api.names(things)
		if !ok || !too {
			return false
		}
		for n := range objects {
			names := mapNames
			if n%5 == 0 {
				names = thingNames
			}
			expect(names[fmt.Sprintf("o-%d", n)], "the acknowledged object o-%d is lost", n)
		}
		return true
	})
	eventually("every object is in the watch cache", func() bool {
		status, got := api.try("GET", maps+"?resourceVersion=0", nil)
		items, _ := got["items"].([]any)
		return status == 200 && len(items) >= objects*4/5
	})
	passed("the store and the watch cache list all objects")
}

// collect checks that controllers create the ReplicaSet and the pods of a Deployment, and delete them with the Deployment.
func collect(api *api) {
	const apps = "/apis/apps/v1/namespaces/load/"
	const pods = "/api/v1/namespaces/load/pods"
	api.get(services + "/default")
	labels := object{"app": "a"}
	api.create(apps+"deployments", object{"metadata": object{"name": "a"}, "spec": object{
		"replicas": 3, "selector": object{"matchLabels": labels},
		"template": object{"metadata": object{"labels": labels},
			"spec": object{"containers": []object{{"name": "a", "image": "none"}}}}}})
	eventually("three pods", func() bool {
		names, ok := api.names(pods)
		return ok && len(names) == 3
	})
	status, got := api.try("DELETE", apps+"deployments/a?propagationPolicy=Background", nil)
	expect(status == 200, "the deletion: %d %v", status, got)
	eventually("the garbage collector deletes replica sets and pods", func() bool {
		sets, ok := api.names(apps + "replicasets")
		names, too := api.names(pods)
		return ok && too && len(sets) == 0 && len(names) == 0
	})
	passed("controllers create pods, and the garbage collector deletes them")
}

func leads(api *api, before string) {
	eventually("the controllers' leader renews its lease", func() bool {
		now := at(api.get(leader), "spec", "renewTime")
		return now != "" && now != before
	})
	passed("leader election continues")
}

// again kills all members at rest, and checks that a write succeeds and that all objects exist.
func again(api *api) {
	here.killStores()
	here.startStores()
	api.create(maps, object{"metadata": object{"name": "after"}})
	whole(api)
}

// empty checks that deleting a namespace deletes all its objects.
func empty(api *api) {
	status, got := api.try("DELETE", "/api/v1/namespaces/load", nil)
	expect(status == 200, "the deletion: %d %v", status, got)
	eventually("the namespace is deleted", func() bool {
		status, _ := api.try("GET", "/api/v1/namespaces/load", nil)
		return status == 404
	})
	passed("the namespace is deleted with all objects")
}
