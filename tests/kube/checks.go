// Steps of a check: passing, waiting and failing.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

func passed(what string) {
	checks++
	fmt.Printf("%6.1f s  %s\n", time.Since(begun).Seconds(), what)
}

func eventually(what string, condition func() bool) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if condition() {
			return
		}
	}
	fail("waited %v without success: %s", patience, what)
}

// parallel calls act for each number below count, in several goroutines.
func parallel(count int, act func(n int)) {
	var group sync.WaitGroup
	for worker := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := worker; n < count; n += workers {
				act(n)
			}
		}()
	}
	group.Wait()
}

func expect(holds bool, format string, arguments ...any) {
	if !holds {
		fail(format, arguments...)
	}
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

var failing sync.Mutex

// fail ends all processes and exits. Concurrent calls wait for this exit.
func fail(format string, arguments ...any) {
	failing.Lock()
	fmt.Printf("FAILED after %.1f s: "+format+"\n", append([]any{time.Since(begun).Seconds()}, arguments...)...)
	if here != nil {
		here.end(true)
	}
	fmt.Printf("test result: FAILED. %d passed; 1 failed\n", checks)
	os.Exit(1)
}
