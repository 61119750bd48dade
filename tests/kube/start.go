// The startup time of kube-apiserver, which reads a store with many objects into its watch caches.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// number of startups of kube-apiserver, of which each column shows the minimum
	starts = 3
	// data bytes of each object, which takes about 2 KiB in the store with its metadata
	objectBytes = 1800
	// USER_HZ, the unit of times in /proc
	ticksPerSecond = 100
)

// measureStart prints a row of docs/benchmarks.md: the startup of kube-apiserver on a store with count objects.
func measureStart(count int) {
	api := here.startAPIServer()
	api.create("/api/v1/namespaces", object{"metadata": object{"name": "load"}})
	fill(api, count)
	store := here.stores[0].process.Process.Pid
	ready, listed, cpu := patience, patience, patience
	for range starts {
		_ = here.apiServer.Process.Kill()
		_ = here.apiServer.Wait()
		spent, since := cpuOf(store), time.Now()
		here.spawnAPIServer()
		api = here.awaitAPIServer()
		ready = min(ready, time.Since(since))
		// with version 0, the watch cache answers once it is filled
		status, got := api.try("GET", maps+"?resourceVersion=0", nil)
		items, _ := got["items"].([]any)
		expect(status == 200 && len(items) >= count, "the watch cache has %d of %d objects: %d", len(items), count, status)
		listed, cpu = min(listed, time.Since(since)), min(cpu, cpuOf(store)-spent)
	}
	fmt.Println("| objects | store | kube-apiserver ready after s | all listed after s | CPU s of the store | its memory MiB |")
	fmt.Println("|--:|---|--:|--:|--:|--:|")
	fmt.Printf("| %d | %s | %.1f | %.1f | %.2f | %d |\n", count, filepath.Base(here.program),
		ready.Seconds(), listed.Seconds(), cpu.Seconds(), residentMiB(store))
}

// fill creates count config maps.
func fill(api *api, count int) {
	data := object{"data": strings.Repeat("x", objectBytes)}
	parallel(count, func(n int) {
		api.create(maps, object{"metadata": object{"name": fmt.Sprintf("o-%d", n)}, "data": data})
	})
}

// cpuOf returns the CPU time of a process.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(err)
	_, behindName, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(behindName)
	user, err := strconv.Atoi(fields[11])
	must(err)
	system, err := strconv.Atoi(fields[12])
	must(err)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// residentMiB returns the resident memory of a process in MiB.
func residentMiB(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	must(err)
	return pages * os.Getpagesize() >> 20
}
