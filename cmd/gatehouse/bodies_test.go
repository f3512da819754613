package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/rest/scm"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// endless gives blanks.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestBodiesOverHTTP: over a connection, as the gateway listens, bodies that are too large, do not come, or come from nobody are refused in
// SCM's form, and a zip is imported; nothing is left in the folder of uploads.
func TestBodiesOverHTTP(t *testing.T) {
	t.Parallel()
	h := newSCMHouse(t)
	h.person("owner", "dev", auth.Requester)
	token, _ := h.token(h.clients["owner"])
	server, err := web.New(web.Config{Addr: "127.0.0.1:0", Handler: h.core.doors, Bodies: bodies()})
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		must(t, server.Drain(context.Background()))
		must(t, <-served)
	})
	org, _ := h.core.organisations.BySlug("dev")
	importing := fmt.Sprintf("/api/ssl/v1/import?orgId=%d", org.ID)
	const form, begin, end = "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=file\r\n\r\n", "\r\n--b--\r\n"
	hierarchy, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	leaf, err := hierarchy.Leaf("old.example.net")
	must(t, err)
	var small bytes.Buffer
	w := zip.NewWriter(&small)
	in, err := w.Create("old.cer")
	must(t, err)
	in.Write(leaf.Certificate[0])
	must(t, w.Close())

	const zipSize = 50 << 20
	wrap := func(n int64) io.Reader {
		return io.MultiReader(strings.NewReader(begin), io.LimitReader(endless{}, n), strings.NewReader(end))
	}
	around := int64(len(begin) + len(end))
	whole := wrap(zipSize + 1) // is read to its end, so that its connection serves on
	for _, tt := range []struct {
		name, path, media, coding string
		body                      io.Reader
		length                    int64 // -1: chunked
		half                      bool  // the client stops sending, and listens
		anonymous                 bool
		status                    int
		says                      string
	}{
		{name: "a zip", path: importing, media: form, body: io.MultiReader(strings.NewReader(begin), &small, strings.NewReader(end)), length: -1, status: 200, says: `{"processedCount":1,"errors":[]}`},
		{name: "from nobody", path: importing, media: form, body: strings.NewReader(""), length: zipSize, anonymous: true, status: 401, says: `"code":-16,`},
		{name: "from nobody, chunked", path: importing, media: form, body: strings.NewReader(""), length: -1, anonymous: true, status: 401, says: `"code":-16,`},
		{name: "more than any upload", path: importing, media: form, body: strings.NewReader(""), length: scm.MaxUpload + 1, status: 413, says: `"code":-1002,`},
		{name: "a zip of 50 MiB and one octet", path: importing, media: form, body: whole, length: zipSize + 1 + around, status: 413, says: `"code":-1002,"description":"the part file is larger than 52428800`},
		{name: "50 MiB of JSON", path: "/api/ssl/v2/import", media: "application/json", body: strings.NewReader(""), length: zipSize, status: 413, says: `"code":-1002,`},
		{name: "2 MiB of JSON, chunked", path: "/api/ssl/v2/import", media: "application/json", body: io.LimitReader(endless{}, 2<<20), length: -1, status: 413, says: `"code":-1002,`},
		{name: "2 MiB for another call", path: "/api/ssl/v2/enroll", media: "application/json", body: strings.NewReader(""), length: 2 << 20, status: 413, says: `"code":-1002,`},
		{name: "as an upload to another call", path: "/api/ssl/v2/enroll", media: form, body: strings.NewReader(""), length: 2 << 20, status: 413, says: `"code":-1002,`},
		{name: "less than declared", path: importing, media: form, body: strings.NewReader(begin), length: 1000, half: true, status: 400, says: `"code":-1002,`},
		{name: "less than declared, of JSON", path: "/api/ssl/v2/import", media: "application/json", body: strings.NewReader("[{"), length: 1000, half: true, status: 400, says: `"code":-1002,`},
		{name: "compressed", path: importing, media: form, coding: "gzip", body: strings.NewReader(begin + end), length: around, status: 400, says: "Content-Encoding"},
		{name: "not of this door", path: "/acme/r/new-account", media: "application/jose+json", body: strings.NewReader(""), length: 2 << 20, status: 413, says: `"type":`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", server.Addr().String())
			must(t, err)
			defer conn.Close()
			var head strings.Builder
			fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: ca.example.com\r\nContent-Type: %s\r\n", tt.path, tt.media)
			if !tt.anonymous {
				fmt.Fprintf(&head, "Authorization: Bearer %s\r\n", token)
			}
			if tt.coding != "" {
				fmt.Fprintf(&head, "Content-Encoding: %s\r\n", tt.coding)
			}
			if tt.length < 0 {
				head.WriteString("Transfer-Encoding: chunked\r\n\r\n")
			} else {
				fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", tt.length)
			}
			answer := make(chan *http.Response, 1)
			go func() {
				resp, err := readAnswer(conn)
				if err != nil {
					t.Error(err)
				}
				answer <- resp
			}()
			send(conn, head.String(), tt.body, tt.length < 0 && !tt.anonymous, tt.half)
			resp := <-answer
			if resp == nil {
				return
			}
			said, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !strings.Contains(string(said), tt.says) || tt.status == 413 && !resp.Close && tt.body != whole {
				t.Errorf("status %d, close %v: %s", resp.StatusCode, resp.Close, said)
			}
			if tt.anonymous && !resp.Close {
				t.Error("the connection of somebody unknown serves on")
			}
		})
	}
	if left, err := os.ReadDir(filepath.Join(h.core.settings.folder, "uploads")); err != nil || len(left) != 0 {
		t.Errorf("the folder of uploads has %v, %v", left, err)
	}
}

// readAnswer reads one answer whole.
func readAnswer(conn net.Conn) (*http.Response, error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(said))
	return resp, err
}

// send sends a request. Whoever is refused in the middle of it is not listened to any more, so errors say nothing.
func send(conn net.Conn, head string, body io.Reader, chunked, half bool) {
	io.WriteString(conn, head)
	if chunked {
		w := httputil.NewChunkedWriter(conn)
		io.Copy(w, body)
		w.Close()
		io.WriteString(conn, "\r\n")
	} else {
		io.Copy(conn, body)
	}
	if half {
		conn.(*net.TCPConn).CloseWrite()
	}
}

// TestUploadsFolder: what a process has left that ended in the wrong instant is gone with the next start.
func TestUploadsFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	dir, err := uploadsFolder(data)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "upload-1"), nil, 0o600))
	_, err = uploadsFolder(data)
	must(t, err)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it has %v, %v", left, err)
	}
}

// TestUploadsRoom: uploads leave the store and the journal room on a disk that fills.
func TestUploadsRoom(t *testing.T) {
	t.Parallel()
	folder := smallDisk(t, "8m")
	room := uploadsRoom(folder)
	must(t, room())
	fillDisk(t, folder)
	if err := room(); err == nil {
		t.Error("a full disk has room for uploads")
	}
	must(t, os.Remove(filepath.Join(folder, "filler")))
	must(t, room())
}
