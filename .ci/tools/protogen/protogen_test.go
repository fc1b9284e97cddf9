package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// asPlugin makes this test binary be a plugin, which does what the variable says.
const asPlugin = "PROTOGEN_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if mode := os.Getenv(asPlugin); mode != "" {
		os.Exit(plugin(mode, filepath.Base(os.Args[1])))
	}
	os.Exit(m.Run())
}

// plugin answers with a file that lists what it was asked, or fails as it is told to.
func plugin(mode, name string) int {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 9
	}
	var req pluginpb.CodeGeneratorRequest
	if err := proto.Unmarshal(in, &req); err != nil {
		return 8
	}
	var all []string
	for _, f := range req.ProtoFile {
		all = append(all, f.GetName())
	}
	text := fmt.Sprintf("generate %v\nof %v\n%s\n", req.FileToGenerate, all, req.GetParameter())
	resp := &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{{Name: proto.String(name + ".txt"), Content: &text}}}
	switch mode {
	case "refuse":
		resp.Error = proto.String("it is not to my taste")
	case "die":
		return 7
	case "babble":
		fmt.Println("\xff\xff\xff")
		return 0
	}
	out, err := proto.Marshal(resp)
	if err != nil {
		return 6
	}
	_, _ = os.Stdout.Write(out)
	return 0
}

// plugins is a folder with both of them.
func plugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$0\"\n", self), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// protos writes .proto files into a new folder; each is its imports.
func protos(t *testing.T, imports map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, of := range imports {
		text := "syntax = \"proto3\";\npackage p;\n"
		for _, other := range of {
			text += fmt.Sprintf("import %q;\n", other)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestOrder: every file comes after what it imports, though the names are in another order and the import is not its own but
// that of an import; each once; and only the folder's own are generated.
func TestOrder(t *testing.T) {
	t.Setenv(asPlugin, "work")
	for name, imports := range map[string]map[string][]string{
		"alone":     {"a.proto": nil},
		"a chain":   {"a.proto": {"b.proto"}, "b.proto": {"c.proto"}, "c.proto": {"d.proto"}, "d.proto": nil},
		"a diamond": {"a.proto": {"b.proto", "c.proto"}, "b.proto": {"d.proto"}, "c.proto": {"d.proto"}, "d.proto": nil},
		"standard":  {"a.proto": {"google/protobuf/type.proto"}}, // which imports others
	} {
		dir := protos(t, imports)
		if err := generate(dir, plugins(t)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
			text, err := os.ReadFile(filepath.Join(dir, plugin+".txt"))
			lines := strings.Split(string(text), "\n")
			if err != nil || len(lines) != 4 || lines[2] != "paths=source_relative" {
				t.Fatalf("%s: %v, %q", name, err, text)
			}
			own := strings.Fields(strings.Trim(strings.TrimPrefix(lines[0], "generate "), "[]"))
			if len(own) != len(imports) || !slices.IsSorted(own) {
				t.Errorf("%s: %s generates %q", name, plugin, own)
			}
			all := strings.Fields(strings.Trim(strings.TrimPrefix(lines[1], "of "), "[]"))
			for i, file := range all {
				if slices.Contains(all[:i], file) {
					t.Errorf("%s: %s comes twice in %q", name, file, all)
				}
				for _, other := range imports[file] {
					if !slices.Contains(all[:i], other) {
						t.Errorf("%s: %s does not come before %s in %q", name, other, file, all)
					}
				}
			}
			if name == "standard" && len(all) != 4 {
				t.Errorf("type.proto and its imports are %q", all)
			}
		}
	}
}

// TestFailures: what cannot be compiled or generated is an error that says where, and writes nothing.
func TestFailures(t *testing.T) {
	good := map[string][]string{"a.proto": nil}
	for name, tt := range map[string]struct {
		mode    string
		imports map[string][]string
		want    string
	}{
		"a plugin refuses":  {"refuse", good, "it is not to my taste"},
		"a plugin dies":     {"die", good, "protoc-gen-go: exit status 7"},
		"a plugin babbles":  {"babble", good, "protoc-gen-go"},
		"an import is none": {"work", map[string][]string{"a.proto": {"none.proto"}}, "none.proto"},
		"a circle":          {"work", map[string][]string{"a.proto": {"b.proto"}, "b.proto": {"a.proto"}}, "cycle"},
		"no files":          {"work", nil, "no .proto files"},
	} {
		t.Setenv(asPlugin, tt.mode)
		dir := protos(t, tt.imports)
		if err := generate(dir, plugins(t)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.txt")); len(left) > 0 {
			t.Errorf("%s: %v were written", name, left)
		}
	}
	t.Setenv(asPlugin, "work")
	if err := generate(protos(t, good), t.TempDir()); err == nil || !strings.Contains(err.Error(), "protoc-gen-go") {
		t.Errorf("no plugins: %v", err)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "bad.proto"), []byte("syntax = \"proto3\";\nmessage {"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := generate(broken, plugins(t)); err == nil || !strings.Contains(err.Error(), "bad.proto:2") {
		t.Errorf("broken text: %v", err)
	}
}
