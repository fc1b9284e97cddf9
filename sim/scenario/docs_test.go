package scenario

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// keysOf lists the keys that a scenario's file may have, those of the things in it included.
func keysOf(t reflect.Type) (keys []string) {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		key, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key != "" && key != "-" {
			keys = append(keys, key)
		}
		if key != "-" || option != "" {
			keys = append(keys, keysOf(t.Field(i).Type)...)
		}
	}
	return keys
}

// TestEverythingIsDocumented: docs/simulator.md names all keys, operations and faults.
func TestEverythingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := keysOf(reflect.TypeFor[Scenario]())
	if len(keys) < 30 {
		t.Fatalf("only the keys %v were found", keys)
	}
	keys = append(keys, operationNames()...)
	for _, name := range append(keys, faultNames()...) {
		if !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), "{"+name+",") && !strings.Contains(string(text), ", "+name+"}") && !strings.Contains(string(text), ", "+name+",") {
			t.Errorf("docs/simulator.md does not tell of %q", name)
		}
	}
}
