// A minimal client of the Kubernetes API: JSON over HTTPS, retries while the server under test is down, paginated lists, and
// watches that resume.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// Limit for every action, long enough for two busy cores and a namespace full of objects.
const patience = 3 * time.Minute

type object = map[string]any

type api struct {
	url    string
	token  string
	client *http.Client
}

func newAPI(url, token, caFile string) *api {
	pem, err := os.ReadFile(caFile)
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: workers}
	return &api{url, token, &http.Client{Transport: transport}}
}

// as returns the same API with another token.
func (a *api) as(token string) *api { return &api{a.url, token, a.client} }

func (a *api) request(method, path string, body any) (*http.Response, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequest(method, a.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	request.Header.Set("Content-Type", "application/json")
	return a.client.Do(request)
}

// try makes one call. The status is 0 if there was no answer. Without a JSON body, the object has only an error message.
func (a *api) try(method, path string, body any) (int, object) {
	answer, err := a.request(method, path, body)
	if err != nil {
		return 0, object{"message": err.Error()}
	}
	defer answer.Body.Close()
	var got object
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		got = object{"message": err.Error()}
	}
	return answer.StatusCode, got
}

// create creates an object, and retries while the store is down. 409 after a call without an answer means that the object was
// created.
func (a *api) create(path string, body object) object {
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		status, got := a.try("POST", path, body)
		switch {
		case status == 200 || status == 201 || status == 409:
			return got
		case status != 0 && status < 429:
			fail("POST %s: %d %v", path, status, got["message"])
		}
		last = fmt.Sprint(status, got["message"])
	}
	fail("POST %s never succeeded: %s", path, last)
	return nil
}

// get reads an object that must exist, with retries.
func (a *api) get(path string) object {
	var found object
	eventually("GET "+path, func() bool {
		status, got := a.try("GET", path, nil)
		found = got
		return status == 200
	})
	return found
}

// names lists objects in pages. Returns false if a page is missing.
func (a *api) names(path string) (map[string]bool, bool) {
	names, next := map[string]bool{}, ""
	for {
		status, got := a.try("GET", path+"?limit=500&continue="+next, nil)
		if status != 200 {
			return nil, false
		}
		items, _ := got["items"].([]any)
		for _, item := range items {
			names[at(item, "metadata", "name")] = true
		}
		if next = at(got, "metadata", "continue"); next == "" {
			return names, true
		}
	}
}

// follow watches from a version on and sends the names of all added objects. It resumes when the watch ends, until it is
// stopped.
func (a *api) follow(path, version string, seen chan<- string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
		answer, err := a.request("GET", path+"?watch=true&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion="+version, nil)
		if err != nil {
			continue
		}
		events := json.NewDecoder(answer.Body)
		for answer.StatusCode == 200 {
			var event struct {
				Type   string
				Object object
			}
			if events.Decode(&event) != nil {
				break
			}
			if event.Type == "ERROR" {
				// after "too old resource version", clients list again and watch from that version
				version = a.relist(path, seen)
				break
			}
			version = at(event.Object, "metadata", "resourceVersion")
			if event.Type == "ADDED" {
				seen <- at(event.Object, "metadata", "name")
			}
		}
		answer.Body.Close()
	}
}

// relist sends the names of all existing objects and returns the version of the list.
func (a *api) relist(path string, seen chan<- string) string {
	list := a.get(path)
	items, _ := list["items"].([]any)
	for _, item := range items {
		seen <- at(item, "metadata", "name")
	}
	return at(list, "metadata", "resourceVersion")
}

// at returns the text at a path of fields, or "" if it does not exist.
func at(value any, path ...string) string {
	for _, name := range path {
		fields, _ := value.(map[string]any)
		value = fields[name]
	}
	if value == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(value))
}
