// Package s3fake is a small S3 server in this process, for tests of what a real one (s3server) does not do on demand: answer
// with a given error, lose a reply, give short pages. It keeps objects in memory and checks no signatures. It is imported by
// tests only.
package s3fake

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Failure is an answer instead of the true one.
type Failure struct {
	Status  int
	Code    string // of the protocol; "" sends no body
	After   bool   // the request takes effect first: only its reply is lost
	HangUp  bool   // the connection ends instead of an answer
	Partial int64  // of a GET: the body ends after as many bytes, the connection with it
}

// Server is one server with one bucket, "bucket".
type Server struct {
	*httptest.Server
	// MaxKeys bounds a page of a listing below what is asked for; 0: no bound.
	MaxKeys int

	mu       sync.Mutex
	objects  map[string]object
	uploads  map[string]map[int][]byte
	made     int
	fail     func(r *http.Request) *Failure
	requests []string
}

type object struct {
	data []byte
	etag string
	at   time.Time
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	s := &Server{objects: map[string]object{}, uploads: map[string]map[int][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// Options are the mount options that lead to the server; the URI is s3://bucket.
func (s *Server) Options() map[string]string {
	return map[string]string{"endpoint": s.URL, "access_key": "key", "secret_key": "secret", "path_style": "true", "part_size": fmt.Sprint(5 << 20)}
}

// Fail makes requests fail from now on as fail says; nil from it, or for it, lets them work.
func (s *Server) Fail(fail func(r *http.Request) *Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// Requests gives the requests since it was last called, as "METHOD key?query".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}

// Keys are the keys there are.
func (s *Server) Keys() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Put puts an object, as another client would.
func (s *Server) Put(key, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, []byte(content), "")
}

// Uploads is how many multipart uploads are under way.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// ForgetUploads aborts the uploads that are under way, as a lifecycle rule would.
func (s *Server) ForgetUploads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.uploads)
}

func (s *Server) put(key string, data []byte, suffix string) object {
	sum := md5.Sum(data)
	o := object{data, hex.EncodeToString(sum[:]) + suffix, time.Now()}
	s.objects[key] = o
	return o
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/bucket"), "/")
	body := readBody(r)
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSuffix(r.Method+" "+key+"?"+r.URL.RawQuery, "?"))
	fail := s.fail
	s.mu.Unlock()
	var f *Failure
	if fail != nil {
		f = fail(r)
	}
	if f != nil && f.Partial == 0 {
		if f.After {
			s.answer(httptest.NewRecorder(), r, key, body)
		}
		if f.HangUp {
			panic(http.ErrAbortHandler)
		}
		refuse(w, f.Status, f.Code)
		return
	}
	if f != nil {
		recorder := httptest.NewRecorder()
		s.answer(recorder, r, key, body)
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(recorder.Body.Bytes()[:min(f.Partial, int64(recorder.Body.Len()))])
		panic(http.ErrAbortHandler)
	}
	s.answer(w, r, key, body)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if code != "" {
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>the fake says %s.</Message></Error>", code, code)
	}
}

// readBody reads a body, also one in signed chunks: a line with the size in hexadecimal, then as many bytes, to size 0.
func readBody(r *http.Request) []byte {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		data, _ := io.ReadAll(r.Body)
		return data
	}
	var data bytes.Buffer
	for in := bufio.NewReader(r.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return data.Bytes()
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil || n == 0 {
			_, _ = io.Copy(io.Discard, in)
			return data.Bytes()
		}
		_, _ = io.CopyN(&data, in, n)
		_, _ = in.ReadString('\n')
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case !strings.HasPrefix(r.URL.Path, "/bucket"):
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.Method == http.MethodGet:
		s.list(w, q)
	case q.Has("uploads") || q.Has("uploadId"):
		s.multipart(w, r, key, q, body)
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		s.copyObject(w, r, key)
	case r.Method == http.MethodPut:
		w.Header().Set("ETag", `"`+s.put(key, body, "").etag+`"`)
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.get(w, r, key)
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, key string) {
	o, ok := s.objects[key]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", `"`+o.etag+`"`)
	http.ServeContent(w, r, "", o.at, bytes.NewReader(o.data))
}

func (s *Server) copyObject(w http.ResponseWriter, r *http.Request, key string) {
	source, _ := url.PathUnescape(r.Header.Get("X-Amz-Copy-Source"))
	from, ok := s.objects[strings.TrimPrefix(strings.TrimPrefix(source, "/"), "bucket/")]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	o := s.put(key, from.data, "")
	fmt.Fprintf(w, "<CopyObjectResult><ETag>%q</ETag><LastModified>%s</LastModified></CopyObjectResult>", o.etag, o.at.UTC().Format(time.RFC3339))
}

func (s *Server) multipart(w http.ResponseWriter, r *http.Request, key string, q url.Values, body []byte) {
	id := q.Get("uploadId")
	parts, ok := s.uploads[id]
	switch {
	case q.Has("uploads"):
		s.made++
		id = fmt.Sprint("upload", s.made)
		s.uploads[id] = map[int][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>%s</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", key, id)
	case !ok:
		refuse(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		number, _ := strconv.Atoi(q.Get("partNumber"))
		parts[number] = body
		sum := md5.Sum(body)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	default:
		var whole []byte
		for number := 1; number <= len(parts); number++ {
			whole = append(whole, parts[number]...)
		}
		o := s.put(key, whole, fmt.Sprint("-", len(parts)))
		delete(s.uploads, id)
		fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>%s</Key><ETag>%q</ETag></CompleteMultipartUploadResult>", key, o.etag)
	}
}

type listResult struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	Contents              []listObject
	CommonPrefixes        []listPrefix
}

type listObject struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
}

type listPrefix struct{ Prefix string }

// list gives a page of keys and common prefixes; its token is the last one that was given.
func (s *Server) list(w http.ResponseWriter, q url.Values) {
	most, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil || most > 1000 {
		most = 1000
	}
	if s.MaxKeys > 0 {
		most = min(most, s.MaxKeys)
	}
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	prefix, delimiter := q.Get("prefix"), q.Get("delimiter")
	escape := func(key string) string { return key }
	result := listResult{Name: "bucket", EncodingType: q.Get("encoding-type")}
	if result.EncodingType == "url" {
		escape = url.QueryEscape
	}
	keys := make([]string, 0, len(s.objects))
	for key := range s.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	last := ""
	for _, key := range keys {
		rest, ours := strings.CutPrefix(key, prefix)
		if !ours {
			continue
		}
		item := key
		if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
			item = prefix + rest[:i+1]
		}
		if item <= after || item == last {
			continue
		}
		if len(result.Contents)+len(result.CommonPrefixes) == most {
			result.IsTruncated, result.NextContinuationToken = true, last
			break
		}
		last = item
		if item != key || delimiter != "" && rest != "" && strings.HasSuffix(rest, delimiter) {
			result.CommonPrefixes = append(result.CommonPrefixes, listPrefix{escape(item)})
			continue
		}
		o := s.objects[key]
		result.Contents = append(result.Contents, listObject{escape(key), o.at.UTC().Format(time.RFC3339), `"` + o.etag + `"`, int64(len(o.data))})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(result)
}
