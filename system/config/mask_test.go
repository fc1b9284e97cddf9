package config

import (
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/forebay/forebay/system/dfs"
)

// TestMaskURI: passwords and secret parameters are replaced, whatever surrounds them, and everything else stays as it is.
func TestMaskURI(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"/srv/data":                         "/srv/data",
		"s3://bucket/prefix":                "s3://bucket/prefix",
		"s3://user@host/b":                  "s3://user@host/b",
		"s3://key:secret@host/b":            "s3://key:***@host/b",
		"s3://key:@host/b":                  "s3://key:***@host/b",
		"s3://:secret@host/b":               "s3://:***@host/b",
		"s3://key:se/cr,et+@x@host/b":       "s3://key:***@host/b",
		"s3://key:s%40t@host:9000/b":        "s3://key:***@host:9000/b",
		"s3://host:9000/b":                  "s3://host:9000/b",
		"s3://b?secret_key=abc&region=eu":   "s3://b?secret_key=***&region=eu",
		"s3://b?region=eu&secret_key=abc":   "s3://b?region=eu&secret_key=***",
		"s3://b?ACCESS-KEY=a;token=b#frag":  "s3://b?ACCESS-KEY=***;token=***#frag",
		"s3://b?secret%5Fkey=abc":           "s3://b?secret%5Fkey=***",
		"s3://b?secret_key=&region=eu":      "s3://b?secret_key=&region=eu",
		"s3://b?session_token=a=b==":        "s3://b?session_token=***",
		"s3://k:p@b?password=x":             "s3://k:***@b?password=***",
		"password=abc":                      "password=***",
		`"s3://k:p@h" is none of a, b`:      `"s3://k:***@h" is none of a, b`,
		"s3://a:1@h,s3://b:2@h, /x":         "s3://a:***@h,s3://b:***@h, /x",
		"m1=10.0.0.1:1/10.0.0.1:2":          "m1=10.0.0.1:1/10.0.0.1:2",
		"FOREBAY=x user@host a=b":           "FOREBAY=x user@host a=b",
		"ftp://u:p@h http://host:80/x?a=b":  "ftp://u:***@h http://host:80/x?a=b",
		"s3://b/dir@2024:01/x":              "s3://b/dir@2024:01/x",
		"://:@":                             "://:***@",
		"a://b://c:d@e":                     "a://b://c:***@e",
		"tokenizer=3 passwd='hunter2' rest": "tokenizer=*** passwd='***' rest",
	} {
		if got := MaskURI(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestMaskedURIsKeepNoSecret: of whatever URI a library makes with a user, a password and secret parameters, no secret is
// left, the host and the harmless parameters are, and masking twice is masking once.
func TestMaskedURIsKeepNoSecret(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func(alphabet string) string {
		b := []byte("S3CR3T")
		for range rnd.IntN(12) {
			b = append(b, alphabet[rnd.IntN(len(alphabet))])
		}
		return string(b) + "END"
	}
	const odd = "aB0/+=@:?#&%;, \"'[]~-_."
	for range 3000 {
		password, secret := word(odd), word(odd)
		u := url.URL{Scheme: "s3", Host: "host:9000", Path: "/bucket", User: url.UserPassword("key", password)}
		u.RawQuery = url.Values{"secret_key": {secret}, "region": {"eu"}}.Encode()
		got := MaskURI(u.String())
		if strings.Contains(got, "S3CR3T") || strings.Contains(got, "END") {
			t.Fatalf("%s became %s", u.String(), got)
		}
		if !strings.HasSuffix(strings.SplitN(got, "?", 2)[0], "@host:9000/bucket") || !strings.Contains(got, "region=eu") || MaskURI(got) != got {
			t.Fatalf("%s became %s, and again %s", u.String(), got, MaskURI(got))
		}
		// As people write it, nothing escaped; "://" begins another URI, also in a password.
		raw := "s3://key:" + strings.ReplaceAll(word("aB0/+=@:,~-_."), "://", "") + "@host/bucket"
		if got := MaskURI(raw); got != "s3://key:***@host/bucket" {
			t.Fatalf("%s became %s", raw, got)
		}
	}
}

// FuzzMaskURI: no text panics, masking is stable, and a text without '=' and '@' is untouched.
func FuzzMaskURI(f *testing.F) {
	for _, s := range []string{"", "s3://k:p@h/b?secret=x&a=b", "://", "a=b=c", "=", "@", "x://:@://:@", "token=", "%zz=1", "p://a:b@c d://e:f@g"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := MaskURI(text)
		if again := MaskURI(once); again != once {
			t.Fatalf("%q became %q, then %q", text, once, again)
		}
		if !strings.ContainsAny(text, "=@") && once != text {
			t.Fatalf("%q became %q", text, once)
		}
	})
}

// TestSecretsStayInside: a password in a URI reaches the program, and neither the settings nor any error, whatever source it
// came from and whatever is wrong with it.
func TestSecretsStayInside(t *testing.T) {
	const uri = "s3://key:hunter2@host/b?secret_key=hunter3"
	sources := map[string]Sources{
		"file":        {File: write(t, "master: {root: {uri: '"+uri+"'}}")},
		"environment": {File: write(t, ""), Environ: []string{"FOREBAY_MASTER_ROOT_URI=" + uri}},
		"flag":        {File: write(t, ""), Flags: map[string]Flag{"master.root.uri": {"--root", uri}}},
	}
	for name, from := range sources {
		l, err := Load(from)
		if err != nil {
			t.Fatal(err)
		}
		if l.Config.Master.Root.URI != uri {
			t.Errorf("%s: the program gets %q", name, l.Config.Master.Root.URI)
		}
		for _, s := range l.Settings() {
			if strings.Contains(s.Value+s.Origin+s.Doc, "hunter") {
				t.Errorf("%s: %s shows %q", name, s.Key, s.Value)
			}
			if s.Key == "master.root.uri" && s.Value != "s3://key:***@host/b?secret_key=***" {
				t.Errorf("%s: shown as %q", name, s.Value)
			}
		}
	}
	for _, s := range Keys() { // the value in the wrong place
		l, err := Load(Sources{Flags: map[string]Flag{s.Key: {"--set", uri}}})
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the error shows it: %v", s.Key, err)
		}
		if err == nil {
			for _, s := range l.Settings() {
				if strings.Contains(s.Value, "hunter") {
					t.Errorf("%s shows %q", s.Key, s.Value)
				}
			}
		}
		if err != nil && !dfs.IsKind(err, dfs.InvalidArgument) {
			t.Errorf("%s: %v", s.Key, err)
		}
	}
}

// TestSecretTag: a field that is a secret as a whole shows nothing of its value, and that it is empty.
func TestSecretTag(t *testing.T) {
	for _, tt := range []struct {
		secret     bool
		text, want string
	}{{true, "abc", masked}, {true, "", ""}, {false, "abc", "abc"}, {false, "a://b:c@d", "a://b:***@d"}} {
		if got := (field{secret: tt.secret}).shown(tt.text); got != tt.want {
			t.Errorf("%+v is shown as %q", tt, got)
		}
	}
}
